import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { deviceWithRegion, memfd } from '../../test/support/memory.ts';
import { ERRNO } from '../abi/index.ts';
import {
  attachPlainMemory,
  Container,
  DeviceMemory,
  type DmaFault,
  type DmaSource,
  isDmaFault,
  PAGE_SIZE,
  type VfioDevice,
} from '../core/index.ts';
import { openSys } from '../sys/index.ts';
import { attachMemory } from './attach.ts';
import { classify } from './classify.ts';
import { ClientFiles } from './client-files.ts';
import { RemoteRange } from './client-memory.ts';
import { DmaEngine, type RemoteMemory } from './dma-engine.ts';
import { RegionRegistry } from './registry.ts';
import { WINDOW_BYTES } from './window.ts';

const sys = openSys();
const PAGES = 16;
const SIZE = PAGES * PAGE_SIZE;

/** The client's side of DMA messages, in memory. IOVAs are offsets in it. */
class FakeClient implements RemoteMemory {
  readonly bytes = new Uint8Array(64 * PAGE_SIZE);
  maxTransferBytes = 3000;
  calls: [string, number, number][] = [];
  errno = 0;
  /** Runs while a message is under way. */
  meanwhile: () => void = () => {};

  async read(iova: number, target: Uint8Array, at: number, length: number): Promise<number> {
    this.calls.push(['read', iova, length]);
    await Promise.resolve();
    this.meanwhile();
    target.set(this.bytes.subarray(iova, iova + length), at);
    return this.errno;
  }

  async write(iova: number, source: Uint8Array, at: number, length: number): Promise<number> {
    this.calls.push(['write', iova, length]);
    this.bytes.set(source.subarray(at, at + length), iova);
    await Promise.resolve();
    this.meanwhile();
    return this.errno;
  }
}

let files: ClientFiles;
let container: Container;
let client: FakeClient;
let engine: DmaEngine;
let peer: VfioDevice;
let detach: () => void;
let ram: number;

beforeEach(() => {
  files = new ClientFiles(sys);
  container = new Container();
  client = new FakeClient();
  engine = new DmaEngine(container, sys, client);
  peer = deviceWithRegion(2, SIZE);
  detach = attachMemory(peer, sys);
  ram = memfd(sys, SIZE);
});

afterEach(() => {
  engine.close();
  container.close();
  expect([files.openFiles, files.windows, engine.windowCount]).toEqual([0, 0, 0]);
  detach();
  sys.close(ram);
});

function map(
  iova: number,
  size: number,
  source: DmaSource,
  rights: Partial<{ read: boolean; write: boolean }> = {},
) {
  return container.map({ iova, size, read: true, write: true, ...rights, source });
}

function fileSource(fd: number, offset: number, size: number, mode: 'any' | 'file-io' = 'any'): DmaSource {
  const request = { fd: sys.dup(fd), offset, size, iova: 0, read: true, write: true, mode, peerPid: null };
  return classify(request, { sys, files, registry: new RegionRegistry() });
}

const deviceSource = (offset = 0, sizeBytes = SIZE): DmaSource =>
  new DeviceMemory({ region: peer.region(2), offset, sizeBytes });

const sync = (result: unknown): DmaFault | null => {
  expect(result).not.toBeInstanceOf(Promise);
  return result as DmaFault | null;
};

const pattern = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i * 7 + 1);

