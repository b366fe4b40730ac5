/*
 * R10 from the client's side: whatever a server sends, the process goes on, every request ends, and nothing stays open.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concat, u16, u32, u64 } from '../../test/support/bytes.ts';
import { message, type Received } from '../../test/support/raw-client.ts';
import { RawServer } from '../../test/support/raw-server.ts';
import { VfioError } from '../core/index.ts';
import { FakeSys } from '../sys/fake.ts';
import type { SocketDevice } from './socket-device.ts';

/** What a client does, by number. */
const ACTIONS: readonly ((device: SocketDevice, n: number) => Promise<unknown>)[] = [
  (device, n) => device.readRegister(n % 4, n, 4),
  (device, n) => device.read(2, 0, new Uint8Array(n * 100)),
  (device, n) => device.write(2, n, new Uint8Array(n)),
  (device, n) => device.regionInfo(n % 10),
  (device, n) => device.mmap(n % 10),
  (device, n) => device.irqInfo(n % 5),
  (device, n) => device.onInterrupt(2, n % 4, () => undefined),
  (device, n) => device.dmaMap({ iova: n * 4096, sizeBytes: 4096, bytes: new Uint8Array(4096) }),
  (device) => device.dmaMemory(4096),
  (device) => device.dmaUnmap(0, 0, { all: true }),
  (device) => device.reset(),
  (device) => device.writeMulti([{ index: 0, offset: 0, widthBytes: 4, value: 1 }]),
];

const body = fc.oneof(
  fc.uint8Array({ maxLength: 80 }),
  // Looks like region info, with a capability somewhere.
  fc
    .record({
      flags: fc.nat(15),
      index: fc.nat(9),
      cap: fc.nat(64),
      size: fc.nat(),
      rest: fc.uint8Array({ maxLength: 64 }),
    })
    .map(({ flags, index, cap, size, rest }) =>
      concat(u32(32 + rest.length), u32(flags), u32(index), u32(cap), u64(size), u64(0), rest),
    ),
  // Looks like a DMA message.
  fc
    .record({ iova: fc.nat(0x20000), count: fc.nat(9000), rest: fc.uint8Array({ maxLength: 40 }) })
    .map(({ iova, count, rest }) => concat(u64(iova), u64(count), rest)),
);

/** One thing that the server does. */
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('act' as const), action: fc.nat(11), n: fc.nat(40) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('answer' as const),
      body,
      error: fc.nat(4).map((n) => n === 0),
      echo: fc.boolean(),
      errno: fc.nat(200),
      fds: fc.nat(3),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('send' as const),
      id: fc.nat(0xffff),
      command: fc.nat(20),
      flags: fc.constantFrom(0, 0, 0, 1, 0x10, 0x21, 7),
      body,
      fds: fc.nat(2),
    }),
  },
);

/** The body with the request's own bytes 8 to 15 in it: then region info is for the region that was asked for. */
function echo(reply: Uint8Array, request: Received): Uint8Array {
  const bytes = reply.slice();
  if (bytes.length >= 16 && request.body.length >= 12) bytes.set(request.body.subarray(8, 12), 8);
  return bytes;
}

async function settle(): Promise<void> {
  for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve));
}

describe('a hostile server', () => {
  test('breaks at most its own connection', async () => {
    let successes = 0;
    let failures = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const sys = new FakeSys();
        const { device, server } = await RawServer.open({ sys });
        const requests: Received[] = [];
        server.onMessage = (request) => {
          for (const fd of request.fds) sys.close(fd);
          requests.push(request);
          return true;
        };
        const ended: Promise<unknown>[] = [];
        for (const each of steps) {
          if (each.kind === 'act') {
            ended.push(ACTIONS[each.action]!(device, each.n).catch((error: unknown) => error));
          } else {
            const fds = Array.from({ length: each.fds }, () => sys.memfdCreate('gift'));
            for (const fd of fds) sys.ftruncate(fd, 0x10000);
            const to = each.kind === 'answer' ? requests.shift() : undefined;
            if (each.kind === 'send') server.send(message(each.command, each.id, each.body, each.flags), fds);
            else if (to !== undefined && each.error) server.replyError(to, each.errno);
            else if (to !== undefined) server.reply(to, each.echo ? echo(each.body, to) : each.body, fds);
            for (const fd of fds) sys.close(fd);
          }
          await settle();
        }
        await device.close();
        server.close();
        for (const result of await Promise.all(ended)) {
          if (result instanceof Error) expect(result).toBeInstanceOf(VfioError);
          if (result instanceof Error) failures++;
          else successes++;
        }
        await settle();
        expect(sys.openFds).toBe(0);
        expect(sys.counts()).toMatchObject({ mappings: 0, connections: 0, watchers: 0 });
      }),
      { numRuns: 150 },
    );
    // Otherwise the servers were so hostile that nothing was tested.
    expect(successes).toBeGreaterThan(10);
    expect(failures).toBeGreaterThan(10);
  });

  test('canary: the check of open fds sees one that is left', () => {
    const sys = new FakeSys();
    sys.memfdCreate('left');
    expect(sys.openFds).not.toBe(0);
  });

  test('that sends half a message and stops is found out by the timeout', async () => {
    const { device, server } = await RawServer.open({ requestTimeoutMs: 60 });
    const read = device.readRegister(0, 0, 4);
    const { id } = await server.next();
    server.send(concat(u16(id), u16(9), u32(36)));
    await expect(read).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    await device.close();
    server.close();
  });
});
