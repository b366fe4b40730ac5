import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { shellLine, shellWord } from './shell.ts';

it('leaves plain words as they are', () => {
  expect(shellWord('memory-backend-memfd,id=mem,size=1G,share=on')).toBe(
    'memory-backend-memfd,id=mem,size=1G,share=on',
  );
});

it('is read back by a shell as the same words', () => {
  const words = ['a b', "it's", '$HOME', '', '{"a":"b"}', '*', '~', 'a\nb', '!x', '#', '\\'];
  const script = shellLine([
    process.execPath,
    '-e',
    'console.log(JSON.stringify(process.argv.slice(1)))',
    '--',
    ...words,
  ]);
  expect(JSON.parse(spawnSync('/bin/sh', ['-c', script], { encoding: 'utf8' }).stdout)).toEqual(words);
});
