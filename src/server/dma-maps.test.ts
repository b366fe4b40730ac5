/*
 * DMA_MAP and DMA_UNMAP as conversations: what the client gives, what the device reaches, and every refusal.
 */
import { closeSync, openSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { concat, hex, u32, u64 } from '../../test/support/bytes.ts';
import { dmaMap, dmaUnmap, type RawClient } from '../../test/support/raw-client.ts';
import { type Served, serve } from '../../test/support/served-device.ts';
import { BAR2_BYTES, type TestDevice } from '../../test/support/test-device.ts';
import { ERRNO } from '../abi/index.ts';

const MAP = 2;
const UNMAP = 3;
const GET_REGION_INFO = 5;

// Flags of DMA_MAP.
const READ = 1;
const WRITE = 2;
const BY_MMAP = 4;
const BY_FILE_IO = 8;
// Flags of DMA_UNMAP.
const GET_DIRTY_BITMAP = 1;
const ALL = 2;

const PAGE = 4096;

let served: Served<TestDevice>;
let device: TestDevice;
let client: RawClient;
let fds: number[];

beforeEach(async () => {
  served = await serve();
  device = served.device;
  client = await served.open();
  fds = [];
});
afterEach(async () => {
  for (const fd of fds) client.sys.close(fd);
  await served.close();
});

/** A memfd of so many pages; page i is filled with i + 1. */
function memory(pages: number, allowSealing = false): number {
  const fd = client.sys.memfdCreate('client', { allowSealing });
  fds.push(fd);
  client.sys.ftruncate(fd, pages * PAGE);
  for (let i = 0; i < pages; i++) {
    client.sys.pwrite(fd, new Uint8Array(PAGE).fill(i + 1), 0, PAGE, i * PAGE);
  }
  return fd;
}

async function regionFd(index: number): Promise<number> {
  const ask = concat(u32(32), u32(0), u32(index), u32(0), u64(0), u64(0));
  const reply = await client.request(GET_REGION_INFO, ask);
  fds.push(...reply.fds);
  return reply.fds[0]!;
}

/** The byte at `iova`, or why it cannot be read. */
function peek(iova: number): unknown {
  const target = new Uint8Array(1);
  return device.dma.read(iova, target) ?? target[0];
}

describe('DMA_MAP', () => {
  test('memory with an fd is reached by address and offset', async () => {
    await client.request(MAP, dmaMap(0x10000, 2 * PAGE, { offset: PAGE }), [memory(4)]);
    expect([peek(0x10000), peek(0x10000 + PAGE)]).toEqual([2, 3]);
    expect(peek(0x10000 + 2 * PAGE)).toMatchObject({ reason: 'not mapped', iova: 0x10000 + 2 * PAGE });
    expect(device.dma.write(0x10000, Uint8Array.of(99))).toBeNull();
    const seen = new Uint8Array(1);
    client.sys.pread(fds[0]!, seen, 0, 1, PAGE);
    expect(seen[0]).toBe(99);
  });

  test.each([
    ['sealed', 0, true],
    ['by mmap', BY_MMAP, false],
    ['by file I/O', BY_FILE_IO, false],
  ])('memory with an fd, %s', async (_name, mode, sealed) => {
    const fd = memory(1, sealed);
    if (sealed) client.sys.addSeals(fd, 2); // F_SEAL_SHRINK
    await client.request(MAP, dmaMap(0, PAGE, { flags: READ | WRITE | mode }), [fd]);
    expect(peek(5)).toBe(1);
    expect(device.dma.write(6, Uint8Array.of(7))).toBeNull();
    expect(peek(6)).toBe(7);
  });

  test('rights are kept', async () => {
    const fd = memory(2);
    await client.request(MAP, dmaMap(0, PAGE, { flags: READ }), [fd]);
    await client.request(MAP, dmaMap(PAGE, PAGE, { flags: WRITE, offset: PAGE }), [fd]);
    expect(device.dma.write(0, Uint8Array.of(1))).toMatchObject({ reason: 'write is not allowed' });
    expect(peek(PAGE)).toMatchObject({ reason: 'read is not allowed' });
  });

  test('a high IOVA, and a map that ends there', async () => {
    const iova = 2n ** 52n - 4096n;
    await client.request(MAP, dmaMap(iova, PAGE), [memory(1)]);
    expect(peek(2 ** 52 - 1)).toBe(1);
  });

  test.each([
    ['neither read nor write', dmaMap(0, PAGE, { flags: 0 }), 1],
    ['an unknown flag', dmaMap(0, PAGE, { flags: READ | 16 }), 1],
    ['both access modes', dmaMap(0, PAGE, { flags: READ | BY_MMAP | BY_FILE_IO }), 1],
    ['by mmap, but no fd', dmaMap(0, PAGE, { flags: READ | BY_MMAP }), 0],
    ['by file I/O, but no fd', dmaMap(0, PAGE, { flags: READ | BY_FILE_IO }), 0],
    ['size 0', dmaMap(0, 0), 1],
    ['a size that is not aligned', dmaMap(0, PAGE + 1), 1],
    ['an address that is not aligned', dmaMap(1, PAGE), 1],
    ['an address that only rounds to aligned', dmaMap(2n ** 54n + 1n, PAGE), 1],
    ['an offset that is not aligned', dmaMap(0, PAGE, { offset: 1 }), 1],
    ['a file that ends before', dmaMap(0, 2 * PAGE), 1],
    ['an offset beyond the file', dmaMap(0, PAGE, { offset: 2n ** 62n }), 1],
    ['two fds', dmaMap(0, PAGE), 2],
    ['argsz too small', dmaMap(0, PAGE, { argsz: 31 }), 1],
    ['too short', dmaMap(0, PAGE).subarray(0, 31), 1],
  ])('refused with EINVAL: %s', async (_name, body, fdCount) => {
    const given = fdCount === 0 ? [] : [memory(1)];
    expect(await client.errno(MAP, body, fdCount === 2 ? [...given, ...given] : given)).toBe(ERRNO.EINVAL);
    expect(served.server.session!.container!.size).toBe(0);
  });

  test('EEXIST over a mapping, also an exact repeat; nothing changes', async () => {
    const fd = memory(2);
    await client.request(MAP, dmaMap(0, PAGE), [fd]);
    expect(await client.errno(MAP, dmaMap(0, PAGE), [fd])).toBe(ERRNO.EEXIST);
    expect(await client.errno(MAP, dmaMap(0, 2 * PAGE), [fd])).toBe(ERRNO.EEXIST);
    expect(peek(0)).toBe(1);
    expect(served.server.session!.container!.size).toBe(1);
  });

  test('EOVERFLOW beyond the address space', async () => {
    const errno = await client.errno(MAP, dmaMap(2n ** 64n - 4096n, 2 * PAGE), [memory(2)]);
    expect(errno).toBe(ERRNO.EOVERFLOW);
  });

  test('ENOSPC at the limit that was agreed on', async () => {
    client.close();
    client = await served.open('{"capabilities":{"max_dma_maps":2}}');
    expect(await client.errno(MAP, dmaMap(0, PAGE))).toBe(0);
    expect(await client.errno(MAP, dmaMap(PAGE, PAGE))).toBe(0);
    expect(await client.errno(MAP, dmaMap(2 * PAGE, PAGE))).toBe(ERRNO.ENOSPC);
  });

  test('the page size that was agreed on is the unit', async () => {
    client.close();
    client = await served.open(`{"capabilities":{"pgsizes":${2 ** 21}}}`);
    expect(await client.errno(MAP, dmaMap(0, PAGE))).toBe(ERRNO.EINVAL);
    expect(await client.errno(MAP, dmaMap(0, 2 ** 21))).toBe(0);
  });

  test('EACCES: writing through a read-only fd', async () => {
    const readOnly = openSync(`/proc/self/fd/${memory(1)}`, 'r');
    expect(await client.errno(MAP, dmaMap(0, PAGE), [readOnly])).toBe(ERRNO.EACCES);
    expect(await client.errno(MAP, dmaMap(0, PAGE, { flags: READ }), [readOnly])).toBe(0);
    closeSync(readOnly);
  });

  test('EINVAL for an fd that is no memory', async () => {
    const [a, b] = client.sys.socketpair();
    fds.push(a, b);
    expect(await client.errno(MAP, dmaMap(0, PAGE), [a])).toBe(ERRNO.EINVAL);
  });
});

describe('DMA_MAP of a region of ours', () => {
  test('is device memory: the same bytes, cut off and brought back with the device', async () => {
    const fd = await regionFd(2);
    await client.request(MAP, dmaMap(0x100000, BAR2_BYTES, { offset: 2 * 2 ** 40 }), [fd]);
    device.region(2).memory!.bytesAt(0)[5] = 77;
    expect(peek(0x100005)).toBe(77);
    const [mapping] = served.server.session!.container!.mappings();
    expect(mapping!.source.kind).toBe('device');
    device.suspend('memory decode is off');
    expect(peek(0x100005)).toMatchObject({ reason: 'memory decode is off' });
    device.resume('memory decode is off');
    expect(peek(0x100005)).toBe(77);
  });

  test('EINVAL without consent, EFAULT while it cannot be reached', async () => {
    const sparse = await regionFd(3);
    const at = 3 * 2 ** 40;
    expect(await client.errno(MAP, dmaMap(0, PAGE, { offset: at + 0x1000 }), [sparse])).toBe(0);
    expect(await client.errno(MAP, dmaMap(PAGE, PAGE, { offset: at + 0x8000 }), [sparse])).toBe(ERRNO.EINVAL);
    expect(await client.errno(MAP, dmaMap(PAGE, PAGE, { offset: at }), [sparse])).toBe(ERRNO.EINVAL);
    device.suspend('memory decode is off');
    const body = dmaMap(PAGE, PAGE, { offset: at + 0x1000 });
    expect(await client.errno(MAP, body, [sparse])).toBe(ERRNO.EFAULT);
  });
});

describe('DMA_UNMAP', () => {
  test('the reply echoes the request; then nothing is there', async () => {
    await client.request(MAP, dmaMap(0x10000, PAGE), [memory(1)]);
    const reply = await client.request(UNMAP, dmaUnmap(0x10000, PAGE));
    expect(hex(reply.body)).toBe(hex(dmaUnmap(0x10000, PAGE)));
    expect(peek(0x10000)).toMatchObject({ reason: 'not mapped' });
  });

  test('what was never mapped: success with size 0, also over huge ranges', async () => {
    const bodies = [dmaUnmap(0x10000, PAGE), dmaUnmap(0, 2n ** 47n), dmaUnmap(2n ** 48n, 2n ** 62n)];
    for (const body of bodies) {
      const reply = await client.request(UNMAP, body);
      expect(hex(reply.body.subarray(16))).toBe(hex(u64(0)));
    }
  });

  test('a range over several mappings takes them all, and says how much it was', async () => {
    const fd = memory(3);
    await client.request(MAP, dmaMap(0, PAGE), [fd]);
    await client.request(MAP, dmaMap(2 * PAGE, PAGE), [fd]);
    const reply = await client.request(UNMAP, dmaUnmap(0, 16 * PAGE));
    expect(hex(reply.body)).toBe(hex(dmaUnmap(0, 2 * PAGE)));
  });

  test('ALL takes everything', async () => {
    await client.request(MAP, dmaMap(0, PAGE), [memory(1)]);
    await client.request(MAP, dmaMap(2 ** 40, PAGE), [memory(1)]);
    const reply = await client.request(UNMAP, dmaUnmap(0, 0, ALL));
    expect(hex(reply.body)).toBe(hex(dmaUnmap(0, 2 * PAGE, ALL)));
    expect(served.server.session!.container!.size).toBe(0);
  });

  test.each([
    ['part of a mapping', dmaUnmap(0, PAGE)],
    ['size 0', dmaUnmap(0, 0)],
    ['not aligned', dmaUnmap(1, 2 * PAGE)],
    ['ALL with an address', dmaUnmap(PAGE, 0, ALL)],
    ['ALL with a size', dmaUnmap(0, 2 * PAGE, ALL)],
    ['an unknown flag', dmaUnmap(0, 2 * PAGE, 4)],
    ['a dirty bitmap', concat(dmaUnmap(0, 2 * PAGE, GET_DIRTY_BITMAP, 48), u64(PAGE), u64(8))],
    ['argsz too small', dmaUnmap(0, 2 * PAGE, 0, 23)],
    ['too short', dmaUnmap(0, 2 * PAGE).subarray(0, 23)],
  ])('refused with EINVAL, and nothing was unmapped: %s', async (_name, body) => {
    await client.request(MAP, dmaMap(0, 2 * PAGE), [memory(2)]);
    expect(await client.errno(UNMAP, body)).toBe(ERRNO.EINVAL);
    expect(peek(PAGE)).toBe(2);
  });

  test('the client leaves: nothing is mapped, nothing is kept open', async () => {
    await client.request(MAP, dmaMap(0, PAGE), [memory(1)]);
    expect(peek(0)).toBe(1);
    const { container } = served.server.session!;
    client.close();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(container!.size).toBe(0);
    expect(device.dma.attached).toBe(false);
    expect(peek(0)).toMatchObject({ reason: 'no client is attached' });
  });
});
