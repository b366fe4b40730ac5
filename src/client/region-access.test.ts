/*
 * Region accesses by message: the bytes of each kind, cutting to the server's limit, and odd answers.
 */
import { describe, expect, test } from 'vitest';
import { concat, read, u32, u64 } from '../../test/support/bytes.ts';
import { access, NO_REPLY, type Received } from '../../test/support/raw-client.ts';
import { RawServer } from '../../test/support/raw-server.ts';

const READ = 9;
const WRITE = 10;
const MULTI = 15;

function limited(bytes: number, multiple = false): string {
  return JSON.stringify({ capabilities: { max_data_xfer_size: bytes, write_multiple: multiple } });
}

describe('registers', () => {
  test.each([
    [1, 0xfe, [0xfe]],
    [2, 0xfedc, [0xdc, 0xfe]],
    [4, 0xfedcba98, [0x98, 0xba, 0xdc, 0xfe]],
  ] as const)('of %i bytes', async (width, value, bytes) => {
    const { device, server } = await RawServer.open();
    const reading = device.readRegister(2, 0x1234567890, width);
    const request = await server.next(READ);
    expect([...request.body]).toEqual([...access(2, 0x1234567890, width)]);
    server.reply(request, access(2, 0x1234567890, width, Uint8Array.from(bytes)));
    expect(await reading).toBe(value);

    const writing = device.writeRegister(2, 8, width, value);
    const write = await server.next(WRITE);
    expect([write.flags, [...write.body]]).toEqual([0, [...access(2, 8, width, Uint8Array.from(bytes))]]);
    server.reply(write, access(2, 8, width));
    await writing;
    await device.close();
    server.close();
  });

  test('of 8 bytes are bigints, and take numbers', async () => {
    const { device, server } = await RawServer.open();
    const reading = device.readRegister(0, 0, 8);
    server.reply(await server.next(), access(0, 0, 8, u64(0xfedcba9876543210n)));
    expect(await reading).toBe(0xfedcba9876543210n);
    const writing = [
      device.writeRegister(0, 0, 8, 0xfedcba9876543210n),
      device.writeRegister(0, 0, 8, 2 ** 40 + 1),
    ];
    const messages = [await server.next(WRITE), await server.next(WRITE)];
    expect([...messages[0]!.body.subarray(16)]).toEqual([...u64(0xfedcba9876543210n)]);
    expect([...messages[1]!.body.subarray(16)]).toEqual([...u64(2 ** 40 + 1)]);
    for (const each of messages) server.reply(each, access(0, 0, 8));
    await Promise.all(writing);
    await device.close();
    server.close();
  });

  test('a short count is EIO; a place that is none is EINVAL and sends nothing', async () => {
    const { device, server } = await RawServer.open();
    const short = device.writeRegister(0, 0, 4, 1);
    server.reply(await server.next(), access(0, 0, 2));
    await expect(short).rejects.toMatchObject({ code: 'EIO' });
    for (const [index, offset] of [
      [-1, 0],
      [0.5, 0],
      [2 ** 32, 0],
      [0, -4],
      [0, 0.5],
      [0, 2 ** 53],
    ] as const) {
      await expect(device.readRegister(index, offset, 4)).rejects.toMatchObject({ code: 'EINVAL' });
      await expect(device.write(index, offset, u32(0))).rejects.toMatchObject({ code: 'EINVAL' });
      expect(() => device.postRegister(index, offset, 4, 0)).toThrow(
        expect.objectContaining({ code: 'EINVAL' }),
      );
    }
    expect(server.kept).toEqual([]);
    await device.close();
    server.close();
  });
});

