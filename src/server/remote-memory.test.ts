/*
 * DMA_READ and DMA_WRITE: the device reaches memory of the client that came without an fd.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { concat, filled, hex, read, u32, u64 } from '../../test/support/bytes.ts';
import {
  access,
  dmaMap,
  dmaUnmap,
  RawClient,
  type Received,
  version,
} from '../../test/support/raw-client.ts';
import { type Served, serve } from '../../test/support/served-device.ts';
import { REGISTER, type TestDevice } from '../../test/support/test-device.ts';
import { ERRNO } from '../abi/index.ts';
import type { ServerOptions } from './server.ts';

const DMA_READ = 11;
const DMA_WRITE = 12;
const IOVA = 0x40000000;
const SIZE = 1 << 20;

let served: Served<TestDevice>;
let client: RawClient;
afterEach(() => served.close());

/** A client with 1 MiB of memory at IOVA that only messages reach. */
async function start(options: Partial<ServerOptions> = {}, json?: string): Promise<void> {
  served = await serve(options);
  client = await served.open(json);
  await client.request(2, dmaMap(IOVA, SIZE));
}

/** Answers DMA messages from `memory` as the protocol says. */
function answerFrom(memory: Uint8Array, from: RawClient = client): Received[] {
  const seen: Received[] = [];
  from.onCommand = (command) => {
    seen.push(command);
    const at = read(command.body, 0, 8) - IOVA;
    const count = read(command.body, 8, 8);
    if (command.command === DMA_WRITE) memory.set(command.body.subarray(16), at);
    const data = command.command === DMA_READ ? memory.subarray(at, at + count) : new Uint8Array(0);
    from.answer(command, concat(command.body.subarray(0, 16), data));
    return true;
  };
  return seen;
}

describe('DMA messages', () => {
  test('a read: address and count as u64, the reply with the data', async () => {
    await start();
    const target = new Uint8Array(8);
    const done = served.device.dma.read(IOVA + 0x100, target);
    const command = await client.command();
    expect([command.command, command.flags, command.errno]).toEqual([DMA_READ, 0, 0]);
    expect(hex(command.body)).toBe(hex(concat(u64(IOVA + 0x100), u64(8))));
    client.answer(command, concat(u64(IOVA + 0x100), u64(8), filled(8)));
    expect(await done).toBeNull();
    expect(target).toEqual(filled(8));
  });

  test('a write: the data behind address and count', async () => {
    await start();
    const done = served.device.dma.write(IOVA, filled(5));
    const command = await client.command();
    expect(hex(command.body)).toBe(hex(concat(u64(IOVA), u64(5), filled(5))));
    client.answer(command, concat(u64(IOVA), u64(5)));
    expect(await done).toBeNull();
  });

  test('split by what the client takes in one message', async () => {
    await start({}, '{"capabilities":{"max_data_xfer_size":4096}}');
    const memory = filled(SIZE);
    const seen = answerFrom(memory);
    const target = new Uint8Array(10000);
    expect(await served.device.dma.read(IOVA, target)).toBeNull();
    expect(target).toEqual(memory.subarray(0, 10000));
    expect(seen.map(({ body }) => read(body, 8, 8))).toEqual([4096, 4096, 1808]);
  });

  test('1 MiB in one message, both ways', async () => {
    await start();
    const memory = filled(SIZE);
    answerFrom(memory);
    const target = new Uint8Array(SIZE);
    expect(await served.device.dma.read(IOVA, target)).toBeNull();
    expect(Buffer.compare(target, memory)).toBe(0);
    expect(await served.device.dma.write(IOVA, target.fill(3))).toBeNull();
    expect(Buffer.compare(memory, target)).toBe(0);
  });

  test('a few under way at once, the others in line; ids tell them apart', async () => {
    await start();
    const targets = Array.from({ length: 20 }, () => new Uint8Array(4));
    const done = targets.map((target, i) => served.device.dma.read(IOVA + 4 * i, target));
    await client.request(9, access(0, 0, 4));
    const first = client.commands.splice(0);
    expect(first).toHaveLength(8);
    expect(new Set(first.map(({ id }) => id)).size).toBe(8);
    // In any order.
    for (const command of first.reverse()) {
      const at = read(command.body, 0, 8);
      client.answer(command, concat(command.body, u32(at)));
    }
    client.onCommand = (command) => {
      client.answer(command, concat(command.body, u32(read(command.body, 0, 8))));
      return true;
    };
    for (const command of client.commands.splice(0)) client.onCommand(command);
    expect(await Promise.all(done)).toEqual(targets.map(() => null));
    expect(targets.map((target) => read(target, 0, 4))).toEqual(targets.map((_, i) => IOVA + 4 * i));
  });

  test("the client's errno is the fault's", async () => {
    await start();
    const done = served.device.dma.read(IOVA, new Uint8Array(4));
    client.answer(await client.command(), new Uint8Array(0), ERRNO.EFAULT);
    expect(await done).toEqual({ iova: IOVA, reason: 'message failed', errno: ERRNO.EFAULT });
  });

  test('no answer in time: ETIMEDOUT for it and those in line, and a late answer harms nobody', async () => {
    await start({ requestTimeoutMs: 50 });
    const done = Array.from({ length: 10 }, () => served.device.dma.read(IOVA, new Uint8Array(4)));
    const command = await client.command();
    const faults = await Promise.all(done);
    expect(new Set(faults.map((fault) => fault?.errno))).toEqual(new Set([ERRNO.ETIMEDOUT]));
    client.answer(command, concat(command.body, u32(1)));
    await client.request(9, access(0, 0, 4));
    const again = served.device.dma.read(IOVA, new Uint8Array(4));
    client.commands.length = 0;
    answerFrom(filled(SIZE));
    expect(await served.device.dma.read(IOVA, new Uint8Array(4))).toBeNull();
    expect(await again).not.toBeUndefined();
  });

  test.each([
    ['too short', (c: Received) => c.body],
    ['too long', (c: Received) => concat(c.body, u64(0))],
    ['another address', () => concat(u64(IOVA + 4), u64(4), u32(0))],
    ['another count', () => concat(u64(IOVA), u64(3), u32(0))],
    // The first QEMU: a 32-bit count, the data behind it, 4 bytes of padding at the end.
    [
      'a 32-bit count',
      (c: Received) => concat(u64(IOVA), u32(4), u32(0x1234), u32(0), c.body.subarray(0, 0)),
    ],
  ])('a malformed answer is EPROTO: %s', async (_name, body) => {
    await start();
    const done = served.device.dma.read(IOVA, new Uint8Array(4));
    const command = await client.command();
    client.answer(command, body(command));
    expect(await done).toMatchObject({ reason: 'message failed', errno: ERRNO.EPROTO });
    await client.request(9, access(0, 0, 4));
  });

  test('the client leaves: who waits is told', async () => {
    await start();
    const done = served.device.dma.read(IOVA, new Uint8Array(4));
    await client.command();
    client.close();
    expect(await done).toMatchObject({ reason: 'message failed', errno: ERRNO.ENOTCONN });
  });
});

