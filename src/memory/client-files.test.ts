import { constants } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isOpen, mapsOf, memfd, reopened, withCalls } from '../../test/support/memory.ts';
import { VfioError } from '../core/index.ts';
import { openSys } from '../sys/index.ts';
import { ClientFiles } from './client-files.ts';
import { WINDOW_BYTES } from './window.ts';

const sys = openSys();
const PAGE = 4096;

let files: ClientFiles;
let sweeps: (() => void)[];
let fd: number;

beforeEach(() => {
  sweeps = [];
  files = new ClientFiles(sys, (callback) => {
    sweeps.push(callback);
    return () => {
      sweeps = sweeps.filter((other) => other !== callback);
    };
  });
  fd = memfd(sys, 16 * PAGE);
});

afterEach(() => sys.close(fd));

describe('ClientFiles', () => {
  test('one file, however often it comes: the duplicates are closed and nothing is mapped before it is touched', () => {
    const first = sys.dup(fd);
    const second = sys.dup(fd);
    const file = files.open(first);
    expect(files.open(second)).toBe(file);
    expect([isOpen(first), isOpen(second)]).toEqual([true, false]);
    expect(files.windows).toBe(0);
    file.bytesAt(0, PAGE);
    file.bytesAt(5 * PAGE, PAGE);
    expect(files.windows).toBe(1);
    files.release(file);
    expect(isOpen(first)).toBe(true);
    files.release(file);
    expect(isOpen(first)).toBe(false);
    expect([files.windows, files.openFiles]).toEqual([0, 0]);
  });

  test('the same file with other rights is another one: nobody writes with a right that another client has', () => {
    const shared = files.open(sys.dup(fd));
    const readOnly = files.open(reopened(fd, 'r'));
    expect(readOnly).not.toBe(shared);
    shared.bytesAt(0, 1)[0] = 1;
    const bytes = readOnly.bytesAt(0, 1);
    bytes[0] = 2; // a stray store of ours stays ours
    expect(shared.bytesAt(0, 1)[0]).toBe(1);
    files.release(shared);
    files.release(readOnly);
  });

  test('an fd that was opened write-only is written by pwrite', () => {
    const file = files.open(reopened(fd, constants.O_WRONLY));
    expect(file.fileIo).toBe(true);
    expect(file.pwrite(PAGE, Uint8Array.of(1, 2, 3), 0, 3)).toBe(3);
    files.release(file);
  });

  test('a memfd that is sealed for writing can be read', () => {
    const sealed = sys.memfdCreate('sealed', { allowSealing: true });
    sys.ftruncate(sealed, PAGE);
    sys.pwrite(sealed, Uint8Array.of(9), 0, 1, 0);
    sys.addSeals(sealed, 0x0008);
    const file = files.open(sealed);
    expect(file.bytesAt(0, 1)[0]).toBe(9);
    files.release(file);
  });
});

describe('files that nobody uses', () => {
  test('go at once when there is no session, and stay for one to two periods when there is', () => {
    const end = files.hold();
    const own = sys.dup(fd);
    const file = files.open(own);
    files.release(file);
    expect(isOpen(own)).toBe(true);
    sweeps.shift()!();
    expect(files.open(sys.dup(fd))).toBe(file); // back in time
    files.release(file);
    sweeps.shift()!();
    expect(isOpen(own)).toBe(true);
    sweeps.shift()!();
    expect(isOpen(own)).toBe(false);
    expect(sweeps).toEqual([]);
    end();
  });

  test('go with the last session', () => {
    const ends = [files.hold(), files.hold()];
    const own = sys.dup(fd);
    const file = files.open(own);
    file.bytesAt(0, 1);
    files.release(file);
    ends[0]!();
    ends[0]!();
    expect(isOpen(own)).toBe(true);
    ends[1]!();
    expect(isOpen(own)).toBe(false);
    expect([files.windows, files.openFiles, sweeps.length]).toEqual([0, 0, 0]);
  });

  test('are few: the oldest makes room', () => {
    const end = files.hold();
    const fds = Array.from({ length: 12 }, () => memfd(sys, PAGE));
    for (const each of fds) files.release(files.open(each));
    expect(fds.map(isOpen)).toEqual([...Array(4).fill(false), ...Array(8).fill(true)]);
    end();
    expect(fds.some(isOpen)).toBe(false);
  });
});