describe('blocks', () => {
  /** Answers reads of region 0 from `memory`, and writes into it. */
  function serve(server: RawServer, memory: Uint8Array): { counts: number[] } {
    const counts: number[] = [];
    server.onMessage = (request: Received) => {
      const offset = read(request.body, 0, 8);
      const count = read(request.body, 12, 4);
      counts.push(count);
      if (request.command === READ) {
        server.reply(request, access(0, offset, count, memory.subarray(offset, offset + count)));
      } else {
        memory.set(request.body.subarray(16), offset);
        server.reply(request, access(0, offset, count));
      }
      return true;
    };
    return { counts };
  }

  test("are cut to the server's max_data_xfer_size and put together again", async () => {
    const { device, server } = await RawServer.open({ version: limited(65536) });
    const memory = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7) & 0xff);
    const { counts } = serve(server, memory);
    const target = new Uint8Array(200_000);
    await device.read(0, 1000, target);
    expect(Buffer.compare(target, memory.subarray(1000, 201_000))).toBe(0);
    expect(counts).toEqual([65536, 65536, 65536, 200_000 - 3 * 65536]);

    counts.length = 0;
    const source = Uint8Array.from({ length: 140_000 }, (_, i) => (i * 13) & 0xff);
    await device.write(0, 5, source);
    expect(Buffer.compare(source, memory.subarray(5, 140_005))).toBe(0);
    expect(counts).toEqual([65536, 65536, 140_000 - 2 * 65536]);
    await device.close();
    server.close();
  });

  test('are cut to our own limit too, and small ones are one message', async () => {
    const { device, server } = await RawServer.open({ maxTransferBytes: 1000 });
    const { counts } = serve(server, new Uint8Array(10_000));
    await device.read(0, 0, new Uint8Array(2500));
    await device.write(0, 0, new Uint8Array(1000));
    await device.read(0, 0, new Uint8Array(0));
    expect(counts).toEqual([1000, 1000, 500, 1000]);
    await device.close();
    server.close();
  });

  test('that fail in the middle fail as a whole, when no part uses the buffer any more', async () => {
    const { device, server } = await RawServer.open({ version: limited(64) });
    let requests = 0;
    server.onMessage = (request) => {
      const place = read(request.body, 0, 8);
      if (++requests === 2) server.replyError(request, 5);
      else server.reply(request, access(0, place, 64, new Uint8Array(64).fill(requests)));
      return true;
    };
    const target = new Uint8Array(640);
    await expect(device.read(0, 0, target)).rejects.toMatchObject({ code: 'EIO' });
    const after = [...target];
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect([...target]).toEqual(after);
    await device.close();
    server.close();
  });

  test('of 40 MiB go through a server that answers', async () => {
    const { device, server } = await RawServer.open();
    const memory = new Uint8Array(40 << 20);
    serve(server, memory);
    const source = new Uint8Array(40 << 20).fill(0x5a);
    await device.write(0, 0, source);
    expect(Buffer.compare(memory, source)).toBe(0);
    await device.close();
    server.close();
  });
});

describe('posted writes', () => {
  test('have NO_REPLY, are cut, and stay in order with requests', async () => {
    const { device, server } = await RawServer.open({ version: limited(64) });
    device.post(0, 0, new Uint8Array(100).fill(1));
    device.postRegister(1, 4, 2, 0xabcd);
    const fence = device.readRegister(0, 0, 4);
    const messages = [await server.next(), await server.next(), await server.next(), await server.next()];
    expect(messages.map(({ command, flags }) => [command, flags])).toEqual([
      [WRITE, NO_REPLY],
      [WRITE, NO_REPLY],
      [WRITE, NO_REPLY],
      [READ, 0],
    ]);
    expect([...messages[1]!.body]).toEqual([...access(0, 64, 36, new Uint8Array(36).fill(1))]);
    expect([...messages[2]!.body]).toEqual([...access(1, 4, 2, Uint8Array.of(0xcd, 0xab))]);
    server.reply(messages[3]!, access(0, 0, 4, u32(0)));
    await fence;
    await device.close();
    server.close();
  });
});

describe('batched writes', () => {
  const writes = [
    { index: 0, offset: 0x10, widthBytes: 4, value: 0x11223344 },
    { index: 2, offset: 0x20, widthBytes: 8, value: 0x8877665544332211n },
    { index: 0, offset: 0x30, widthBytes: 1, value: 0xff },
  ] as const;

  test('are one REGION_WRITE_MULTI where the server has it', async () => {
    const { device, server } = await RawServer.open();
    const writing = device.writeMulti(writes);
    const request = await server.next(MULTI);
    expect([...request.body]).toEqual([
      ...concat(
        u64(3),
        concat(u64(0x10), u32(0), u32(4), u64(0x11223344)),
        concat(u64(0x20), u32(2), u32(8), u64(0x8877665544332211n)),
        concat(u64(0x30), u32(0), u32(1), u64(0xff)),
      ),
    ]);
    server.reply(request, u64(3));
    await writing;
    await device.close();
    server.close();
  });

  test('name the write that failed', async () => {
    const { device, server } = await RawServer.open();
    const writing = device.writeMulti(writes);
    server.reply(await server.next(MULTI), u64(1));
    await expect(writing).rejects.toMatchObject({ code: 'EIO', message: expect.stringContaining('write 2') });
    await device.close();
    server.close();
  });

  test('are at most 200 a message', async () => {
    const { device, server } = await RawServer.open();
    const many = Array.from(
      { length: 450 },
      (_, i) => ({ index: 0, offset: i, widthBytes: 1, value: i }) as const,
    );
    const writing = device.writeMulti(many);
    const counts: number[] = [];
    for (let i = 0; i < 3; i++) {
      const request = await server.next(MULTI);
      counts.push(read(request.body, 0, 8));
      server.reply(request, u64(counts[i]!));
    }
    await writing;
    expect(counts).toEqual([200, 200, 50]);
    await device.close();
    server.close();
  });

  test('are single writes, in order, where the server has not', async () => {
    const { device, server } = await RawServer.open({ version: limited(1 << 20, false) });
    const writing = device.writeMulti(writes);
    for (const { index, offset, widthBytes } of writes) {
      const request = await server.next(WRITE);
      expect([read(request.body, 0, 8), read(request.body, 8, 4), read(request.body, 12, 4)]).toEqual([
        offset,
        index,
        widthBytes,
      ]);
      server.reply(request, access(index, offset, widthBytes));
    }
    await writing;
    await device.close();
    server.close();
  });
});
