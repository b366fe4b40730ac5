/*
 * REGION_READ, REGION_WRITE and REGION_WRITE_MULTI as conversations.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { concat, hex, read, u16, u32, u64 } from '../../test/support/bytes.ts';
import { access, message, NO_REPLY, type RawClient } from '../../test/support/raw-client.ts';
import { type Served, serve } from '../../test/support/served-device.ts';
import { BAR2_BYTES, REGISTER, type TestDevice } from '../../test/support/test-device.ts';
import { ERRNO } from '../abi/index.ts';

const READ = 9;
const WRITE = 10;
const MULTI = 15;

let served: Served<TestDevice>;
let device: TestDevice;
let client: RawClient;

beforeEach(async () => {
  served = await serve();
  device = served.device;
  client = await served.open();
});
afterEach(() => served.close());

/** Waits until the server has handled everything before. */
const fence = async (): Promise<void> => void (await client.request(READ, access(7, 0, 4)));

describe('REGION_WRITE and REGION_READ', () => {
  test('a write is answered with the 16 bytes of the request, a read with them and the data', async () => {
    const written = await client.request(WRITE, access(0, 0x20, 2, u16(0xbeef)));
    expect(hex(written.body)).toBe(hex(access(0, 0x20, 2)));
    const reply = await client.request(READ, access(0, 0x20, 4));
    expect(hex(reply.body)).toBe(hex(access(0, 0x20, 4, u32(0xbeef))));
    expect(reply.flags).toBe(1);
  });

  test.each([1, 2, 3, 4, 5, 8, 63, 64, 65, 4096])('%i bytes go there and back', async (count) => {
    const data = Uint8Array.from({ length: count }, (_, i) => (i * 7 + 1) & 0xff);
    await client.request(WRITE, access(0, 0, count, data));
    const reply = await client.request(READ, access(0, 0, count));
    expect(reply.body.subarray(16)).toEqual(data);
  });

  test('1 MiB goes to mappable memory and back, and it is the memory that an fd maps', async () => {
    const data = Uint8Array.from({ length: BAR2_BYTES }, (_, i) => (i * 31) & 0xff);
    await client.request(WRITE, access(2, 0, BAR2_BYTES, data));
    const reply = await client.request(READ, access(2, 0, BAR2_BYTES));
    expect(Buffer.compare(reply.body.subarray(16), data)).toBe(0);
    const info = await client.request(5, concat(u32(32), u32(0), u32(2), u32(0), u64(0), u64(0)));
    const seen = new Uint8Array(4096);
    client.sys.pread(info.fds[0]!, seen, 0, 4096, read(info.body, 24, 8));
    expect(seen).toEqual(data.subarray(0, 4096));
    client.sys.close(info.fds[0]!);
  });

  test('count 0 is a success without data', async () => {
    expect((await client.request(READ, access(0, 0x1000, 0))).body).toHaveLength(16);
    expect((await client.request(WRITE, access(0, 0, 0))).body).toHaveLength(16);
    expect(device.writes).toEqual([]);
  });

  test('what a handler leaves out reads as ones, not as the access before', async () => {
    await client.request(WRITE, access(0, 0, 16, new Uint8Array(16).fill(0x55)));
    device.region(0).handler = { read: () => 0, write: () => 0 };
    for (const count of [4, 16]) {
      const reply = await client.request(READ, access(0, 0, count));
      expect(reply.body.subarray(16)).toEqual(new Uint8Array(count).fill(0xff));
    }
  });

  test.each([
    ['beyond the end', access(0, 0xffd, 4)],
    ['an offset that wraps', access(0, 2n ** 64n - 2n, 4)],
    ['an offset of 2^63', access(0, 2n ** 63n, 4)],
    ['a region that is not there', access(5, 0, 4)],
    ['an index that is no region', access(0xffffffff, 0, 4)],
    ['a count that is too large', access(2, 0, BAR2_BYTES + 1)],
    ['a write-only region', access(4, 0, 4)],
    ['data in a read', access(0, 0, 4, u32(0))],
    ['too short', access(0, 0, 4).subarray(0, 15)],
  ])('read refused with EINVAL: %s', async (_name, body) => {
    expect(await client.errno(READ, body)).toBe(ERRNO.EINVAL);
    await fence();
  });

  test.each([
    ['beyond the end', access(0, 0xffd, 4, u32(0))],
    ['an offset that wraps', access(0, 2n ** 64n - 2n, 4, u32(0))],
    ['a region that is not there', access(5, 0, 4, u32(0))],
    ['a read-only region', access(1, 0, 4, u32(0))],
    ['less data than count', access(0, 0, 4, u16(0))],
    ['more data than count', access(0, 0, 4, u64(0))],
    ['too short', access(0, 0, 4).subarray(0, 15)],
  ])('write refused with EINVAL: %s', async (_name, body) => {
    expect(await client.errno(WRITE, body)).toBe(ERRNO.EINVAL);
    expect(device.writes).toEqual([]);
    await fence();
  });

  test('a message larger than any: EINVAL, and the stream stays in step', async () => {
    const body = access(2, 0, BAR2_BYTES + 4, new Uint8Array(BAR2_BYTES + 4));
    expect(await client.errno(WRITE, body)).toBe(ERRNO.EINVAL);
    await fence();
  });

  test('posted writes are done in order, without a reply, errors included', async () => {
    client.post(WRITE, access(0, 0, 4, u32(1)));
    client.post(WRITE, access(0, 0x1000, 4, u32(2)));
    client.post(WRITE, access(0, 4, 4, u32(3)));
    await fence();
    expect(device.writes.map(({ value }) => value)).toEqual([1, 3]);
    expect(client.strays).toEqual([]);
    expect(served.told).toContain(`dropped: 0 4096 ${ERRNO.EINVAL}`);
  });

  test('many messages in one send are all served', async () => {
    const messages = Array.from({ length: 1000 }, (_, i) =>
      message(WRITE, i, access(0, 4 * (i % 64), 4, u32(i)), NO_REPLY),
    );
    client.send(concat(...messages));
    await fence();
    expect(device.writes.map(({ value }) => value)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
  });
});

describe('a client that asks for more than it reads', () => {
  test('gets all of it, in order, when it reads', async () => {
    const count = 64;
    const replies = Array.from({ length: count }, (_, i) => client.reply(i, READ));
    const { sys } = client;
    await client.request(WRITE, access(2, 0, 4, u32(0x5a5a)));
    // One batch that asks for 64 MiB, four times what is kept for a client.
    client.send(
      concat(...Array.from({ length: count }, (_, i) => message(READ, i, access(2, 0, BAR2_BYTES)))),
    );
    for (const reply of await Promise.all(replies)) {
      expect(reply.body.length).toBe(16 + BAR2_BYTES);
      expect(read(reply.body, 16, 4)).toBe(0x5a5a);
    }
    expect(sys.counts().connections).toBe(2);
    await fence();
  });
});

describe('memory that cannot be reached (R4)', () => {
  test('reads and writes of a BAR are EIO, config space goes on', async () => {
    device.suspend('memory decode is off');
    expect(await client.errno(READ, access(0, 0, 4))).toBe(ERRNO.EIO);
    expect(await client.errno(WRITE, access(2, 0, 4, u32(1)))).toBe(ERRNO.EIO);
    await fence();
    device.resume('memory decode is off');
    expect(await client.errno(READ, access(0, 0, 4))).toBe(0);
  });

  test('posted writes are dropped, and told', async () => {
    device.suspend('memory decode is off');
    client.post(WRITE, access(0, 8, 4, u32(1)));
    await fence();
    expect(device.writes).toEqual([]);
    expect(served.told).toContain(`dropped: 0 8 ${ERRNO.EIO}`);
    expect(served.server.session!.report.droppedWrites).toBe(1);
  });
});

describe('a handler that misbehaves', () => {
  test('throws: EIO, an event, and the session goes on', async () => {
    expect(await client.errno(READ, access(0, REGISTER.THROWS, 4))).toBe(ERRNO.EIO);
    expect(await client.errno(WRITE, access(0, REGISTER.THROWS, 4, u32(0)))).toBe(ERRNO.EIO);
    expect(served.told).toContain('handler-error: REGION_READ');
    expect(served.told).toContain('handler-error: REGION_WRITE');
    await fence();
  });

  test('throws in the middle of a batch: the messages after it are served', async () => {
    client.send(
      concat(
        message(WRITE, 1, access(0, 0, 4, u32(1)), NO_REPLY),
        message(WRITE, 2, access(0, REGISTER.THROWS, 4, u32(2)), NO_REPLY),
        message(WRITE, 3, access(0, 4, 4, u32(3)), NO_REPLY),
      ),
    );
    await fence();
    expect(device.writes.map(({ value }) => value)).toEqual([1, 3]);
  });

  test('answers an errno: the client gets it; nonsense: EIO', async () => {
    expect(await client.errno(READ, access(0, REGISTER.ENODEV, 4))).toBe(ERRNO.ENODEV);
    expect(await client.errno(READ, access(0, REGISTER.NONSENSE, 4))).toBe(ERRNO.EIO);
    expect(await client.errno(WRITE, access(0, REGISTER.NONSENSE, 4, u32(0)))).toBe(ERRNO.EIO);
    await fence();
  });

  test('a promise that is rejected: EIO, and the session goes on', async () => {
    device.gate = new Promise((_, reject) => setTimeout(() => reject(new Error('late')), 10));
    expect(await client.errno(READ, access(0, REGISTER.SLOW, 4))).toBe(ERRNO.EIO);
    device.gate = Promise.resolve();
    expect(await client.errno(READ, access(0, REGISTER.SLOW, 4))).toBe(0);
  });
});

describe('handlers that take time', () => {
  test('later commands wait, in order, and are answered', async () => {
    let open!: () => void;
    device.gate = new Promise((resolve) => {
      open = resolve;
    });
    const order: number[] = [];
    const slow = client.request(READ, access(0, REGISTER.SLOW, 4)).then(() => order.push(1));
    client.post(WRITE, access(0, 0x40, 4, u32(7)));
    const after = client.request(READ, access(0, 0x40, 4)).then((reply) => {
      order.push(2);
      return read(reply.body, 16, 4);
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(order).toEqual([]);
    expect(device.writes).toEqual([]);
    open();
    expect(await after).toBe(7);
    await slow;
    expect(order).toEqual([1, 2]);
  });

  test('what is refused meanwhile does not take its reply away', async () => {
    device.gate = new Promise((resolve) => setTimeout(resolve, 20));
    const slow = client.ask(READ, access(0, REGISTER.SLOW, 4));
    const refused = client.reply(0x7777, READ);
    client.send(message(READ, 0x7777, access(0, 0, 4), 2));
    expect((await refused).errno).toBe(ERRNO.EINVAL);
    expect((await slow).errno).toBe(0);
  });

  test('a write that is looked at later still has its data', async () => {
    client.post(WRITE, access(0, REGISTER.LATE, 4, u32(41)));
    for (let i = 0; i < 50; i++) client.post(WRITE, access(0, 0x40, 4, u32(0x777)));
    const reply = await client.request(READ, access(0, REGISTER.LATE, 4));
    expect(read(reply.body, 16, 4)).toBe(42);
  });

  test('a client that overruns the queue loses its session, and only that', async () => {
    let open!: () => void;
    device.gate = new Promise((resolve) => {
      open = resolve;
    });
    client.post(WRITE, access(0, REGISTER.SLOW, 4, u32(0)));
    const flood = concat(
      ...Array.from({ length: 10_000 }, (_, i) => message(WRITE, i, access(0, 0, 4, u32(i)), NO_REPLY)),
    );
    for (let i = 0; i < 7; i++) client.send(flood);
    await client.closed;
    expect(served.told.at(-1)).toMatch(/close: too many commands behind REGION_WRITE/);
    expect(device.writes).toEqual([]);
    open();
  });

  test('the session ends while a handler is at work: the next client waits for it', async () => {
    let open!: () => void;
    device.gate = new Promise((resolve) => {
      open = resolve;
    });
    client.post(WRITE, access(0, REGISTER.SLOW, 4, u32(9)));
    await new Promise((resolve) => setTimeout(resolve, 20));
    client.close();
    const next = served.open();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(device.calls).toEqual(['opened', 'closed']);
    open();
    await next;
    expect(device.calls).toEqual(['opened', 'closed', 'opened']);
    expect(device.writes.map(({ value }) => value)).toEqual([9]);
  });
});

describe('REGION_WRITE_MULTI', () => {
  const entry = (region: number, offset: number, count: number, value: number): Uint8Array =>
    concat(u64(offset), u32(region), u32(count), u64(value));
  const multi = (...entries: Uint8Array[]): Uint8Array => concat(u64(entries.length), ...entries);

  test('all writes are done and counted', async () => {
    const reply = await client.request(
      MULTI,
      multi(entry(0, 0, 4, 1), entry(0, 8, 8, 2), entry(0, 16, 1, 3)),
    );
    expect(hex(reply.body)).toBe(hex(u64(3)));
    expect(device.writes.map(({ offset, count, value }) => [offset, count, value])).toEqual([
      [0, 4, 1],
      [8, 8, 2],
      [16, 1, 3],
    ]);
  });

  test('ends at the first that fails; an error when that is the first of all', async () => {
    const reply = await client.request(
      MULTI,
      multi(entry(0, 0, 4, 1), entry(0, 0x1000, 4, 2), entry(0, 4, 4, 3)),
    );
    expect(read(reply.body, 0, 8)).toBe(1);
    expect(await client.errno(MULTI, multi(entry(0, 0x1000, 4, 2)))).toBe(ERRNO.EINVAL);
    expect(device.writes.map(({ value }) => value)).toEqual([1]);
  });

  test('posted: each write stands for itself', async () => {
    client.post(MULTI, multi(entry(0, 0, 4, 1), entry(0, 0x1000, 4, 2), entry(0, 4, 4, 3)));
    await fence();
    expect(device.writes.map(({ value }) => value)).toEqual([1, 3]);
    expect(served.told).toContain(`dropped: 0 4096 ${ERRNO.EINVAL}`);
  });

  test('goes on after a write that takes time, with its own data', async () => {
    device.gate = new Promise((resolve) => setTimeout(resolve, 20));
    const reply = client.request(
      MULTI,
      multi(entry(0, 0, 4, 1), entry(0, REGISTER.SLOW, 4, 2), entry(0, 4, 4, 3)),
    );
    client.post(WRITE, access(0, 8, 4, u32(4)));
    expect(read((await reply).body, 0, 8)).toBe(3);
    await fence();
    expect(device.writes.map(({ value }) => value)).toEqual([1, 2, 3, 4]);
  });

  test('no writes at all is a success', async () => {
    expect(read((await client.request(MULTI, multi())).body, 0, 8)).toBe(0);
  });

  test.each([
    ['a count that the size does not fit', concat(u64(2), entry(0, 0, 4, 1))],
    ['a huge count', concat(u64(2n ** 63n), entry(0, 0, 4, 1))],
    ['a write of more than 8 bytes', multi(entry(0, 0, 9, 1))],
    ['too short', u32(0)],
  ])('refused with EINVAL: %s', async (_name, body) => {
    expect(await client.errno(MULTI, body)).toBe(ERRNO.EINVAL);
    expect(device.writes).toEqual([]);
  });

  test('refused when it was not negotiated', async () => {
    client.close();
    const plain = await served.open('{"capabilities":{}}');
    expect(await plain.errno(MULTI, multi(entry(0, 0, 4, 1)))).toBe(ERRNO.EINVAL);
  });
});
