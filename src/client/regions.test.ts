/*
 * GET_REGION_INFO of a server that is written by hand: the two questions, capabilities, fds, consent, mappings; and
 * every answer that contradicts itself.
 */
import { readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { concat, u16, u32, u64 } from '../../test/support/bytes.ts';
import { RawServer, regionReply } from '../../test/support/raw-server.ts';
import { indexToOffset } from '../core/index.ts';
import { encodeRegionName } from '../memory/index.ts';
import { openSys } from '../sys/index.ts';
import type { SocketDevice } from './socket-device.ts';

const INFO = 5;
const sys = openSys();
let device: SocketDevice;
let server: RawServer;
let fdsBefore: number;

function openFds(): number {
  return readdirSync('/proc/self/fd').length;
}

beforeEach(async () => {
  fdsBefore = openFds();
  ({ device, server } = await RawServer.open());
});

afterEach(async () => {
  await device.close();
  server.close();
  // Whatever a server sends along, nothing of it may stay open.
  await expect.poll(openFds).toBe(fdsBefore);
});

function memfd(name: string, sizeBytes: number): number {
  const fd = sys.memfdCreate(name);
  sys.ftruncate(fd, sizeBytes);
  return fd;
}

/** Answers the next GET_REGION_INFO, closing our copy of the fds. */
async function answer(body: Uint8Array, fds: readonly number[] = []): Promise<Uint8Array> {
  const request = await server.next(INFO);
  server.reply(request, body, fds);
  for (const fd of fds) sys.close(fd);
  return request.body;
}

const sparseHeader = (count: number, next = 0): Uint8Array =>
  concat(u16(1), u16(1), u32(next), u32(count), u32(0));

describe('a region that cannot be mapped', () => {
  test('is asked for once', async () => {
    const info = device.regionInfo(7);
    expect([...(await answer(regionReply(7, 256)))]).toEqual([...regionReply(7, 0, { flags: 0 })]);
    expect(await info).toEqual({
      index: 7,
      name: 'config',
      flags: 3,
      sizeBytes: 256,
      offset: 0,
      areas: [],
      mappable: false,
    });
    await device.regionInfo(7);
    expect(server.kept).toEqual([]);
    await expect(device.mmap(7)).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(device.regionFd(7)).rejects.toMatchObject({ code: 'EINVAL' });
  });

  test('includes one that says MMAP and sends no fd', async () => {
    const info = device.regionInfo(0);
    await answer(regionReply(0, 0x1000, { flags: 7 }));
    expect((await info).mappable).toBe(false);
  });

  test('an error is not remembered', async () => {
    const first = device.regionInfo(0);
    server.replyError(await server.next(INFO), 22);
    await expect(first).rejects.toMatchObject({
      code: 'EINVAL',
      message: expect.stringContaining('region 0'),
    });
    const second = device.regionInfo(0);
    await answer(regionReply(0, 16));
    expect((await second).sizeBytes).toBe(16);
  });

  test.each([-1, 10, 0.5])('there is no region %d, and the server is not asked', async (index) => {
    await expect(device.regionInfo(index)).rejects.toMatchObject({ code: 'EINVAL' });
    expect(server.kept).toEqual([]);
  });
});

describe('a mappable region', () => {
  test('is one area, and a mapping is the memory itself', async () => {
    const fd = memfd('other', 0x9000);
    const shared = sys.map(fd, 0x1000, 0x8000, 'rw');
    const info = device.regionInfo(2);
    await answer(regionReply(2, 0x8000, { flags: 7, offset: 0x1000 }), [fd]);
    expect(await info).toMatchObject({
      offset: 0x1000,
      areas: [{ offset: 0, size: 0x8000 }],
      mappable: true,
    });
    expect((await info).areas[0]).not.toHaveProperty('dma');

    const mapping = await device.mmap(2);
    mapping.bytes[5] = 0x77;
    shared.bytes[0x7fff] = 0x66;
    expect([shared.bytes[5], mapping.bytes[0x7fff], mapping.sizeBytes]).toEqual([0x77, 0x66, 0x8000]);
    const part = await device.mmap(2, 0x2000, 0x800);
    shared.bytes[0x2000] = 1;
    expect([part.bytes[0], part.bytes.length]).toEqual([1, 0x800]);
    part.unmap();
    part.unmap();
    expect(part.bytes.length).toBe(0);
    expect(() => part.restore()).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    shared.unmap();
  });

  test('smaller than a page is mapped as far as it goes', async () => {
    const info = device.regionInfo(1);
    await answer(regionReply(1, 256, { flags: 7 }), [memfd('small', 4096)]);
    await info;
    expect((await device.mmap(1)).bytes.length).toBe(256);
  });

  test.each([
    ['not page aligned', 0x800, 0x1000],
    ['beyond the end', 0x8000, 0x1000],
    ['longer than the region', 0, 0x8001],
    ['empty', 0, 0],
    ['negative', -4096, 4096],
  ])('cannot be mapped at a range that is %s', async (_name, offset, size) => {
    const mapping = device.mmap(2, offset, size);
    await answer(regionReply(2, 0x8000, { flags: 7 }), [memfd('r', 0x8000)]);
    await expect(mapping).rejects.toMatchObject({ code: 'EINVAL' });
  });

  test('says when its memory went away, and comes back under the same bytes', async () => {
    const fd = memfd('r', 0x1000);
    const keep = sys.dup(fd);
    const mapped = device.mmap(2);
    await answer(regionReply(2, 0x1000, { flags: 7 }), [fd]);
    const mapping = await mapped;
    const { bytes } = mapping;
    bytes[0] = 9;
    expect(mapping.lost).toBe(false);
    mapping.restore();
    sys.ftruncate(keep, 0);
    expect(bytes[0]).toBe(0);
    expect(mapping.lost).toBe(true);
    expect(() => mapping.restore()).toThrow(expect.objectContaining({ code: 'EIO' }));
    await expect(device.mmap(2)).rejects.toMatchObject({ code: 'EIO' });
    sys.ftruncate(keep, 0x1000);
    const other = sys.map(keep, 0, 0x1000, 'rw');
    other.bytes[0] = 4;
    mapping.restore();
    expect([mapping.lost, bytes[0], mapping.bytes === bytes]).toEqual([false, 4, true]);
    other.unmap();
    sys.close(keep);
  });

  test('is unmapped when the device is closed', async () => {
    const mapped = device.mmap(2);
    await answer(regionReply(2, 0x1000, { flags: 7 }), [memfd('r', 0x1000)]);
    const mapping = await mapped;
    await device.close();
    expect(mapping.bytes.length).toBe(0);
  });
});

describe('a sparse region', () => {
  const areas = concat(sparseHeader(2), u64(0x1000), u64(0x1000), u64(0x4000), u64(0x2000));
  const flags = 15;

  test('is asked for twice: the second time with the room that it needs', async () => {
    const argsz = 32 + areas.length;
    const info = device.regionInfo(3);
    await answer(regionReply(3, 0x8000, { flags, argsz }));
    const second = await answer(
      concat(regionReply(3, 0x8000, { flags, argsz, capOffset: 32, offset: 0x10000 }), areas),
      [memfd('s', 0x18000)],
    );
    expect([...second.subarray(0, 4)]).toEqual([...u32(argsz)]);
    expect((await info).areas).toEqual([
      { offset: 0x1000, size: 0x1000 },
      { offset: 0x4000, size: 0x2000 },
    ]);
    await expect(device.mmap(3)).rejects.toMatchObject({
      code: 'EINVAL',
      message: expect.stringContaining('0x1000+0x1000, 0x4000+0x2000'),
    });
    await expect(device.mmap(3, 0x1000, 0x2000)).rejects.toMatchObject({ code: 'EINVAL' });
    expect((await device.mmap(3, 0x5000, 0x1000)).bytes.length).toBe(0x1000);
  });

  test('of a server that sends the fd with both answers leaks none', async () => {
    const argsz = 32 + areas.length;
    const before = openFds();
    const info = device.regionInfo(3);
    await answer(regionReply(3, 0x8000, { flags, argsz }), [memfd('s', 0x8000)]);
    await answer(concat(regionReply(3, 0x8000, { flags, argsz, capOffset: 32 }), areas), [
      memfd('s', 0x8000),
    ]);
    expect((await info).areas.length).toBe(2);
    expect(openFds()).toBe(before + 1);
  });

  test('with areas that touch can be mapped over both', async () => {
    const touching = concat(sparseHeader(2), u64(0x2000), u64(0x1000), u64(0x1000), u64(0x1000));
    const argsz = 32 + touching.length;
    const mapped = device.mmap(3, 0x1000, 0x2000);
    await answer(regionReply(3, 0x8000, { flags, argsz }));
    await answer(concat(regionReply(3, 0x8000, { flags, argsz, capOffset: 32 }), touching), [
      memfd('s', 0x8000),
    ]);
    expect((await mapped).bytes.length).toBe(0x2000);
  });

  test('may have an fd for each area', async () => {
    const perFd = concat(
      u16(16),
      u16(1),
      u32(0),
      u32(2),
      u32(0),
      concat(u64(0x1000), u64(0), u64(0x1000), u32(1), u32(0)),
      concat(u64(0x4000), u64(0x3000), u64(0x1000), u32(0), u32(0)),
    );
    const argsz = 32 + perFd.length;
    const first = memfd('a', 0x4000);
    const second = memfd('b', 0x1000);
    const views = [sys.map(first, 0x3000, 0x1000, 'rw'), sys.map(second, 0, 0x1000, 'rw')];
    views[0]!.bytes[0] = 0xa;
    views[1]!.bytes[0] = 0xb;
    const unused = memfd('c', 0x1000);
    const before = openFds();
    const info = device.regionInfo(3);
    await answer(regionReply(3, 0x8000, { flags, argsz }));
    await answer(concat(regionReply(3, 0x8000, { flags, argsz, capOffset: 32 }), perFd), [
      first,
      second,
      unused,
    ]);
    await info;
    // Ours of the two that are used; the test's own three are closed.
    expect(openFds()).toBe(before - 3 + 2);
    expect((await device.mmap(3, 0x1000, 0x1000)).bytes[0]).toBe(0xb);
    expect((await device.mmap(3, 0x4000, 0x1000)).bytes[0]).toBe(0xa);
    for (const view of views) view.unmap();
  });
});

describe('a device-specific region', () => {
  test('has a type', async () => {
    const type = concat(u16(2), u16(1), u32(0), u32(0x80001234), u32(7));
    const argsz = 32 + type.length;
    const info = device.regionInfo(9);
    await answer(regionReply(9, 0x1000, { flags: 11, argsz }));
    await answer(concat(regionReply(9, 0x1000, { flags: 11, argsz, capOffset: 32 }), type));
    expect(await info).toMatchObject({ index: 9, type: { type: 0x80001234, subtype: 7 } });
    expect(await info).not.toHaveProperty('name');
  });
});

describe('consent', () => {
  test("is read from the name of our servers' memfds, area by area", async () => {
    const regionAreas = [
      { offset: 0, size: 0x1000, dma: 'allow' },
      { offset: 0x2000, size: 0x1000, dma: 'deny' },
    ] as const;
    const name = encodeRegionName('dev', { index: 3, sizeBytes: 0x8000, areas: regionAreas });
    const base = indexToOffset(3);
    const areas = concat(sparseHeader(2), u64(0), u64(0x1000), u64(0x2000), u64(0x1000));
    const argsz = 32 + areas.length;
    const info = device.regionInfo(3);
    await answer(regionReply(3, 0x8000, { flags: 15, argsz }));
    const reply = regionReply(3, 0x8000, { flags: 15, argsz, capOffset: 32, offset: base });
    await answer(concat(reply, areas), [memfd(name, base + 0x8000)]);
    expect((await info).areas).toEqual(regionAreas);
  });
});

describe('an answer that contradicts itself is EPROTO:', () => {
  const capability = (at: number, bytes: Uint8Array, index = 3): [Uint8Array, Uint8Array] => {
    const argsz = 32 + bytes.length;
    return [
      regionReply(index, 0x8000, { flags: 15, argsz }),
      concat(regionReply(index, 0x8000, { flags: 15, argsz, capOffset: at }), bytes),
    ];
  };
  const wrong: [string, Uint8Array[]][] = [
    ['too short', [regionReply(3, 1).subarray(0, 31)]],
    ['for another region', [regionReply(4, 1)]],
    ['needs less than it is', [regionReply(3, 1, { argsz: 31 })]],
    ['needs a megabyte', [regionReply(3, 1, { argsz: 1 << 20 })]],
    ['longer than asked for', [concat(regionReply(3, 1), u64(0))]],
    ['a region of 2^60 bytes', [regionReply(3, 2n ** 60n)]],
    ['a capability inside the fixed part', capability(16, sparseHeader(0))],
    ['a capability beyond the end', capability(44, sparseHeader(0))],
    ['a chain that goes in a circle', capability(32, concat(u16(77), u16(1), u32(32), u64(0)))],
    ['a chain that goes backwards', capability(40, concat(u64(0), u16(77), u16(1), u32(32)))],
    ['more areas than there is room for', capability(32, concat(sparseHeader(2), u64(0), u64(0x1000)))],
    ['2^32 - 1 areas', capability(32, sparseHeader(0xffffffff))],
    ['half a capability', capability(32, concat(u16(1), u16(1), u32(0)))],
    ['an area outside the region', capability(32, concat(sparseHeader(1), u64(0x7000), u64(0x2000)))],
    ['an area that wraps', capability(32, concat(sparseHeader(1), u64(2n ** 64n - 4096n), u64(0x2000)))],
    [
      'an area in an fd that is not there',
      capability(
        32,
        concat(u16(16), u16(1), u32(0), u32(1), u32(0), u64(0), u64(0), u64(0x1000), u32(1), u32(0)),
      ),
    ],
  ];
  test.each(wrong)('%s', async (_name, answers) => {
    const info = device.regionInfo(3);
    info.catch(() => undefined);
    for (const body of answers) await answer(body, [memfd('x', 0x8000)]);
    await expect(info).rejects.toMatchObject({ code: 'EPROTO' });
    expect(device.open).toBe(true);
  });
});

test('areas that are not whole pages are left out', async () => {
  const areas = concat(sparseHeader(2), u64(0x800), u64(0x1000), u64(0x2000), u64(0x1000));
  const argsz = 32 + areas.length;
  const info = device.regionInfo(3);
  await answer(regionReply(3, 0x8000, { flags: 15, argsz }));
  await answer(concat(regionReply(3, 0x8000, { flags: 15, argsz, capOffset: 32 }), areas), [
    memfd('x', 0x8000),
  ]);
  expect((await info).areas).toEqual([{ offset: 0x2000, size: 0x1000 }]);
});
