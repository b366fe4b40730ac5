/*
 * DMA behind a socket: DMA_MAP and DMA_UNMAP as bytes with the fd that belongs to them, and our answers to a server's
 * DMA_READ and DMA_WRITE.
 */
import {
  closeSync,
  constants,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Bytes, concat, read, u64 } from '../../test/support/bytes.ts';
import {
  dmaMap,
  dmaUnmap,
  ERROR,
  message,
  NO_REPLY,
  REPLY,
  type Received,
} from '../../test/support/raw-client.ts';
import {
  infoReply,
  RawServer,
  regionReply,
  type ScriptOptions,
  versionReply,
} from '../../test/support/raw-server.ts';
import { VfioError } from '../core/index.ts';
import { openSys } from '../sys/index.ts';
import type { DeviceHandle } from './device-handle.ts';
import type { SocketDevice } from './socket-device.ts';

const MAP = 2;
const UNMAP = 3;
const DMA_READ = 11;
const DMA_WRITE = 12;
const PAGE = 4096;
const sys = openSys();

let device: SocketDevice;
let server: RawServer;
let fdsBefore: number;
/** DMA_MAP and DMA_UNMAP as they came, answered with success. */
let maps: Received[];

function openFds(): number {
  return readdirSync('/proc/self/fd').length;
}

function serveMaps(request: Received): boolean {
  if (request.command !== MAP && request.command !== UNMAP) return false;
  maps.push(request);
  server.reply(request, request.command === MAP ? new Uint8Array(0) : request.body);
  return true;
}

async function open(options: ScriptOptions = {}): Promise<void> {
  ({ device, server } = await RawServer.open(options));
  server.onMessage = serveMaps;
}

beforeEach(async () => {
  fdsBefore = openFds();
  maps = [];
  await open();
});

afterEach(async () => {
  for (const { fds } of maps) for (const fd of fds) sys.close(fd);
  await device.close();
  server.close();
  await expect.poll(openFds).toBe(fdsBefore);
});

/** Payload of DMA_READ and DMA_WRITE. */
function transfer(
  iova: number | bigint,
  count: number | bigint,
  data: Uint8Array = new Uint8Array(0),
): Bytes {
  return concat(u64(iova), u64(count), data);
}

/** errno of the answer, 0 for success. */
async function errno(command: number, body: Uint8Array): Promise<number> {
  const reply = await server.ask(command, 0x4321, body);
  if ((reply.flags & ERROR) === 0) return 0;
  expect(reply.body.length).toBe(0);
  return reply.errno;
}

async function dmaRead(iova: number, count: number): Promise<number[]> {
  const reply = await server.ask(DMA_READ, 7, transfer(iova, count));
  expect([reply.flags, [...reply.body.subarray(0, 16)]]).toEqual([REPLY, [...transfer(iova, count)]]);
  return [...reply.body.subarray(16)];
}

async function dmaWrite(iova: number, data: Uint8Array): Promise<void> {
  const reply = await server.ask(DMA_WRITE, 8, transfer(iova, data.length, data));
  expect([reply.flags, [...reply.body]]).toEqual([REPLY, [...transfer(iova, data.length)]]);
}

