/*
 * Holds the sources to the house rules: imports point down, the core stays pure, files stay short.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { LONGEST_FILE_LINES, violations } from './rooms.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

function files(folder: string, ending: RegExp): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => ending.test(name) && !/(^|\/)(build|prebuilds|node_modules)\//.test(name))
    .map((name) => `${folder}/${name}`);
}

const read = (path: string): string => readFileSync(join(root, path), 'utf8');

describe('rooms', () => {
  const sources = files('src', /\.ts$/);

  test('there is something to check', () => {
    expect(sources.length).toBeGreaterThan(20);
  });

  test('imports point down and pure rooms stay pure', () => {
    expect(sources.flatMap((path) => violations(path, read(path)))).toEqual([]);
  });

  test('canary: a broken file of each kind is seen', () => {
    expect(violations('src/core/x.ts', "import { open } from 'node:fs';")).toHaveLength(1);
    expect(violations('src/core/x.ts', "import { openSys } from '../sys/index.ts';")).toHaveLength(1);
    expect(violations('src/memory/x.ts', "export { Session } from '../server/session.ts';")).toHaveLength(1);
    expect(violations('src/core/x.ts', 'const now = Date.now();')).toHaveLength(1);
    expect(violations('src/attic/x.ts', '')).toHaveLength(1);
    expect(violations('src/server/x.ts', "import { Container } from '../core/container.ts';")).toEqual([]);
  });

  test(`no source file is longer than ${LONGEST_FILE_LINES} lines`, () => {
    const all = [
      ...sources,
      ...files('test', /\.ts$/),
      ...files('native', /\.(cc|h)$/),
      ...files('bench', /\.(ts|mjs)$/),
      ...files('scripts', /\.mjs$/),
    ];
    const long = all.filter((path) => read(path).split('\n').length > LONGEST_FILE_LINES);
    expect(long).toEqual([]);
  });
});
