import { describe, expect, test } from 'vitest';
import { type ArchiveEntry, cpioArchive } from './cpio.ts';

interface Read {
  readonly path: string;
  readonly mode: number;
  readonly text: string;
}

/** Reads the format as the kernel's documentation describes it: 6 bytes of magic, 13 numbers, name, data, each aligned. */
function readArchive(bytes: Uint8Array): Read[] {
  const text = new TextDecoder();
  const entries: Read[] = [];
  for (let at = 0; ; ) {
    if (text.decode(bytes.subarray(at, at + 6)) !== '070701') throw new Error(`no magic at ${at}`);
    const number = (index: number): number => {
      const from = at + 6 + index * 8;
      return Number.parseInt(text.decode(bytes.subarray(from, from + 8)), 16);
    };
    const [mode, dataBytes, nameBytes] = [number(1), number(6), number(11)];
    const name = text.decode(bytes.subarray(at + 110, at + 110 + nameBytes));
    if (!name.endsWith('\0')) throw new Error('a name does not end');
    const data = Math.ceil((at + 110 + nameBytes) / 4) * 4;
    if (name === 'TRAILER!!!\0') return entries;
    entries.push({
      path: name.slice(0, -1),
      mode,
      text: text.decode(bytes.subarray(data, data + dataBytes)),
    });
    at = Math.ceil((data + dataBytes) / 4) * 4;
  }
}

const file = (path: string, content: string): ArchiveEntry => {
  return { type: 'file', path, data: new TextEncoder().encode(content) };
};

describe('an archive for the kernel', () => {
  test('has each entry with its type, and the folders that files lie in', () => {
    const archive = cpioArchive([
      file('bin/tool', 'abc'),
      { type: 'link', path: 'bin/sh', target: 'tool' },
      { type: 'folder', path: 'proc' },
    ]);
    expect(readArchive(archive)).toEqual([
      { path: 'bin', mode: 0o040755, text: '' },
      { path: 'bin/tool', mode: 0o100755, text: 'abc' },
      { path: 'bin/sh', mode: 0o120777, text: 'tool' },
      { path: 'proc', mode: 0o040755, text: '' },
    ]);
  });

  test('names and contents of every length stay apart', () => {
    const entries = Array.from({ length: 9 }, (_, n) => file('x'.repeat(n + 1), 'y'.repeat(n)));
    expect(readArchive(cpioArchive(entries)).map(({ path, text }) => [path.length, text.length])).toEqual(
      entries.map((_, n) => [n + 1, n]),
    );
  });

  test('the first of two entries with one path counts', () => {
    expect(readArchive(cpioArchive([file('a', '1'), file('a', '2')]))).toMatchObject([{ text: '1' }]);
  });
});