describe('dmaMemory', () => {
  test('is sealed against shrinking, mapped with its fd, and shared', async () => {
    const memory = await device.dmaMemory(5000, { iova: 0x200000 });
    expect(memory.sizeBytes).toBe(2 * PAGE);
    expect([...maps[0]!.body]).toEqual([...dmaMap(0x200000, 2 * PAGE)]);
    const fd = maps[0]!.fds[0]!;
    const F_SEAL_SHRINK = 2;
    expect(sys.identity(fd).seals & F_SEAL_SHRINK).toBe(F_SEAL_SHRINK);
    const theirs = sys.map(fd, 0, 2 * PAGE, 'rw');
    theirs.bytes[100] = 0x42;
    expect(memory.bytes[100]).toBe(0x42);
    await memory.close();
    await memory.close();
    expect(maps).toHaveLength(2);
    expect([...maps[1]!.body]).toEqual([...dmaUnmap(0x200000, 2 * PAGE)]);
    expect(memory.bytes.length).toBe(0);
    theirs.unmap();
  });

  test('gets the lowest free IOVA from 1 MiB on, huge pages aligned', async () => {
    const first = await device.dmaMemory(PAGE);
    const second = await device.dmaMemory(3 * PAGE);
    const huge = await device.dmaMemory(2 << 20);
    expect([first.iova, second.iova, huge.iova]).toEqual([0x100000, 0x101000, 0x200000]);
    await first.close();
    expect((await device.dmaMemory(PAGE)).iova).toBe(0x100000);
    expect((await device.dmaMemory(2 * PAGE)).iova).toBe(0x104000);
  });

  test('that the server refuses is freed', async () => {
    const before = openFds();
    server.onMessage = (request) => {
      for (const fd of request.fds) sys.close(fd);
      server.replyError(request, 28);
      return true;
    };
    await expect(device.dmaMemory(PAGE)).rejects.toMatchObject({ code: 'ENOSPC' });
    await expect.poll(openFds).toBe(before);
    server.onMessage = serveMaps;
    await device.dmaMemory(PAGE);
  });
});

describe('dmaMap', () => {
  test.each([
    [{}, 3],
    [{ write: false }, 1],
    [{ read: false }, 2],
    [{ access: 'mmap' }, 7],
    [{ access: 'file-io' }, 11],
  ] as const)('with %o has flags %i', async (options, flags) => {
    const fd = sys.memfdCreate('m');
    sys.ftruncate(fd, 0x10000);
    await device.dmaMap({ iova: 0x7000, sizeBytes: 0x2000, fd, offset: 0x3000, ...options });
    expect([...maps[0]!.body]).toEqual([...dmaMap(0x7000, 0x2000, { flags, offset: 0x3000 })]);
    expect(maps[0]!.fds).toHaveLength(1);
    expect(sys.identity(maps[0]!.fds[0]!).ino).toBe(sys.identity(fd).ino);
    sys.close(fd);
  });

  test('of bytes sends no fd', async () => {
    await device.dmaMap({ iova: 0x7000, sizeBytes: PAGE, bytes: new Uint8Array(PAGE) });
    expect([[...maps[0]!.body], maps[0]!.fds]).toEqual([[...dmaMap(0x7000, PAGE)], []]);
  });

  test.each([
    ['nothing behind it', { iova: 0, sizeBytes: PAGE }],
    ['fewer bytes than it says', { iova: 0, sizeBytes: PAGE, bytes: new Uint8Array(10) }],
    ['no size', { iova: 0, sizeBytes: 0, bytes: new Uint8Array(10) }],
    ['a negative iova', { iova: -PAGE, sizeBytes: PAGE, bytes: new Uint8Array(PAGE) }],
  ])('of %s is EINVAL', async (_name, request) => {
    await expect(device.dmaMap(request)).rejects.toMatchObject({ code: 'EINVAL' });
    expect(maps).toEqual([]);
  });

  test('over a mapping is EEXIST, beyond the limit of the server ENOSPC', async () => {
    const bytes = new Uint8Array(0x2000);
    await device.dmaMap({ iova: 0x2000, sizeBytes: 0x2000, bytes });
    await expect(device.dmaMap({ iova: 0x3000, sizeBytes: 0x2000, bytes })).rejects.toMatchObject({
      code: 'EEXIST',
    });
    await device.close();
    server.close();
    await open({ version: '{"capabilities":{"max_dma_maps":1}}' });
    await device.dmaMap({ iova: 0, sizeBytes: PAGE, bytes });
    await expect(device.dmaMap({ iova: PAGE, sizeBytes: PAGE, bytes })).rejects.toMatchObject({
      code: 'ENOSPC',
    });
  });
});

