/*
 * Interrupts behind a socket: SET_IRQS as bytes, eventfds that really fire, and cutting to the server's max_msg_fds.
 */
import { readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { concat, u32 } from '../../test/support/bytes.ts';
import { type Received, setIrqs } from '../../test/support/raw-client.ts';
import { RawServer } from '../../test/support/raw-server.ts';
import { openSys } from '../sys/index.ts';
import type { SocketDevice } from './socket-device.ts';

const IRQ_INFO = 7;
const SET = 8;
const MSIX = 2;
const EVENTFD_TRIGGER = 0x24;
const DISABLE = 0x21;
const sys = openSys();

let device: SocketDevice;
let server: RawServer;
let fdsBefore: number;
/** Every SET_IRQS, answered with success. */
let sets: { body: number[]; fds: readonly number[] }[];

function openFds(): number {
  return readdirSync('/proc/self/fd').length;
}

/** `flags` of GET_IRQ_INFO by index; 16 vectors each. */
async function open(flags: Readonly<Record<number, number>> = { [MSIX]: 1 }): Promise<void> {
  ({ device, server } = await RawServer.open());
  server.onMessage = (request: Received) => {
    if (request.command === IRQ_INFO) {
      const index = request.body[8]!;
      server.reply(request, concat(u32(16), u32(flags[index] ?? 0), u32(index), u32(16)));
      return true;
    }
    if (request.command !== SET) return false;
    sets.push({ body: [...request.body], fds: request.fds });
    server.reply(request);
    return true;
  };
}

beforeEach(() => {
  fdsBefore = openFds();
  sets = [];
});

afterEach(async () => {
  for (const { fds } of sets) for (const fd of fds) sys.close(fd);
  await device.close();
  server.close();
  await expect.poll(openFds).toBe(fdsBefore);
});

/** What a listener was told, and a way to wait for it. */
function recorder(): { calls: number[]; listener: (count: number) => void } {
  const calls: number[] = [];
  return { calls, listener: (count) => calls.push(count) };
}

describe('onInterrupt', () => {
  test('wires one vector, calls with the count, and unwires', async () => {
    await open();
    const { calls, listener } = recorder();
    const off = await device.onInterrupt(MSIX, 5, listener);
    expect(sets.map(({ body }) => body)).toEqual([[...setIrqs(EVENTFD_TRIGGER, MSIX, 5, 1)]]);
    const fd = sets[0]!.fds[0]!;
    for (let i = 0; i < 3; i++) sys.eventfdSignal(fd);
    await expect.poll(() => calls).toEqual([3]);
    sys.eventfdSignal(fd);
    await expect.poll(() => calls).toEqual([3, 1]);
    await off();
    expect(sets[1]).toEqual({ body: [...setIrqs(DISABLE, MSIX, 0, 0)], fds: [] });
    sys.eventfdSignal(fd);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(calls).toEqual([3, 1]);
    await off();
    expect(sets).toHaveLength(2);
  });

  test('of a second listener sends nothing; both are called, each until its own end', async () => {
    await open();
    const first = recorder();
    const second = recorder();
    const offs = await Promise.all([
      device.onInterrupt(MSIX, 0, first.listener),
      device.onInterrupt(MSIX, 0, second.listener),
    ]);
    expect(sets).toHaveLength(1);
    sys.eventfdSignal(sets[0]!.fds[0]!);
    await expect.poll(() => [first.calls, second.calls]).toEqual([[1], [1]]);
    await offs[0]!();
    expect(sets).toHaveLength(1);
    sys.eventfdSignal(sets[0]!.fds[0]!);
    await expect.poll(() => [first.calls, second.calls]).toEqual([[1], [1, 1]]);
    await offs[1]!();
    expect(sets).toHaveLength(2);
  });

  test('of other vectors leaves the rest wired when it ends', async () => {
    await open();
    const off = await device.onInterrupt(MSIX, 1, () => undefined);
    await device.onInterrupt(MSIX, 2, () => undefined);
    await off();
    expect(sets.at(-1)).toEqual({ body: [...setIrqs(EVENTFD_TRIGGER, MSIX, 1, 1)], fds: [] });
  });

  test('of a NORESIZE index wires all vectors at once, in messages the server can take', async () => {
    await open({ [MSIX]: 1 | 8 });
    const { calls, listener } = recorder();
    const off = await device.onInterrupt(MSIX, 9, listener);
    // max_msg_fds of this server is 8, the index has 16 vectors.
    expect(sets.map(({ body, fds }) => [body, fds.length])).toEqual([
      [[...setIrqs(EVENTFD_TRIGGER, MSIX, 0, 8)], 8],
      [[...setIrqs(EVENTFD_TRIGGER, MSIX, 8, 8)], 8],
    ]);
    const other = await device.onInterrupt(MSIX, 0, () => undefined);
    expect(sets).toHaveLength(2);
    sys.eventfdSignal(sets[1]!.fds[1]!);
    await expect.poll(() => calls).toEqual([1]);
    await other();
    expect(sets).toHaveLength(2);
    await off();
    expect(sets[2]!.body).toEqual([...setIrqs(DISABLE, MSIX, 0, 0)]);
  });

  test.each([
    [2, 16],
    [2, -1],
    [2, 0.5],
    [5, 0],
  ])('of index %d vector %d is EINVAL', async (index, vector) => {
    await open();
    await expect(device.onInterrupt(index, vector, () => undefined)).rejects.toMatchObject({
      code: 'EINVAL',
    });
    expect(sets).toEqual([]);
  });

  test('that the server refuses leaves nothing behind, and can be tried again', async () => {
    await open();
    const handler = server.onMessage!;
    server.onMessage = (request) => {
      if (request.command !== SET) return handler(request);
      for (const fd of request.fds) sys.close(fd);
      server.replyError(request, 22);
      return true;
    };
    await expect(device.onInterrupt(MSIX, 0, () => undefined)).rejects.toMatchObject({
      code: 'EINVAL',
      message: expect.stringContaining('index 2, vectors 0 to 0'),
    });
    server.onMessage = handler;
    await device.onInterrupt(MSIX, 0, () => undefined);
    expect(sets).toHaveLength(1);
  });

  test('of an index with more vectors than MSI-X can have is EPROTO', async () => {
    await open();
    const handler = server.onMessage!;
    server.onMessage = (request) => {
      if (request.command !== IRQ_INFO) return handler(request);
      server.reply(request, concat(u32(16), u32(9), u32(request.body[8]!), u32(0xffffffff)));
      return true;
    };
    await expect(device.onInterrupt(MSIX, 0, () => undefined)).rejects.toMatchObject({ code: 'EPROTO' });
  });

  test('ends with the server', async () => {
    await open();
    await device.onInterrupt(MSIX, 0, () => undefined);
    server.close();
    await device.closed;
    await expect.poll(openFds).toBe(fdsBefore + 1); // what the test's server holds
  });
});

describe('setIrqs', () => {
  test.each([
    ['disable', { action: 'trigger', data: 'none' }, setIrqs(0x21, 2, 0, 0)],
    ['mask', { action: 'mask', data: 'none', start: 1, count: 2 }, setIrqs(0x09, 2, 1, 2)],
    ['unmask', { action: 'unmask', data: 'none', count: 1 }, setIrqs(0x11, 2, 0, 1)],
    [
      'loopback',
      { action: 'trigger', data: 'bool', start: 3, bools: Uint8Array.of(1, 0, 1) },
      setIrqs(0x22, 2, 3, 3, Uint8Array.of(1, 0, 1)),
    ],
    ['unwire a range', { action: 'trigger', data: 'eventfd', start: 2, count: 4 }, setIrqs(0x24, 2, 2, 4)],
  ] as const)('%s', async (_name, request, bytes) => {
    await open();
    await device.setIrqs({ index: MSIX, ...request });
    expect(sets).toEqual([{ body: [...bytes], fds: [] }]);
  });

  test('unmask is what an INTx driver says', async () => {
    await open();
    await device.unmask(0);
    expect(sets[0]!.body).toEqual([...setIrqs(0x11, 0, 0, 1)]);
  });

  test('never mixes fds and gaps', async () => {
    await open();
    const fd = sys.eventfd();
    await device.setIrqs({
      index: MSIX,
      action: 'trigger',
      data: 'eventfd',
      start: 1,
      eventfds: [fd, fd, null, null, null, fd],
    });
    expect(sets.map(({ body, fds }) => [body, fds.length])).toEqual([
      [[...setIrqs(0x24, MSIX, 1, 2)], 2],
      [[...setIrqs(0x24, MSIX, 3, 3)], 0],
      [[...setIrqs(0x24, MSIX, 6, 1)], 1],
    ]);
    sys.close(fd);
  });

  test('for more vectors than any index has is EINVAL', async () => {
    await open();
    const request = { index: MSIX, action: 'trigger', data: 'eventfd', count: 1e9 } as const;
    await expect(device.setIrqs(request)).rejects.toMatchObject({ code: 'EINVAL' });
  });

  test('with a number of fds that is not the count is EINVAL', async () => {
    await open();
    const request = { index: MSIX, action: 'trigger', data: 'eventfd', count: 3, eventfds: [null] } as const;
    await expect(device.setIrqs(request)).rejects.toMatchObject({ code: 'EINVAL' });
  });
});
