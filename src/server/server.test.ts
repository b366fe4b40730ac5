/*
 * Sessions as a whole: attach, detach, refuse, come back; sockets of every kind; several devices at once.
 */
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { concat, read, text, u16, u32 } from '../../test/support/bytes.ts';
import { access, message, NO_REPLY, RawClient, version } from '../../test/support/raw-client.ts';
import { type Served, serve, serveDevice, socketPath } from '../../test/support/served-device.ts';
import { REGISTER, TestDevice } from '../../test/support/test-device.ts';
import { ERRNO } from '../abi/index.ts';
import { openSys } from '../sys/index.ts';
import { VfioUserServer } from './server.ts';

const READ = 9;
const WRITE = 10;
const RESET = 13;

let served: Served<TestDevice>;
afterEach(() => served.close());

const settle = (ms = 30): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('a session', () => {
  test('begins with VERSION and ends with the connection; the device keeps its state', async () => {
    served = await serve();
    const first = await served.open();
    await first.request(WRITE, access(0, 0x10, 4, u32(0x12345678)));
    expect(served.server.session!.peerPid).toBe(process.pid);
    first.close();
    await settle();
    expect(served.server.session).toBeNull();
    const second = await served.open();
    const reply = await second.request(READ, access(0, 0x10, 4));
    expect(read(reply.body, 16, 4)).toBe(0x12345678);
    expect(served.device.calls).toEqual(['opened', 'closed', 'opened']);
    expect(served.told).toEqual(['session', 'close: the peer closed the connection', 'session']);
  });

  test('a client may come back at once', async () => {
    served = await serve();
    for (let i = 0; i < 20; i++) {
      const client = await RawClient.open(served.path);
      client.close();
    }
    expect(served.told.filter((event) => event === 'session')).toHaveLength(20);
  });

  test.each([
    ['another command first', message(READ, 7, access(0, 0, 4)), ERRNO.EINVAL],
    ['another major', message(1, 7, version('{}', 1)), ERRNO.EINVAL],
    ['broken JSON', message(1, 7, version('{')), ERRNO.EINVAL],
  ])('refused before VERSION: %s: an error, and the end', async (_name, bytes, errno) => {
    served = await serve();
    const client = RawClient.connect(served.path);
    const reply = client.reply(7, read(bytes, 2, 2));
    client.send(bytes);
    expect((await reply).errno).toBe(errno);
    await client.closed;
    expect(served.device.calls).toEqual([]);
    await served.open();
  });

  test.each([
    ['a VERSION larger than any message', message(1, 7, new Uint8Array((1 << 20) + 64))],
    ['another protocol', text('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
    ['a size of 4 GiB', concat(u16(1), u16(1), u32(0xffffffff), u32(0), u32(0))],
  ])('ends with %s', async (_name, bytes) => {
    served = await serve();
    const client = RawClient.connect(served.path);
    client.send(bytes);
    await client.closed;
    await served.open();
  });

  test('a reply before VERSION is dropped', async () => {
    served = await serve();
    const client = RawClient.connect(served.path);
    client.send(message(11, 1, new Uint8Array(0), 1));
    await client.request(1, version(null));
    client.close();
  });

  test('a second VERSION is refused and changes nothing', async () => {
    served = await serve();
    const client = await served.open();
    expect(await client.errno(1, version('{}'))).toBe(ERRNO.EINVAL);
    expect(await client.errno(READ, access(0, 0, 4))).toBe(0);
    expect(served.device.calls).toEqual(['opened']);
  });

  test('a client that says nothing is closed after a while', async () => {
    served = await serve({ negotiationTimeoutMs: 30 });
    const client = RawClient.connect(served.path);
    await client.closed;
    expect(served.told).toEqual(['close: no VERSION for 30 ms']);
  });

  test('a device that cannot be opened: EIO, and the end', async () => {
    served = await serve();
    served.device.opened = () => {
      throw new Error('not today');
    };
    const before = readdirSync('/proc/self/fd').length;
    const client = RawClient.connect(served.path);
    const offer = '{"capabilities":{"twin_socket":{"supported":true}}}';
    expect(await client.errno(1, version(offer))).toBe(ERRNO.EIO);
    await client.closed;
    expect(served.told[0]).toBe('handler-error: VERSION');
    expect(readdirSync('/proc/self/fd').length).toBe(before);
  });

  test('a device that throws when it is closed harms nobody', async () => {
    served = await serve();
    served.device.closed = () => {
      throw new Error('never');
    };
    (await served.open()).close();
    await settle();
    expect(served.told).toContain('handler-error: the end of the session');
    await served.open();
  });

  test('a message of less than 16 bytes ends the session', async () => {
    served = await serve();
    const client = await served.open();
    client.send(concat(u16(1), u16(READ), u32(15), u32(0), u32(0)));
    await client.closed;
    await served.open();
  });

  test('messages in pieces of any size', async () => {
    served = await serve();
    const client = RawClient.connect(served.path);
    const bytes = concat(message(1, 1, version('{}')), message(WRITE, 2, access(0, 0, 4, u32(7))));
    const written = client.reply(2, WRITE);
    for (const byte of bytes) {
      client.send(Uint8Array.of(byte));
      if (byte % 8 === 0) await settle(0);
    }
    await written;
    expect(served.device.writes).toHaveLength(1);
    client.close();
  });

  test('commands without reply get none, whatever they are', async () => {
    served = await serve();
    const client = await served.open();
    for (const command of [2, 3, 4, 5, 6, 7, 8, RESET, 16, 17, 99]) client.post(command, new Uint8Array(0));
    client.post(4, concat(u32(16), u32(0), u32(0), u32(0)));
    client.post(READ, access(0, 0, 4));
    client.post(5, concat(u32(32), u32(0), u32(2), new Uint8Array(20)));
    await client.request(READ, access(0, 0, 4));
    expect(client.strays).toEqual([]);
  });

  test('the ids of the replies are those of the requests', async () => {
    served = await serve();
    const client = await served.open();
    const ids = [0, 0xffff, 5, 5];
    const replies = ids.map((id) => client.reply(id, READ));
    client.send(concat(...ids.map((id) => message(READ, id, access(0, 0, 4)))));
    await Promise.all(replies);
  });

  test('fds where they mean nothing are closed', async () => {
    served = await serve();
    const client = await served.open();
    const fd = client.sys.eventfd();
    const before = readdirSync('/proc/self/fd').length;
    for (let i = 0; i < 10; i++) await client.request(READ, access(0, 0, 4), [fd, fd]);
    await client.ask(99, new Uint8Array(0), [fd]);
    expect(readdirSync('/proc/self/fd').length).toBe(before);
    client.sys.close(fd);
  });

  test('more fds than agreed on: EINVAL', async () => {
    served = await serve({ maxMessageFds: 2 });
    const client = await served.open();
    const fd = client.sys.eventfd();
    const body = concat(u32(20), u32(0x24), u32(2), u32(0), u32(2));
    expect(await client.errno(8, body, [fd, fd, fd])).toBe(ERRNO.EINVAL);
    expect(await client.errno(8, body, [fd, fd])).toBe(0);
    client.sys.close(fd);
  });

  test('the errors of a client are logged until it is enough', async () => {
    served = await serve();
    const client = await served.open();
    for (let i = 0; i < 100; i++) await client.errno(99, new Uint8Array(0));
    expect(served.log.filter((line) => line.includes('refused')).length).toBe(32);
    expect(served.server.session!.report.protocolErrors).toBe(100);
  });
});

describe('DEVICE_RESET', () => {
  test('resets, with or without a payload', async () => {
    served = await serve();
    const client = await served.open();
    await client.request(WRITE, access(0, 0, 4, u32(1)));
    expect((await client.request(RESET, new Uint8Array(0))).body).toHaveLength(0);
    await client.request(RESET, u32(0));
    expect(read((await client.request(READ, access(0, 0, 4))).body, 16, 4)).toBe(0);
    expect(served.device.calls).toEqual(['opened', 'reset', 'reset']);
  });

  test('one that takes time is answered when it is done', async () => {
    served = await serve();
    const client = await served.open();
    served.device.gate = settle(30);
    const order: string[] = [];
    const reset = client.request(RESET, new Uint8Array(0)).then(() => order.push('reset'));
    const after = client.request(READ, access(0, 0, 4)).then(() => order.push('read'));
    await Promise.all([reset, after]);
    expect(order).toEqual(['reset', 'read']);
  });

  test('EINVAL for a device that cannot be reset', async () => {
    served = await serve();
    Object.defineProperty(served.device, 'resettable', { value: false });
    const client = await served.open();
    expect(await client.errno(RESET, new Uint8Array(0))).toBe(ERRNO.EINVAL);
  });
});

describe('one client at a time', () => {
  test('a second one gets EBUSY with its id, and the first goes on', async () => {
    served = await serve();
    const first = await served.open();
    const second = RawClient.connect(served.path);
    const reply = second.reply(0x4321, 1);
    second.send(message(1, 0x4321, version('{}')));
    expect((await reply).errno).toBe(ERRNO.EBUSY);
    await second.closed;
    expect(served.told).toEqual(['session', 'refused: test has a client already']);
    expect(await first.errno(READ, access(0, 0, 4))).toBe(0);
  });

  test('those that say nothing are closed too, and there is a limit', async () => {
    served = await serve();
    const first = await served.open();
    const others = Array.from({ length: 12 }, () => RawClient.connect(served.path));
    await Promise.all(others.map((other) => other.closed));
    expect(served.told.filter((event) => event.startsWith('refused'))).toHaveLength(12);
    expect(served.told).toContain('refused: too many clients at once');
    expect(await first.errno(READ, access(0, 0, 4))).toBe(0);
  });
});

describe('sockets', () => {
  test('a descriptor that is no socket is refused, and stays open', async () => {
    const sys = openSys();
    const fd = sys.memfdCreate('no-socket');
    const server = new VfioUserServer(new TestDevice('mistaken'), { fd });
    await expect(server.listen()).rejects.toMatchObject({ code: 'EINVAL' });
    sys.close(fd);
  });

  test('a file that a dead server left is replaced; a live one is EADDRINUSE and stays', async () => {
    served = await serve();
    const other = new VfioUserServer(new TestDevice('other'), { socketPath: served.path });
    await expect(other.listen()).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await served.open();

    const { path, remove } = socketPath();
    const sys = openSys();
    sys.close(sys.listen(path, 1)); // the file stays
    const third = new VfioUserServer(new TestDevice('third'), { socketPath: path });
    await third.listen();
    await third.close();
    expect(existsSync(path)).toBe(false);
    remove();
  });

  test('a path that is an ordinary file is not touched', async () => {
    served = await serve();
    const { path, remove } = socketPath();
    writeFileSync(path, 'precious');
    const server = new VfioUserServer(new TestDevice('x'), { socketPath: path });
    await expect(server.listen()).rejects.toThrow();
    expect(existsSync(path)).toBe(true);
    remove();
  });

  test('a connected socket by fd', async () => {
    const sys = openSys();
    const [ours, theirs] = sys.socketpair();
    served = await serve();
    const server = new VfioUserServer(new TestDevice('by-fd'), { fd: ours });
    await server.listen();
    const client = new RawClient(theirs);
    await client.request(1, version('{}'));
    await client.request(READ, access(0, 0, 4));
    client.close();
    await settle();
    expect(server.session).toBeNull();
    await server.close();
  });

  test('a listening socket by fd', async () => {
    const { path, remove } = socketPath();
    served = await serve();
    const server = new VfioUserServer(new TestDevice('by-fd'), { fd: openSys().listen(path, 4) });
    await server.listen();
    for (let i = 0; i < 2; i++) (await RawClient.open(path)).close();
    await server.close();
    remove();
  });

  test('close ends the session and frees the device for another server', async () => {
    served = await serve();
    const client = await served.open();
    await expect(new VfioUserServer(served.device, { socketPath: '/x' }).listen()).rejects.toThrow(/already/);
    await served.server.close();
    await client.closed;
    const again = await serveDevice(served.device);
    await (await again.open()).request(READ, access(0, 0, 4));
    await again.close();
  });
});

describe('several devices in one process', () => {
  test('one that is slow or throws does not hold up another', async () => {
    served = await serve();
    const other = await serveDevice(new TestDevice('other'));
    const [slow, quick] = [await served.open(), await other.open()];
    let open!: () => void;
    served.device.gate = new Promise((resolve) => {
      open = resolve;
    });
    const waiting = slow.request(READ, access(0, REGISTER.SLOW, 4));
    slow.post(WRITE, access(0, REGISTER.THROWS, 4, u32(0)));
    for (let i = 0; i < 10; i++) await quick.request(READ, access(0, 0, 4));
    slow.send(text('GET / HTTP/1.1\r\n\r\n'));
    await slow.closed;
    await expect(waiting).rejects.toThrow();
    await quick.request(READ, access(0, 0, 4));
    open();
    await other.close();
  });

  test('a batch that ends in garbage is served up to there', async () => {
    served = await serve();
    const client = await served.open();
    const good = message(WRITE, 1, access(0, 0, 4, u32(5)), NO_REPLY);
    client.send(concat(good, u16(0), u16(0), u32(3), u32(0), u32(0)));
    await client.closed;
    expect(served.device.writes.map(({ value }) => value)).toEqual([5]);
  });
});