describe('dmaUnmap', () => {
  test('counts what was mapped, one by one, over several, and with all', async () => {
    const bytes = new Uint8Array(PAGE);
    for (let i = 0; i < 6; i++) await device.dmaMap({ iova: i * PAGE, sizeBytes: PAGE, bytes });
    maps.length = 0;
    expect(await device.dmaUnmap(PAGE, PAGE)).toBe(PAGE);
    expect(await device.dmaUnmap(PAGE, PAGE)).toBe(0);
    expect(await device.dmaUnmap(2 * PAGE, 2 * PAGE)).toBe(2 * PAGE);
    expect(await device.dmaUnmap(0, 0, { all: true })).toBe(3 * PAGE);
    expect(maps.map(({ body }) => [...body])).toEqual([
      [...dmaUnmap(PAGE, PAGE)],
      [...dmaUnmap(PAGE, PAGE)],
      [...dmaUnmap(2 * PAGE, 2 * PAGE)],
      [...dmaUnmap(0, 0, 2)],
    ]);
  });

  test('of nothing is 0 also where the server calls that ENOENT, and an empty reply is taken', async () => {
    server.onMessage = (request) => {
      server.replyError(request, 2);
      return true;
    };
    expect(await device.dmaUnmap(PAGE, PAGE)).toBe(0);
    server.onMessage = (request) => {
      server.reply(request);
      return true;
    };
    expect(await device.dmaUnmap(PAGE, PAGE)).toBe(0);
  });

  test('that is refused unmaps nothing', async () => {
    await device.dmaMap({ iova: PAGE, sizeBytes: PAGE, bytes: new Uint8Array(PAGE) });
    server.onMessage = (request) => {
      server.replyError(request, 22);
      return true;
    };
    await expect(device.dmaUnmap(PAGE, PAGE)).rejects.toMatchObject({ code: 'EINVAL' });
    server.onMessage = serveMaps;
    expect(await dmaRead(PAGE, 1)).toEqual([0]);
  });
});

