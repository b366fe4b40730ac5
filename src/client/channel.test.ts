/*
 * Requests and replies: batching, matching, errors, timeouts, limits and every way a connection ends.
 */
import { createServer, type Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { concat, u32, u64 } from '../../test/support/bytes.ts';
import { access, message, NO_REPLY, REPLY } from '../../test/support/raw-client.ts';
import { infoReply, RawServer, versionReply } from '../../test/support/raw-server.ts';
import { socketPath } from '../../test/support/served-device.ts';
import { VfioError } from '../core/index.ts';
import { PENDING_LIMIT } from './limits.ts';
import { openSocket } from './open-device.ts';

const READ = 9;
const WRITE = 10;
const RESET = 13;

describe('requests', () => {
  test('of one tick leave in one send, and so do those of its promise continuations', async () => {
    const { device, server } = await RawServer.open();
    const before = server.batches.length;
    const later = Promise.resolve().then(() => device.readRegister(0, 0x20, 4));
    const reads = [device.readRegister(0, 0x10, 4), device.readRegister(0, 0x14, 4), later];
    const messages = [await server.next(READ), await server.next(READ), await server.next(READ)];
    expect(server.batches.slice(before)).toEqual([3]);
    expect(messages.map(({ body }) => [...body])).toEqual([
      [...access(0, 0x10, 4)],
      [...access(0, 0x14, 4)],
      [...access(0, 0x20, 4)],
    ]);
    for (const [i, each] of messages.entries()) server.reply(each, access(0, 0, 4, u32(100 + i)));
    expect(await Promise.all(reads)).toEqual([100, 101, 102]);
    await device.close();
    server.close();
  });

  test('are matched with their replies by id, in any order', async () => {
    const { device, server } = await RawServer.open();
    const reads = [device.readRegister(0, 0, 4), device.readRegister(0, 4, 4), device.readRegister(0, 8, 4)];
    const messages = [await server.next(), await server.next(), await server.next()];
    expect(new Set(messages.map(({ id }) => id)).size).toBe(3);
    for (const i of [2, 0, 1]) server.reply(messages[i]!, access(0, 0, 4, u32(i)));
    expect(await Promise.all(reads)).toEqual([0, 1, 2]);
    await device.close();
    server.close();
  });

  test('use each id for another request only after its reply', async () => {
    const { device, server } = await RawServer.open();
    const stuck = device.readRegister(0, 0, 4);
    const first = await server.next();
    const seen = new Set<number>();
    for (let i = 0; i < 50; i++) {
      const read = device.readRegister(0, 0, 4);
      const request = await server.next();
      expect(request.id).not.toBe(first.id);
      seen.add(request.id);
      server.reply(request, access(0, 0, 4, u32(i)));
      expect(await read).toBe(i);
    }
    expect(seen.size).toBeGreaterThan(1);
    server.reply(first, access(0, 0, 4, u32(7)));
    expect(await stuck).toBe(7);
    await device.close();
    server.close();
  });

  test('are refused with EBUSY when the table is full, and work again afterwards', async () => {
    const { device, server } = await RawServer.open();
    const waiting = Array.from({ length: PENDING_LIMIT }, () => device.readRegister(0, 0, 4));
    await expect(device.readRegister(0, 0, 4)).rejects.toMatchObject({ code: 'EBUSY' });
    for (let i = 0; i < PENDING_LIMIT; i++) server.reply(await server.next(), access(0, 0, 4, u32(i)));
    expect(await waiting.at(-1)).toBe(PENDING_LIMIT - 1);
    const one = device.readRegister(0, 0, 4);
    server.reply(await server.next(), access(0, 0, 4, u32(1)));
    expect(await one).toBe(1);
    await Promise.all(waiting);
    await device.close();
    server.close();
  });
});

describe('error replies', () => {
  test.each([
    [22, 'EINVAL', 'compare offset and size with regionInfo'],
    [5, 'EIO', 'cannot be reached now'],
    [0, 'EIO', 'an error without a number'],
    [4242, 'EIO', 'E4242'],
    [14, 'EFAULT', 'region 3, offset 0x40, 4 bytes'],
  ])('errno %i rejects with %s and says more', async (errno, code, text) => {
    const { device, server } = await RawServer.open();
    const read = device.readRegister(3, 0x40, 4);
    server.replyError(await server.next(), errno);
    await expect(read).rejects.toMatchObject({ code, message: expect.stringContaining(text) });
    await expect(read).rejects.toBeInstanceOf(VfioError);
    await device.close();
    server.close();
  });
});

describe('timeouts', () => {
  test('reject with ETIMEDOUT; a late reply is dropped, and the connection goes on', async () => {
    const { device, server } = await RawServer.open({ requestTimeoutMs: 80 });
    const target = new Uint8Array(4);
    const read = device.read(0, 0, target);
    const request = await server.next();
    await expect(read).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    server.reply(request, access(0, 0, 4, u32(0xffffffff)));
    const next = device.readRegister(0, 4, 4);
    server.reply(await server.next(), access(0, 0, 4, u32(5)));
    expect(await next).toBe(5);
    expect([...target]).toEqual([0, 0, 0, 0]);
    await device.close();
    server.close();
  });

  test('are off with 0', async () => {
    const { device, server } = await RawServer.open({ requestTimeoutMs: 0 });
    const read = device.readRegister(0, 0, 4);
    const request = await server.next();
    await new Promise((resolve) => setTimeout(resolve, 50));
    server.reply(request, access(0, 0, 4, u32(9)));
    expect(await read).toBe(9);
    await device.close();
    server.close();
  });
});

describe('a server that breaks the protocol', () => {
  const broken: [string, (id: number) => Uint8Array][] = [
    [
      'a reply that belongs to no request',
      (id) => message(READ, id ^ 0x8000, access(0, 0, 4, u32(0)), REPLY),
    ],
    ['a reply with another command', (id) => message(RESET, id, new Uint8Array(0), REPLY)],
    ['a message of no type', (id) => message(READ, id, new Uint8Array(0), 2)],
    ['a frame that is shorter than a header', () => concat(u64(0), u64(0))],
    ['another protocol', () => new TextEncoder().encode('HTTP/1.1 400 Bad Request\r\n\r\n')],
  ];
  test.each(broken)('loses its connection: %s', async (_name, bytes) => {
    const { device, server } = await RawServer.open();
    const read = device.readRegister(0, 0, 4);
    server.send(bytes((await server.next()).id));
    await expect(read).rejects.toMatchObject({ code: 'EPROTO' });
    expect((await device.closed)?.code).toBe('EPROTO');
    expect(device.open).toBe(false);
    await expect.poll(() => server.ended).toBe(true);
    await device.close();
  });

  test('with a reply of a wrong length fails that request only', async () => {
    const { device, server } = await RawServer.open();
    const reads = [device.readRegister(0, 0, 4), device.readRegister(0, 4, 4)];
    server.reply(await server.next(), access(0, 0, 4, new Uint8Array(5)));
    server.reply(await server.next(), access(0, 4, 4, u32(8)));
    await expect(reads[0]).rejects.toMatchObject({ code: 'EPROTO' });
    expect(await reads[1]).toBe(8);
    await device.close();
    server.close();
  });

  test('with a reply that is larger than we take fails that request only', async () => {
    const { device, server } = await RawServer.open({ maxTransferBytes: 4096 });
    const reads = [device.readRegister(0, 0, 4), device.readRegister(0, 4, 4)];
    server.reply(await server.next(), new Uint8Array(1 << 20));
    server.reply(await server.next(), access(0, 4, 4, u32(8)));
    await expect(reads[0]).rejects.toMatchObject({ code: 'EPROTO' });
    expect(await reads[1]).toBe(8);
    await device.close();
    server.close();
  });
});

describe('the end', () => {
  test('of the server rejects what waits, later requests, and resolves `closed` with the error', async () => {
    const { device, server } = await RawServer.open();
    const read = device.readRegister(0, 0, 4);
    await server.next();
    server.close();
    await expect(read).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect((await device.closed)?.message).toContain('went away');
    await expect(device.readRegister(0, 0, 4)).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(() => device.post(0, 0, u32(0))).toThrow('went away');
    await device.close();
    await device.close();
  });

  test('by close rejects what waits with EBADF, resolves `closed` with null, and may be called twice', async () => {
    const { device, server } = await RawServer.open();
    const read = device.readRegister(0, 0, 4);
    await server.next();
    const twice = [device.close(), device.close()];
    await expect(read).rejects.toMatchObject({ code: 'EBADF' });
    await Promise.all(twice);
    expect(await device.closed).toBeNull();
    expect(device.open).toBe(false);
    await expect(device.regionInfo(0)).rejects.toMatchObject({ code: 'EBADF' });
    await expect.poll(() => server.ended).toBe(true);
  });

  test('sends posted writes first', async () => {
    const { device, server } = await RawServer.open();
    for (let i = 0; i < 100; i++) device.postRegister(0, 4 * i, 4, i);
    await device.close();
    for (let i = 0; i < 100; i++) {
      const post = await server.next(WRITE);
      expect([post.flags, [...post.body]]).toEqual([NO_REPLY, [...access(0, 4 * i, 4, u32(i))]]);
    }
  });
});

describe('a server that does not read', () => {
  test('makes posts fail with EAGAIN, and close gives up on it', async () => {
    const { path, remove } = socketPath();
    let peer: Socket | null = null;
    // Answers VERSION and GET_INFO, then never reads again.
    const deaf = createServer((socket) => {
      peer = socket;
      const answers = [versionReply(null), infoReply()];
      socket.on('error', () => undefined);
      socket.on('data', (data) => {
        const body = answers.shift();
        if (body !== undefined)
          socket.write(message(data.readUInt16LE(2), data.readUInt16LE(0), body, REPLY));
        if (answers.length === 0) socket.pause();
      });
    });
    await new Promise<void>((resolve) => deaf.listen(path, resolve));
    const device = await openSocket(path);
    const block = new Uint8Array(1 << 20);
    let posts = 0;
    let refusal: unknown = null;
    while (refusal === null && posts < 100) {
      try {
        device.post(0, 0, block);
        posts++;
        await new Promise((resolve) => setImmediate(resolve));
      } catch (error) {
        refusal = error;
      }
    }
    expect(refusal).toMatchObject({ code: 'EAGAIN' });
    expect(posts).toBeGreaterThan(4);
    expect(posts).toBeLessThan(20);
    await device.close();
    expect(await device.closed).toBeNull();
    peer!.destroy();
    deaf.close();
    remove();
  });
});

describe('opening', () => {
  test.each([
    ['/nonexistent/x.sock', 'ENOENT', '`vfio serve'],
    ['unix:/nonexistent/x.sock', 'ENOENT', 'there is no socket /nonexistent/x.sock'],
    ['tcp://host:1', 'EINVAL', 'unix:/path'],
    ['', 'EINVAL', 'empty address'],
  ])('%s fails with %s', async (address, code, text) => {
    await expect(openSocket(address)).rejects.toMatchObject({ code, message: expect.stringContaining(text) });
  });

  test('a path where nobody listens says how to start a server', async () => {
    const { path, remove } = socketPath();
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(`${path}.live`, resolve));
    const { linkSync } = await import('node:fs');
    linkSync(`${path}.live`, path);
    await new Promise((resolve) => server.close(resolve));
    await expect(openSocket(path)).rejects.toMatchObject({
      code: 'ECONNREFUSED',
      message: expect.stringContaining(`nothing listens on ${path}: start a server with \`vfio serve`),
    });
    remove();
  });

  test('waits for a server that is being started', async () => {
    const { path, remove } = socketPath();
    const opening = openSocket(path, { connectTimeoutMs: 5000 });
    await new Promise((resolve) => setTimeout(resolve, 60));
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => server.listen(path, resolve));
    await expect(opening).rejects.toMatchObject({ code: 'ECONNRESET' });
    server.close();
    remove();
  });

  test.each([
    ['requestTimeoutMs', -1],
    ['maxMessageFds', 254],
    ['maxTransferBytes', 12],
    ['busyPollUs', 0.5],
  ])('with option %s = %d is EINVAL', async (name, value) => {
    await expect(openSocket('/nonexistent', { [name]: value })).rejects.toMatchObject({
      code: 'EINVAL',
      message: expect.stringContaining(name),
    });
  });
});
