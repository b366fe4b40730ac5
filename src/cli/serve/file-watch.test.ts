/*
 * Watching real files in a real folder, saved in the ways in which editors save.
 */
import { mkdirSync, mkdtempSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FileWatch, WATCHED_FILES_LIMIT } from './file-watch.ts';

let folder: string;
let watch: FileWatch;
let changes: string[];
let errors: string[];
let waiter: (() => void) | null;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vfio-watch-'));
  changes = [];
  errors = [];
  waiter = null;
  watch = new FileWatch(
    (path) => {
      changes.push(path);
      waiter?.();
    },
    (message) => errors.push(message),
  );
});
afterEach(() => {
  watch.close();
  rmSync(folder, { recursive: true, force: true });
});

const quiet = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 300));

/** Resolves with the next change; the test's own timeout is the limit. */
async function change(): Promise<string> {
  if (changes.length === 0) {
    await new Promise<void>((resolve) => {
      waiter = resolve;
    });
  }
  waiter = null;
  return changes.shift()!;
}

/** A file that was written long ago. */
function file(name: string, text = 'one'): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  utimesSync(path, 1, 1);
  return path;
}

describe('FileWatch', () => {
  test('tells of a file that is written in place', async () => {
    const path = file('a.ts');
    watch.add(path, Date.now());
    writeFileSync(path, 'two');
    expect(await change()).toBe(path);
  });

  test('tells of a file that another one replaces, again and again', async () => {
    const path = file('a.ts');
    watch.add(path, Date.now());
    for (const text of ['two', 'three']) {
      writeFileSync(join(folder, '.a.ts.swp'), text);
      renameSync(join(folder, '.a.ts.swp'), path);
      expect(await change()).toBe(path);
    }
  });

  test('makes one change of a burst', async () => {
    const [a, b] = [file('a.ts'), file('b.ts')];
    watch.add(a, Date.now());
    watch.add(b, Date.now());
    for (let i = 0; i < 20; i++) {
      writeFileSync(a, String(i));
      writeFileSync(b, String(i));
    }
    await change();
    await quiet();
    expect(changes).toEqual([]);
  });

  test('says nothing of other files, of a file that is gone, and of one that comes back as it was', async () => {
    const path = file('a.ts');
    watch.add(path, Date.now());
    file('other.ts');
    renameSync(path, `${path}~`);
    await quiet();
    renameSync(`${path}~`, path);
    await quiet();
    expect(changes).toEqual([]);
    writeFileSync(path, 'two');
    expect(await change()).toBe(path);
  });

  test('tells of what was written between the reading and the watching', async () => {
    const path = file('a.ts');
    writeFileSync(path, 'two');
    watch.add(path, Date.now() - 10_000);
    expect(await change()).toBe(path);
  });

  test('tells of other source files too while it is eager', async () => {
    watch.add(file('a.ts'), Date.now());
    watch.eager = true;
    file('notes.txt');
    const missing = file('missing.ts');
    expect(await change()).toBe(missing);
    watch.eager = false;
    file('later.ts');
    await quiet();
    expect(changes).toEqual([]);
  });

  test('finds a folder again that was replaced', async () => {
    mkdirSync(join(folder, 'sub'));
    const path = file('sub/a.ts');
    watch.add(path, Date.now());
    renameSync(join(folder, 'sub'), join(folder, 'old'));
    await quiet();
    mkdirSync(join(folder, 'sub'));
    file('sub/a.ts', 'two');
    expect(await change()).toBe(path);
    writeFileSync(path, 'three');
    expect(await change()).toBe(path);
  });

  test('has a limit and says so once', () => {
    for (let i = 0; i < WATCHED_FILES_LIMIT + 2; i++) watch.add(join(folder, `${i}.ts`), 0);
    expect(errors).toEqual([expect.stringContaining(`more than ${WATCHED_FILES_LIMIT} files`)]);
  });

  test('is silent after close', async () => {
    const path = file('a.ts');
    watch.add(path, Date.now());
    watch.close();
    writeFileSync(path, 'two');
    await quiet();
    expect(changes).toEqual([]);
  });
});