describe("the server's DMA messages", () => {
  test('reach sealed memory, bytes and files', async () => {
    const memory = await device.dmaMemory(PAGE, { iova: 0x10000 });
    const bytes = new Uint8Array(PAGE);
    await device.dmaMap({ iova: 0x11000, sizeBytes: PAGE, bytes });
    const fd = sys.memfdCreate('f');
    sys.ftruncate(fd, 0x3000);
    await device.dmaMap({ iova: 0x12000, sizeBytes: PAGE, fd, offset: 0x1000 });
    await dmaWrite(
      0x10ff0,
      Uint8Array.from({ length: 16 }, (_, i) => i),
    );
    expect([...memory.bytes.subarray(0xff0)]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    await dmaWrite(0x11000, Uint8Array.of(5, 6));
    expect([...bytes.subarray(0, 2)]).toEqual([5, 6]);
    await dmaWrite(0x12010, Uint8Array.of(0xaa));
    const file = sys.map(fd, 0, 0x3000, 'rw');
    expect(file.bytes[0x1010]).toBe(0xaa);
    // One transfer over all three, which lie side by side.
    const all = await dmaRead(0x10ff0, 0x1030);
    expect(all.slice(0, 18)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 5, 6]);
    expect(all[0x1020]).toBe(0xaa);
    file.unmap();
    sys.close(fd);
    expect(device.dmaMessages).toEqual({ reads: 1, writes: 3, refused: 0 });
  });

  test.each([
    ['EFAULT where nothing is mapped', DMA_READ, transfer(0x5000, 8), 14],
    ['EFAULT where the range ends outside', DMA_WRITE, transfer(0x12ff8, 16, new Uint8Array(16)), 14],
    ['EFAULT where the range begins outside', DMA_WRITE, transfer(0xfff8, 16, new Uint8Array(16)), 14],
    ['EFAULT at an address that no number holds', DMA_READ, transfer(2n ** 63n + 1n, 8), 14],
    [
      'EPERM for a write where only reading is allowed',
      DMA_WRITE,
      transfer(0x11000, 1, new Uint8Array(1)),
      1,
    ],
    ['EPERM for a read where only writing is allowed', DMA_READ, transfer(0x12000, 1), 1],
    ['E2BIG above what we said that we take', DMA_READ, transfer(0x10000, (1 << 20) + 1), 7],
    ['E2BIG for a count above 2^32', DMA_READ, transfer(0x10000, 2 ** 32 + 1), 7],
    ['EINVAL for half a message', DMA_READ, transfer(0x10000, 8).subarray(0, 12), 22],
    [
      'EINVAL for a write with less data than it says',
      DMA_WRITE,
      transfer(0x10000, 8, new Uint8Array(7)),
      22,
    ],
    ['ENOSYS for a command that is not for us', 9, new Uint8Array(16), 38],
    ['success for nothing', DMA_READ, transfer(0x10000, 0), 0],
  ])('are answered with %s', async (_name, command, body, expected) => {
    const bytes = new Uint8Array(PAGE);
    await device.dmaMap({ iova: 0x10000, sizeBytes: PAGE, bytes });
    await device.dmaMap({ iova: 0x11000, sizeBytes: PAGE, bytes, write: false });
    await device.dmaMap({ iova: 0x12000, sizeBytes: PAGE, bytes, read: false });
    expect(await errno(command, body)).toBe(expected);
  });

  test('with NO_REPLY are done, and answered never', async () => {
    const bytes = new Uint8Array(PAGE);
    await device.dmaMap({ iova: 0x10000, sizeBytes: PAGE, bytes });
    server.send(message(DMA_WRITE, 1, transfer(0x10000, 1, Uint8Array.of(9)), NO_REPLY));
    server.send(message(DMA_WRITE, 2, transfer(0x99000, 1, Uint8Array.of(9)), NO_REPLY));
    server.send(message(DMA_READ, 3, transfer(0x10000, 1), NO_REPLY));
    expect(await dmaRead(0x10000, 1)).toEqual([9]);
    expect(server.kept).toEqual([]);
  });

  test('of 1 MiB work, in one batch with others, and larger ones are refused without their body', async () => {
    const size = 1 << 20;
    const memory = await device.dmaMemory(size, { iova: 0x100000 });
    for (let i = 0; i < size; i += 997) memory.bytes[i] = i & 0xff;
    const requests = concat(
      message(DMA_READ, 1, transfer(0x100000, size)),
      message(DMA_READ, 2, transfer(0x100000, size)),
      message(DMA_WRITE, 3, transfer(0x100000, 4, Uint8Array.of(1, 2, 3, 4))),
    );
    server.send(requests);
    const replies = [await server.next(), await server.next(), await server.next()];
    expect(replies.map(({ id, flags, body }) => [id, flags, body.length])).toEqual([
      [1, REPLY, 16 + size],
      [2, REPLY, 16 + size],
      [3, REPLY, 16],
    ]);
    expect(replies[0]!.body[16 + 997 * 3]).toBe((997 * 3) & 0xff);
    expect(await errno(DMA_WRITE, transfer(0x100000, 2 << 20, new Uint8Array(2 << 20)))).toBe(7);
    expect(await dmaRead(0x100000, 4)).toEqual([1, 2, 3, 4]);
  });

  test('are answered before the reply to DMA_MAP, and until the reply to DMA_UNMAP', async () => {
    server.onMessage = null;
    const mapping = device.dmaMap({ iova: 0x10000, sizeBytes: PAGE, bytes: new Uint8Array(PAGE).fill(3) });
    const map = await server.next(MAP);
    expect(await dmaRead(0x10000, 1)).toEqual([3]);
    server.reply(map);
    await mapping;
    const unmapping = device.dmaUnmap(0x10000, PAGE);
    const unmap = await server.next(UNMAP);
    expect(await dmaRead(0x10000, 1)).toEqual([3]);
    server.reply(unmap, unmap.body);
    await unmapping;
    expect(await errno(DMA_READ, transfer(0x10000, 1))).toBe(14);
  });

  test('are refused after a DMA_MAP that the server refused', async () => {
    server.onMessage = (request) => {
      if (request.command !== MAP) return false;
      server.replyError(request, 22);
      return true;
    };
    await expect(
      device.dmaMap({ iova: 0x10000, sizeBytes: PAGE, bytes: new Uint8Array(PAGE) }),
    ).rejects.toMatchObject({ code: 'EINVAL' });
    expect(await errno(DMA_READ, transfer(0x10000, 1))).toBe(14);
  });

  test('to a file that got shorter are EFAULT, and work again when it is back', async () => {
    const fd = sys.memfdCreate('f');
    sys.ftruncate(fd, PAGE);
    await device.dmaMap({ iova: 0x10000, sizeBytes: PAGE, fd });
    expect(await errno(DMA_WRITE, transfer(0x10000, 1, Uint8Array.of(1)))).toBe(0);
    sys.ftruncate(fd, 0);
    expect(await errno(DMA_READ, transfer(0x10000, 8))).toBe(14);
    sys.ftruncate(fd, PAGE);
    expect(await dmaRead(0x10000, 1)).toEqual([0]);
    sys.close(fd);
  });

  test('to a file that cannot be mapped are done by pwrite', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'vfio-dma-'));
    const path = join(folder, 'f');
    writeFileSync(path, Buffer.alloc(PAGE, 0x61));
    const fd = openSync(path, 'r+');
    const writeOnly = openSync(path, constants.O_WRONLY);
    await device.dmaMap({ iova: 0x10000, sizeBytes: PAGE, fd: writeOnly, read: false });
    await dmaWrite(0x10010, Uint8Array.of(1, 2));
    await device.dmaMap({ iova: 0x20000, sizeBytes: PAGE, fd });
    expect(await dmaRead(0x2000e, 4)).toEqual([0x61, 0x61, 1, 2]);
    ftruncateSync(fd, 0x10);
    expect(await errno(DMA_WRITE, transfer(0x10010, 1, Uint8Array.of(1)))).toBe(14);
    closeSync(fd);
    closeSync(writeOnly);
    rmSync(folder, { recursive: true });
  });
});