describe('transfers to memory', () => {
  test.each([
    ['a mapped file', (): DmaSource => fileSource(ram, 0, SIZE)],
    ['a file by pread and pwrite', (): DmaSource => fileSource(ram, 0, SIZE, 'file-io')],
    ['device memory', (): DmaSource => deviceSource()],
  ])('%s: what is written is read, at once', (_, make) => {
    map(0x10_0000, SIZE, make());
    for (const [at, length] of [
      [0, 1],
      [13, 64],
      [PAGE_SIZE - 1, 2],
      [5, SIZE - 5],
    ] as const) {
      const data = pattern(length);
      expect(sync(engine.write(0x10_0000 + at, data))).toBeNull();
      const target = new Uint8Array(length + 4);
      expect(sync(engine.read(0x10_0000 + at, target, 2, length))).toBeNull();
      expect(Buffer.compare(target.subarray(2, length + 2), data)).toBe(0);
      expect([target[0], target[1], target[length + 2], target[length + 3]]).toEqual([0, 0, 0, 0]);
    }
  });

  test('every transfer over files, device memory and messages moves what a flat memory would', async () => {
    const step = fc.record({
      write: fc.boolean(),
      at: fc.integer({ min: 0, max: 6 * PAGE_SIZE - 1 }),
      length: fc.integer({ min: 0, max: 3 * PAGE_SIZE }),
      seed: fc.integer({ min: 1, max: 255 }),
    });
    const kinds = fc.array(fc.constantFrom('file', 'file-io', 'device', 'remote'), {
      minLength: 6,
      maxLength: 6,
    });
    await fc.assert(
      fc.asyncProperty(kinds, fc.array(step, { maxLength: 12 }), async (pages, steps) => {
        const model = new Uint8Array(6 * PAGE_SIZE);
        for (const [i, kind] of pages.entries()) {
          const place = i * PAGE_SIZE;
          if (kind === 'device') map(place, PAGE_SIZE, deviceSource(place, PAGE_SIZE));
          else if (kind === 'remote') map(place, PAGE_SIZE, new RemoteRange());
          else map(place, PAGE_SIZE, fileSource(ram, place, PAGE_SIZE, kind === 'file' ? 'any' : 'file-io'));
          expect(await engine.write(place, new Uint8Array(PAGE_SIZE))).toBeNull();
        }
        for (const { write, at, length, seed } of steps) {
          const count = Math.min(length, model.length - at);
          const bytes = new Uint8Array(count).fill(seed);
          if (write) model.set(bytes, at);
          expect(await (write ? engine.write(at, bytes) : engine.read(at, bytes))).toBeNull();
          if (!write) expect(Buffer.compare(bytes, model.subarray(at, at + count))).toBe(0);
        }
        container.unmap(0, 0, { all: true });
      }),
      { numRuns: 40 },
    );
  });

  test('over the edges of windows', () => {
    const big = memfd(sys, 2 * WINDOW_BYTES + SIZE);
    const start = WINDOW_BYTES - 2 * PAGE_SIZE;
    map(0, WINDOW_BYTES + 4 * PAGE_SIZE, fileSource(big, start, WINDOW_BYTES + 4 * PAGE_SIZE));
    sys.close(big);
    for (const edge of [2 * PAGE_SIZE, WINDOW_BYTES + 2 * PAGE_SIZE]) {
      const data = pattern(2 * PAGE_SIZE);
      expect(sync(engine.write(edge - PAGE_SIZE, data))).toBeNull();
      const target = new Uint8Array(data.length);
      expect(sync(engine.read(edge - PAGE_SIZE, target))).toBeNull();
      expect(Buffer.compare(target, data)).toBe(0);
    }
    expect(files.windows).toBe(3);
  });

  test('from one device into another, and a device into itself', () => {
    const own = peer.region(2).memory!.bytesAt(0);
    own.set(pattern(256));
    map(0, SIZE, deviceSource());
    expect(sync(engine.write(0x1001, own, 0, 256))).toBeNull();
    expect(Buffer.compare(own.subarray(0x1001, 0x1101), pattern(256))).toBe(0);
  });

  test('plain memory serves as well as live memory', () => {
    const plain = deviceWithRegion(0, SIZE);
    attachPlainMemory(plain, PAGE_SIZE);
    map(0, SIZE, new DeviceMemory({ region: plain.region(0), offset: 0, sizeBytes: SIZE }));
    expect(sync(engine.write(100, pattern(2 * PAGE_SIZE)))).toBeNull();
    const target = new Uint8Array(2 * PAGE_SIZE);
    expect(sync(engine.read(100, target))).toBeNull();
    expect(Buffer.compare(target, pattern(2 * PAGE_SIZE))).toBe(0);
    const window = engine.window(16, 32, true);
    expect(isDmaFault(window) ? window.reason : window.bytes.length).toBe(32);
  });
});