describe('the twin socket', () => {
  const OFFER = '{"capabilities":{"max_msg_fds":8,"twin_socket":{"supported":true}}}';

  async function startTwin(): Promise<RawClient> {
    served = await serve();
    client = RawClient.connect(served.path);
    const reply = await client.request(1, version(OFFER));
    expect(new TextDecoder().decode(reply.body)).toMatch(/"twin_socket":\{"supported":true,"fd_index":0\}/);
    expect(reply.fds).toHaveLength(1);
    await client.request(2, dmaMap(IOVA, SIZE));
    return new RawClient(reply.fds[0]!);
  }

  test('carries the DMA messages, and the main socket does not', async () => {
    const twin = await startTwin();
    const memory = filled(SIZE);
    const seen = answerFrom(memory, twin);
    const target = new Uint8Array(64);
    expect(await served.device.dma.read(IOVA, target)).toBeNull();
    expect(target).toEqual(memory.subarray(0, 64));
    expect(seen).toHaveLength(1);
    expect(client.commands).toEqual([]);
    twin.close();
    client.close();
  });

  test('commands of the client are refused on it; a reply on the main socket is dropped', async () => {
    const twin = await startTwin();
    expect(await twin.errno(9, access(0, 0, 4))).toBe(ERRNO.EINVAL);
    const done = served.device.dma.read(IOVA, new Uint8Array(4));
    const command = await twin.command();
    client.answer(command, concat(command.body, u32(1)));
    await client.request(9, access(0, 0, 4));
    twin.answer(command, concat(command.body, u32(1)));
    expect(await done).toBeNull();
    twin.close();
    client.close();
  });

  test('while a handler waits for its answer, commands wait and replies do not', async () => {
    const twin = await startTwin();
    const write = client.request(10, access(0, REGISTER.FETCH, 4, u32(IOVA)));
    const later = client.request(9, access(0, 0, 4));
    const command = await twin.command();
    twin.answer(command, concat(command.body, filled(16)));
    await write;
    await later;
    expect(served.device.fetchResult).toBeNull();
    expect(served.device.fetched).toEqual(filled(16));
    twin.close();
    client.close();
  });

  test('DMA_UNMAP is answered when the message that is under way has been', async () => {
    const twin = await startTwin();
    const read1 = served.device.dma.read(IOVA, new Uint8Array(4));
    const command = await twin.command();
    let unmapped = false;
    const unmap = client.request(3, dmaUnmap(IOVA, SIZE)).then(() => {
      unmapped = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(unmapped).toBe(false);
    expect(served.device.dma.read(IOVA, new Uint8Array(4))).toMatchObject({
      reason: 'mapping is being removed',
    });
    twin.answer(command, concat(command.body, u32(1)));
    await unmap;
    expect(await read1).toBeNull();
    expect(served.device.dma.read(IOVA, new Uint8Array(4))).toMatchObject({ reason: 'not mapped' });
    twin.close();
    client.close();
  });

  test('its end is the end of the session', async () => {
    const twin = await startTwin();
    twin.close();
    await client.closed;
    expect(served.told.at(-1)).toMatch(/close: twin socket/);
  });
});