describe('mapPeer', () => {
  /** A peer that is written by hand too, with one mappable region of 64 KiB. */
  async function openPeer(fd: number): Promise<{ peer: SocketDevice; peerServer: RawServer }> {
    const opened = await RawServer.open();
    const { device: peer, server: peerServer } = opened;
    peerServer.onMessage = (request) => {
      if (request.command !== 5) return false;
      peerServer.reply(request, regionReply(request.body[8]!, 0x10000, { flags: 7, offset: 0x20000 }), [fd]);
      return true;
    };
    return { peer, peerServer };
  }

  test("passes the peer's fd with the place in it", async () => {
    const fd = sys.memfdCreate('bar');
    sys.ftruncate(fd, 0x30000);
    const { peer, peerServer } = await openPeer(fd);
    await device.mapPeer(peer, { index: 2, offset: 0x1000, sizeBytes: 0x2000, iova: 0xc000, write: false });
    expect([...maps[0]!.body]).toEqual([...dmaMap(0xc000, 0x2000, { flags: 1, offset: 0x21000 })]);
    expect(sys.identity(maps[0]!.fds[0]!).ino).toBe(sys.identity(fd).ino);
    await expect(
      device.mapPeer(peer, { index: 2, offset: 0xf000, sizeBytes: 0x2000, iova: 0x20000 }),
    ).rejects.toMatchObject({ code: 'EINVAL' });
    expect(maps).toHaveLength(1);
    await peer.close();
    peerServer.close();
    sys.close(fd);
  });

  test('by messages sends no fd and asks the peer for each transfer', async () => {
    const fd = sys.memfdCreate('bar');
    sys.ftruncate(fd, 0x30000);
    const { peer, peerServer } = await openPeer(fd);
    const memory = new Uint8Array(0x10000);
    peerServer.onMessage = (request) => {
      const at = read(request.body, 0, 8);
      const count = read(request.body, 12, 4);
      const head = request.body.slice(0, 16);
      if (at === 0x4000) peerServer.replyError(request, 5);
      else if (request.command === 9)
        peerServer.reply(request, concat(head, memory.subarray(at, at + count)));
      else {
        memory.set(request.body.subarray(16), at);
        peerServer.reply(request, head);
      }
      return true;
    };
    await device.mapPeer(peer, {
      index: 2,
      offset: 0x3000,
      sizeBytes: 0x2000,
      iova: 0xc000,
      byMessages: true,
    });
    expect([[...maps[0]!.body], maps[0]!.fds]).toEqual([[...dmaMap(0xc000, 0x2000)], []]);
    await dmaWrite(0xc010, Uint8Array.of(1, 2, 3));
    expect([...memory.subarray(0x3010, 0x3013)]).toEqual([1, 2, 3]);
    expect(await dmaRead(0xc010, 3)).toEqual([1, 2, 3]);
    expect(await errno(DMA_READ, transfer(0xd000, 1))).toBe(5);
    // Over the edge into memory of this process.
    await device.dmaMap({ iova: 0xb000, sizeBytes: PAGE, bytes: new Uint8Array(PAGE).fill(7) });
    memory[0x3000] = 8;
    expect(await dmaRead(0xbfff, 2)).toEqual([7, 8]);
    await peer.close();
    expect(await errno(DMA_READ, transfer(0xc000, 1))).toBe(9);
    peerServer.close();
    sys.close(fd);
  });

  test('has a limit on transfers that wait for the peer', async () => {
    const never = { read: () => new Promise<void>(() => undefined) } as unknown as DeviceHandle;
    await device.mapPeer(never, { index: 0, sizeBytes: PAGE, iova: 0xc000, byMessages: true });
    for (let i = 0; i < 64; i++) server.send(message(DMA_READ, i, transfer(0xc000, 1)));
    expect(await errno(DMA_READ, transfer(0xc000, 1))).toBe(16);
  });

  test('asks any other implementation of a handle for its fd', async () => {
    const fd = sys.memfdCreate('bar');
    sys.ftruncate(fd, 0x2000);
    const other = {
      regionInfo: async () => ({ offset: 0x1000 }),
      regionFd: async (index: number) => {
        if (index !== 2) throw new VfioError('EINVAL', 'no');
        return fd;
      },
    } as unknown as DeviceHandle;
    await device.mapPeer(other, { index: 2, sizeBytes: PAGE, iova: 0 });
    expect([...maps[0]!.body]).toEqual([...dmaMap(0, PAGE, { offset: 0x1000 })]);
    await expect(device.mapPeer(other, { index: 1, sizeBytes: PAGE, iova: PAGE })).rejects.toMatchObject({
      code: 'EINVAL',
    });
    sys.close(fd);
  });
});