describe('faults', () => {
  test('a hole, a missing right: the first address, and nothing is moved', () => {
    map(0, PAGE_SIZE, fileSource(ram, 0, PAGE_SIZE));
    map(2 * PAGE_SIZE, PAGE_SIZE, fileSource(ram, PAGE_SIZE, PAGE_SIZE), { write: false });
    const data = pattern(PAGE_SIZE);
    expect(sync(engine.write(1, data))).toEqual({
      iova: PAGE_SIZE,
      reason: 'not mapped',
      errno: ERRNO.EFAULT,
    });
    expect(sync(engine.write(2 * PAGE_SIZE, data))).toMatchObject({ reason: 'write is not allowed' });
    const target = new Uint8Array(PAGE_SIZE).fill(9);
    expect(sync(engine.read(0, target))).toBeNull();
    expect(target.every((byte) => byte === 0)).toBe(true);
  });

  test('memory that goes away: the DMA faults where it was lost, the next one works when it is back', () => {
    map(0, SIZE, fileSource(ram, 0, SIZE));
    const target = new Uint8Array(SIZE);
    expect(sync(engine.read(0, target))).toBeNull();
    sys.ftruncate(ram, 0);
    expect(sync(engine.read(16, target, 0, 16))).toEqual({
      iova: 16,
      reason: 'memory was lost',
      errno: ERRNO.EIO,
    });
    expect(sync(engine.write(16, target, 0, 16))).toMatchObject({ reason: 'memory was lost' });
    expect(sys.identity(ram).sizeBytes).toBe(0);
    sys.ftruncate(ram, SIZE);
    expect(sync(engine.write(16, target, 0, 16))).toBeNull();
  });

  test('a file that is read and written: the same', () => {
    map(0, SIZE, fileSource(ram, 0, SIZE, 'file-io'));
    sys.ftruncate(ram, 2 * PAGE_SIZE);
    const target = new Uint8Array(4 * PAGE_SIZE);
    expect(sync(engine.read(0, target))).toMatchObject({ iova: 2 * PAGE_SIZE, reason: 'memory was lost' });
    expect(sync(engine.write(0, target))).toMatchObject({ reason: 'memory was lost' });
    expect(sys.identity(ram).sizeBytes).toBe(2 * PAGE_SIZE);
    expect(sync(engine.write(0, target, 0, 2 * PAGE_SIZE))).toBeNull();
  });

  test('device memory that is suspended, and after (R4, R7)', () => {
    map(0, SIZE, deviceSource());
    peer.suspend('device is in D3hot');
    expect(sync(engine.read(8, new Uint8Array(4)))).toMatchObject({ iova: 8, reason: 'device is in D3hot' });
    peer.resume('device is in D3hot');
    expect(sync(engine.read(8, new Uint8Array(4)))).toBeNull();
    peer.release();
    expect(sync(engine.read(8, new Uint8Array(4)))).toMatchObject({ reason: 'device is released' });
  });

  test('without a client', () => {
    map(0, SIZE, fileSource(ram, 0, SIZE));
    engine.close();
    expect(engine.attached).toBe(false);
    expect(sync(engine.read(0, new Uint8Array(1)))).toMatchObject({ reason: 'no client is attached' });
    expect(engine.window(0, 1, false)).toMatchObject({ reason: 'no client is attached' });
  });

  test('a buffer that is too short is the host program’s mistake', () => {
    expect(() => engine.read(0, new Uint8Array(4), 2, 3)).toThrow('longer than its buffer');
  });
});

describe('memory that messages reach', () => {
  test('is split by the largest transfer, and the result is a promise', async () => {
    map(0, 4 * PAGE_SIZE, new RemoteRange());
    const data = pattern(7000);
    expect(await engine.write(100, data)).toBeNull();
    expect(client.calls).toEqual([
      ['write', 100, 3000],
      ['write', 3100, 3000],
      ['write', 6100, 1000],
    ]);
    const target = new Uint8Array(7000);
    expect(await engine.read(100, target)).toBeNull();
    expect(Buffer.compare(target, data)).toBe(0);
  });

  test('an error of the client is a fault with its errno', async () => {
    map(0, PAGE_SIZE, new RemoteRange());
    client.errno = ERRNO.ENODEV;
    expect(await engine.read(4, new Uint8Array(4))).toEqual({
      iova: 4,
      reason: 'message failed',
      errno: ERRNO.ENODEV,
    });
  });

  test('an unmap waits for the message under way; the rest of the transfer faults (R6)', async () => {
    map(0, 2 * PAGE_SIZE, new RemoteRange());
    let idle: Promise<void> | null = null;
    client.meanwhile = () => {
      client.meanwhile = () => {};
      expect(container.unmap(0, 2 * PAGE_SIZE)).toBe(2 * PAGE_SIZE);
      idle = container.idle();
      expect(idle).toBeInstanceOf(Promise);
    };
    const fault = await engine.read(0, new Uint8Array(7000));
    expect(fault).toMatchObject({ iova: 3000, reason: 'not mapped' });
    await idle;
    expect(container.size).toBe(0);
    expect(client.calls).toHaveLength(1);
  });

  test('a client that leaves meanwhile', async () => {
    map(0, 2 * PAGE_SIZE, new RemoteRange());
    client.meanwhile = () => {
      engine.close();
      container.close();
    };
    expect(await engine.read(0, new Uint8Array(7000))).toMatchObject({
      iova: 3000,
      reason: 'no client is attached',
    });
    expect(container.idle()).toBeNull();
  });

  test('cannot be reached without a client that answers', async () => {
    const mute = new DmaEngine(container, sys, null);
    map(0, PAGE_SIZE, new RemoteRange());
    expect(await mute.read(0, new Uint8Array(4))).toMatchObject({ reason: 'no client is attached' });
    mute.close();
  });
});

