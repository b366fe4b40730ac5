import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { codeOf, fdCount, mapsOf, withCalls } from '../../test/support/memory.ts';
import { indexToOffset, PAGE_SIZE } from '../core/index.ts';
import { openSys } from '../sys/index.ts';
import { LiveRegionMemory } from './live-region.ts';
import { WINDOW_BYTES } from './window.ts';

const sys = openSys();
const GIB = 2 ** 30;

let name: string;
let losses: number;
let memory: LiveRegionMemory;

function make(sizeBytes: number, over = sys): LiveRegionMemory {
  return new LiveRegionMemory(over, {
    index: 2,
    sizeBytes,
    name: () => name,
    onLost: () => {
      losses += 1;
    },
  });
}

beforeEach(() => {
  name = 'region-under-test';
  losses = 0;
  memory = make(16 * PAGE_SIZE);
});

afterEach(() => memory.release());

describe('LiveRegionMemory', () => {
  test('is a sparse file with the region at index << 40, and windows that are mapped when they are touched', () => {
    const big = make(64 * GIB);
    expect(mapsOf('region-under-test')).toHaveLength(0);
    expect(big.identity.sizeBytes).toBe(indexToOffset(2) + 64 * GIB);
    const far = 63 * GIB + 123;
    expect(big.windowStart(far)).toBe(63 * GIB);
    expect(big.bytesAt(far)).toBe(big.bytesAt(63 * GIB));
    expect(big.bytesAt(far).length).toBe(WINDOW_BYTES);
    big.bytesAt(far)[123] = 1;
    expect(big.populatedBytes).toBe(PAGE_SIZE);
    const lines = mapsOf('region-under-test');
    expect(lines.map((line) => Number.parseInt(line.split(/\s+/)[2]!, 16))).toEqual([2 * 2 ** 40 + 63 * GIB]);
    big.release();
  });

  test('a size that is no multiple of the page size is rounded up', () => {
    const odd = make(PAGE_SIZE + 1);
    expect(odd.sizeBytes).toBe(2 * PAGE_SIZE);
    expect(odd.bytesAt(0).length).toBe(2 * PAGE_SIZE);
    odd.release();
  });

  test('nobody has the fd: suspend and resume make no system call', () => {
    let calls = 0;
    const counting = new Proxy(sys, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => {
          calls += 1;
          return value.apply(target, args);
        };
      },
    });
    const own = make(PAGE_SIZE, counting);
    own.bytesAt(0)[0] = 1;
    calls = 0;
    own.suspend();
    own.resume();
    expect(calls).toBe(0);
    own.release();
  });

  test('suspended before anybody has the fd: what is given away is empty until resume', () => {
    memory.bytesAt(0)[3] = 4;
    memory.suspend();
    const fd = memory.shareFd();
    expect(sys.identity(fd).sizeBytes).toBe(0);
    expect(memory.bytesAt(0)[3]).toBe(4);
    memory.resume();
    const target = new Uint8Array(1);
    expect(sys.pread(fd, target, 0, 1, indexToOffset(2) + 3)).toBe(1);
    expect(target[0]).toBe(4);
  });

  test('the fd keeps its inode over suspend and resume', () => {
    const fd = memory.shareFd();
    const before = sys.identity(fd);
    memory.suspend();
    expect(memory.shareFd()).toBe(fd);
    memory.resume();
    expect(sys.identity(fd)).toEqual(before);
  });

  test('a name that changes before the fd is given away is the name of the file', () => {
    memory.bytesAt(0)[0] = 9;
    const bytes = memory.bytesAt(0);
    name = 'region-renamed';
    expect(sys.fdName(memory.shareFd())).toContain('region-renamed');
    expect(memory.bytesAt(0)).toBe(bytes);
    expect(bytes[0]).toBe(9);
    name = 'too-late';
    expect(sys.fdName(memory.shareFd())).toContain('region-renamed');
  });

  test.each([
    ['inside a page', 10, 20],
    ['over a page border', PAGE_SIZE - 10, 20],
    ['whole pages', PAGE_SIZE, 2 * PAGE_SIZE],
    ['whole pages and parts', PAGE_SIZE - 1, 2 * PAGE_SIZE + 2],
  ])('clear writes zeros: %s', (_, offset, size) => {
    for (const suspended of [false, true]) {
      memory.shareFd();
      memory.bytesAt(0).fill(1);
      if (suspended) memory.suspend();
      memory.clear(offset, size);
      if (suspended) memory.resume();
      const zeros = [...memory.bytesAt(0).entries()].filter(([, value]) => value === 0).map(([at]) => at);
      expect([zeros.length, zeros[0], zeros.at(-1)]).toEqual([size, offset, offset + size - 1]);
    }
  });

  test('after release there is nothing: no bytes, no fd, no mapping', () => {
    const fds = fdCount();
    const own = make(PAGE_SIZE);
    own.shareFd();
    const bytes = own.bytesAt(0);
    own.release();
    own.release();
    expect(bytes.length).toBe(0);
    expect(own.bytesAt(0).length).toBe(0);
    expect(own.populatedBytes).toBe(0);
    expect(codeOf(() => own.shareFd())).toBe('ENODEV');
    expect(fdCount()).toBe(fds);
    own.suspend();
    own.resume();
    own.clear(0, PAGE_SIZE);
  });

  test('an out-of-range offset has no bytes', () => {
    expect(memory.bytesAt(2 * GIB).length).toBe(0);
  });
});

describe('when memory runs out', () => {
  test('suspend cuts off all the same, says what was lost, and the region works again after resume', () => {
    let full = false;
    const tight = withCalls(sys, {
      copyPopulated: (...args) => {
        if (full) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
        return sys.copyPopulated(...args);
      },
    });
    const own = make(PAGE_SIZE, tight);
    const fd = own.shareFd();
    own.bytesAt(0)[0] = 1;
    full = true;
    own.suspend();
    expect(sys.identity(fd).sizeBytes).toBe(0);
    expect([own.losses, losses]).toEqual([1, 1]);
    full = false;
    own.resume();
    expect(own.bytesAt(0)[0]).toBe(0);
    own.bytesAt(0)[0] = 2;
    own.suspend();
    own.resume();
    expect(own.bytesAt(0)[0]).toBe(2);
    own.release();
  });
});