describe('a twin socket', () => {
  async function openTwin(): Promise<RawServer> {
    await device.close();
    server.close();
    const [ours, theirs] = sys.socketpair();
    const begun = RawServer.begin({ twinSocket: true });
    server = begun.server;
    const version = await server.next(1);
    expect(new TextDecoder().decode(version.body)).toContain('"twin_socket":{"supported":true}');
    const reply = '{"capabilities":{"twin_socket":{"supported":true,"fd_index":0}}}';
    server.reply(version, versionReply(reply, 0, 2), [theirs]);
    sys.close(theirs);
    server.reply(await server.next(4), infoReply());
    device = await begun.device;
    server.onMessage = serveMaps;
    return new RawServer(ours, sys);
  }

  test('answers DMA messages there', async () => {
    const twin = await openTwin();
    expect(device.twinSocket).toBe(true);
    await device.dmaMap({ iova: 0, sizeBytes: PAGE, bytes: new Uint8Array(PAGE).fill(6) });
    const reply = await twin.ask(DMA_READ, 3, transfer(0x10, 2));
    expect([...reply.body]).toEqual([...transfer(0x10, 2), 6, 6]);
    const refused = await twin.ask(DMA_READ, 4, transfer(0x10, 2 << 20));
    expect([refused.flags, refused.errno]).toEqual([REPLY | ERROR, 7]);
    twin.close();
    expect((await device.closed)?.code).toBe('ECONNRESET');
  });

  test('makes a DMA message on the main socket a broken protocol', async () => {
    const twin = await openTwin();
    server.send(message(DMA_READ, 1, transfer(0, 1)));
    expect((await device.closed)?.code).toBe('EPROTO');
    twin.close();
  });

  test('ends with the device', async () => {
    const twin = await openTwin();
    await device.close();
    await expect.poll(() => twin.ended).toBe(true);
  });

  test('ends the device when it carries anything but commands', async () => {
    const twin = await openTwin();
    twin.send(message(DMA_READ, 1, transfer(0, 1), REPLY));
    expect((await device.closed)?.code).toBe('EPROTO');
    await expect.poll(() => twin.ended).toBe(true);
  });
});