describe('a file that changes its length', () => {
  test('shorter: the touch fails, what is left can be reached again, and all of it once it is long again', () => {
    const file = files.open(sys.dup(fd));
    file.bytesAt(0, 1)[0] = 1;
    const bytes = file.bytesAt(8 * PAGE, 1);
    sys.ftruncate(fd, 4 * PAGE);
    const target = new Uint8Array(1);
    expect(sys.copy(target, 0, bytes, 8 * PAGE, 1)).not.toBe(0);
    expect(file.bytesAt(8 * PAGE, 1).length).toBe(0);
    expect(file.bytesAt(0, 1)[0]).toBe(1);
    sys.ftruncate(fd, 16 * PAGE);
    expect(file.bytesAt(8 * PAGE, 1)[8 * PAGE]).toBe(0);
    expect(file.bytesAt(0, 1)[0]).toBe(1);
    expect(files.windows).toBe(1);
    files.release(file);
  });

  test('longer: the window grows with it', () => {
    const file = files.open(sys.dup(fd));
    expect(file.bytesAt(0, 1).length).toBe(16 * PAGE);
    sys.ftruncate(fd, 32 * PAGE);
    expect(file.bytesAt(20 * PAGE, PAGE).length).toBe(32 * PAGE);
    expect(files.windows).toBe(1);
    files.release(file);
  });

  test('gone and back, as the region of a suspended device in another process', () => {
    const file = files.open(sys.dup(fd));
    file.bytesAt(0, 1);
    for (let round = 0; round < 3; round++) {
      sys.ftruncate(fd, 0);
      expect(sys.copy(new Uint8Array(8), 0, file.bytesAt(0, 8), 0, 8)).not.toBe(0);
      expect(file.bytesAt(0, 8).length).toBe(0);
      sys.ftruncate(fd, 16 * PAGE);
      sys.pwrite(fd, Uint8Array.of(round + 1), 0, 1, 0);
      expect(file.bytesAt(0, 8)[0]).toBe(round + 1);
    }
    files.release(file);
  });
});

describe('large files', () => {
  test('are mapped a window at a time, aligned in the file', () => {
    const ram = memfd(sys, 3 * WINDOW_BYTES + 2 * PAGE);
    const file = files.open(ram);
    file.bytesAt(3 * WINDOW_BYTES + PAGE, PAGE)[PAGE] = 1;
    expect(files.windows).toBe(1);
    expect(file.windowStart(3 * WINDOW_BYTES + PAGE)).toBe(3 * WINDOW_BYTES);
    expect(file.bytesAt(2 * WINDOW_BYTES + 5, 1).length).toBe(WINDOW_BYTES);
    expect(files.windows).toBe(2);
    expect(mapsOf('guest-ram')).toHaveLength(2);
    files.release(file);
    expect(mapsOf('guest-ram')).toHaveLength(0);
  });
});

describe('a file that cannot be mapped', () => {
  test('is read and written instead, and never made longer', () => {
    const noMap = withCalls(sys, {
      map: () => {
        throw new VfioError('ENODEV', 'no mmap here');
      },
    });
    const own = new ClientFiles(noMap);
    const file = own.open(sys.dup(fd));
    expect(file.bytesAt(0, 1).length).toBe(0);
    expect(file.fileIo).toBe(true);
    expect(file.pwrite(16 * PAGE - 2, Uint8Array.of(1, 2, 3, 4), 0, 4)).toBe(0);
    expect(file.pwrite(16 * PAGE - 2, Uint8Array.of(1, 2, 3, 4), 0, 2)).toBe(2);
    expect(sys.identity(fd).sizeBytes).toBe(16 * PAGE);
    const target = new Uint8Array(4);
    expect(file.pread(16 * PAGE - 2, target, 0, 4)).toBe(2);
    own.release(file);
  });
});