describe('windows', () => {
  const open = (iova: number, size: number, write = true) => {
    const window = engine.window(iova, size, write);
    if (isDmaFault(window)) throw new Error(`${window.reason} ${window.errno}`);
    return window;
  };

  test('are the memory itself', () => {
    map(0, SIZE, fileSource(ram, 0, SIZE));
    const window = open(PAGE_SIZE + 6, 10);
    expect(window.bytes.length).toBe(10);
    window.bytes.set(pattern(10));
    const target = new Uint8Array(10);
    expect(sync(engine.read(PAGE_SIZE + 6, target))).toBeNull();
    expect([...target]).toEqual([...pattern(10)]);
    expect(window.dead).toBeNull();
    window.close();
    expect(engine.windowCount).toBe(0);
  });

  test.each([
    ['unmap', 'mapping is being removed', () => container.unmap(0, SIZE)],
    ['the container closes', 'mapping is being removed', () => container.close()],
    ['the client leaves', 'no client is attached', () => engine.close()],
  ] as const)('die when %s: also for who kept the array', (_, reason, end) => {
    map(0, SIZE, fileSource(ram, 0, SIZE));
    const window = open(0, 64);
    const kept = window.bytes;
    end();
    expect([window.dead, window.bytes.length, kept.length]).toEqual([reason, 0, 0]);
    expect(engine.windowCount).toBe(0);
    window.close();
    expect(window.dead).toBe(reason);
  });

  test.each([
    ['suspend', 'memory decode is off', () => peer.suspend('memory decode is off')],
    ['withdrawal of consent', 'consent was withdrawn', () => peer.region(2).setConsent(0, 'deny')],
    ['release', 'device is released', () => peer.release()],
  ] as const)('of device memory die with %s, and stay dead', (_, reason, end) => {
    map(0, SIZE, deviceSource());
    const window = open(PAGE_SIZE, 64);
    const kept = window.bytes;
    kept[0] = 5;
    expect(peer.region(2).memory!.bytesAt(0)[PAGE_SIZE]).toBe(5);
    end();
    expect([window.dead, window.bytes.length, kept.length]).toEqual([reason, 0, 0]);
    peer.resume('memory decode is off');
    expect(window.dead).toBe(reason);
  });

  test('notice that their memory was lost', () => {
    map(0, SIZE, fileSource(ram, 0, SIZE));
    const window = open(0, 64);
    sys.ftruncate(ram, 0);
    expect(window.bytes[0]).toBe(0); // the touch; what it reads is nothing
    expect([window.dead, window.bytes.length]).toEqual(['memory was lost', 0]);
    expect(engine.window(0, 64, true)).toMatchObject({ reason: 'memory was lost' });
  });

  test('for reading do not reach the memory with a store', () => {
    map(0, SIZE, fileSource(ram, 0, SIZE), { write: false });
    expect(engine.window(0, 8, true)).toMatchObject({ reason: 'write is not allowed' });
    open(0, 8, false).bytes[0] = 1;
    const target = new Uint8Array(1);
    expect(sync(engine.read(0, target))).toBeNull();
    expect(target[0]).toBe(0);
  });

  test('are refused where there is no direct view', () => {
    map(0, PAGE_SIZE, fileSource(ram, 0, PAGE_SIZE));
    map(PAGE_SIZE, PAGE_SIZE, fileSource(ram, PAGE_SIZE, PAGE_SIZE));
    map(2 * PAGE_SIZE, PAGE_SIZE, fileSource(ram, 0, PAGE_SIZE, 'file-io'));
    map(3 * PAGE_SIZE, PAGE_SIZE, new RemoteRange());
    const noView = { reason: 'no direct view', errno: ERRNO.EOPNOTSUPP };
    expect(engine.window(PAGE_SIZE - 8, 16, true)).toMatchObject(noView);
    expect(engine.window(2 * PAGE_SIZE, 16, true)).toMatchObject(noView);
    expect(engine.window(3 * PAGE_SIZE, 16, true)).toMatchObject(noView);
    expect(engine.window(0, 0, true)).toMatchObject(noView);
    expect(engine.window(4 * PAGE_SIZE, 16, true)).toMatchObject({
      reason: 'not mapped',
      errno: ERRNO.EFAULT,
    });
  });

  test('say so when their holder closed them', () => {
    map(0, PAGE_SIZE, fileSource(ram, 0, PAGE_SIZE));
    const window = open(0, 8);
    window.close();
    expect([window.dead, window.bytes.length]).toEqual(['window was closed', 0]);
  });

  test('are limited', () => {
    map(0, SIZE, fileSource(ram, 0, SIZE));
    for (let i = 0; i < 1024; i++) open(0, 1);
    expect(engine.window(0, 1, true)).toMatchObject({
      reason: 'too many windows',
      errno: ERRNO.ENOSPC,
    });
    container.unmap(0, SIZE);
    expect(engine.windowCount).toBe(0);
  });
});
