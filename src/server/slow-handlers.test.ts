/*
 * Handlers that take time, seen by a client that answers no DMA message before it has its reply, as QEMU does; and what
 * stays of the order of things when their commands are answered before they are done.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { concat, filled, read, u32, u64 } from '../../test/support/bytes.ts';
import {
  access,
  dmaMap,
  dmaUnmap,
  RawClient,
  type Received,
  version,
} from '../../test/support/raw-client.ts';
import { ScriptedDevice } from '../../test/support/scripted-device.ts';
import { type Served, serveDevice } from '../../test/support/served-device.ts';
import { ERRNO } from '../abi/index.ts';
import type { DmaFault } from '../core/index.ts';
import type { StallEvent } from './index.ts';
import { type ServerOptions, VfioUserServer } from './server.ts';

const READ = 9;
const WRITE = 10;
const RESET = 13;
const MULTI = 15;
const IOVA = 0x40000000;
const SIZE = 1 << 20;
/** Longer than any test: what depends on it would time out. */
const NEVER_MS = 120_000;

let served: Served<ScriptedDevice>;
let device: ScriptedDevice;
let client: RawClient;
let stalls: StallEvent[];
afterEach(() => served?.close());

async function start(options: Partial<ServerOptions> = {}): Promise<void> {
  served = await serveDevice(new ScriptedDevice(), {
    replyTimeoutMs: NEVER_MS,
    requestTimeoutMs: NEVER_MS,
    ...options,
  });
  device = served.device;
  stalls = [];
  served.server.on('stall', (event) => stalls.push(event));
  client = await served.open();
  await client.request(2, dmaMap(IOVA, SIZE));
}

const write = (offset: number, value = 0): Promise<number> =>
  client.errno(WRITE, access(0, offset, 4, u32(value)));
const readBack = async (offset: number): Promise<number> =>
  read((await client.request(READ, access(0, offset, 4))).body, 16, 4);
const entry = (offset: number, value: number): Uint8Array => concat(u64(offset), u32(0), u32(4), u64(value));
const multi = (...entries: Uint8Array[]): Uint8Array => concat(u64(entries.length), ...entries);

/** Serves a DMA message as a client does when it gets to it. */
function serve(command: Received, from: RawClient = client): void {
  const count = read(command.body, 8, 8);
  const data = command.command === 11 ? filled(count) : new Uint8Array(0);
  from.answer(command, concat(command.body.subarray(0, 16), data));
}

/** A register that fetches 16 bytes by DMA and tells when it begins and how it ends. */
function fetching(name: string): () => Promise<number> {
  return async () => {
    device.did.push(`${name} begins`);
    const fault = await device.dma.read(IOVA, new Uint8Array(16));
    device.did.push(`${name} ends: ${fault?.reason ?? 'done'}`);
    return 0;
  };
}

interface Gate {
  readonly opened: Promise<void>;
  open(): void;
}

function gate(): Gate {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

const settle = (ms = 30): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const eventually = <T>(look: () => T | Promise<T>): ReturnType<typeof expect.poll<T>> =>
  expect.poll(look, { timeout: 20_000 });
const until = (text: string): Promise<void> => eventually(() => device.did).toContain(text);

describe('a write whose handler waits for DMA by message', () => {
  test('is answered at once, before the client has served the message', async () => {
    await start();
    device.scripts.set(0, fetching('fetch'));
    expect(await write(0)).toBe(0);
    expect(device.did).toEqual(['fetch begins']);
    serve(await client.command());
    await until('fetch ends: done');
    expect(stalls).toEqual([]);
  });

  test('holds up no later command: a status register is read meanwhile', async () => {
    await start();
    device.scripts.set(0, async () => {
      device.values.set(4, 1);
      await device.dma.read(IOVA, new Uint8Array(16));
      device.values.set(4, 2);
      return 0;
    });
    client.post(WRITE, access(0, 0, 4, u32(0)));
    expect(await readBack(4)).toBe(1);
    expect(await write(8, 7)).toBe(0);
    expect(await readBack(8)).toBe(7);
    serve(await client.command());
    await eventually(() => readBack(4)).toBe(2);
  });

  test('also when it asks for the DMA after it has waited for something else', async () => {
    await start();
    device.scripts.set(0, async () => {
      await settle(5);
      return fetching('fetch')();
    });
    expect(await write(0)).toBe(0);
    serve(await client.command());
    await until('fetch ends: done');
  });

  test('also when what it waits for is a message that is under way already', async () => {
    await start();
    const before = device.dma.read(IOVA, new Uint8Array(16));
    const command = await client.command();
    device.scripts.set(0, async () => {
      await before;
      device.did.push('done');
      return 0;
    });
    expect(await write(0)).toBe(0);
    expect(device.did).toEqual([]);
    serve(command);
    await until('done');
  });

  test('keeps what was written, while other registers are', async () => {
    await start();
    let seen = 0;
    device.region(0).handler = {
      read: () => 0,
      write: (offset, _count, view, at) => {
        if (offset !== 0) return 0;
        return Promise.resolve(device.dma.read(IOVA, new Uint8Array(4))).then(() => {
          seen = view.getUint32(at, true);
          return 0;
        });
      },
    };
    expect(await write(0, 0x1234)).toBe(0);
    for (let i = 1; i < 10; i++) await write(4 * i, 0x5555);
    serve(await client.command());
    await eventually(() => seen).toBe(0x1234);
  });

  test('is told to the owner if it fails after all, not to the client', async () => {
    await start();
    const { dma } = device;
    device.region(0).handler = {
      read: () => 0,
      write: async (offset) => {
        await dma.read(IOVA, new Uint8Array(4));
        if (offset === 0) throw new Error('late');
        return ERRNO.ENODEV;
      },
    };
    expect(await write(0)).toBe(0);
    serve(await client.command());
    await eventually(() => served.told).toContain('handler-error: a posted REGION_WRITE');
    expect(await write(4)).toBe(0);
    serve(await client.command());
    await eventually(() => served.told).toContain(`dropped: 0 4 ${ERRNO.ENODEV}`);
  });

  test('in REGION_WRITE_MULTI: the other writes are done, and all count', async () => {
    await start();
    device.scripts.set(4, fetching('fetch'));
    const reply = await client.request(MULTI, multi(entry(0, 1), entry(4, 2), entry(8, 3)));
    expect(read(reply.body, 0, 8)).toBe(3);
    expect([device.values.get(0), device.values.get(8)]).toEqual([1, 3]);
    expect(device.did).toEqual(['fetch begins']);
    serve(await client.command());
    await until('fetch ends: done');
  });

  test('a client with a twin socket is served as ever: the reply comes after the work', async () => {
    await start();
    client.close();
    client = RawClient.connect(served.path);
    const offer = '{"capabilities":{"max_msg_fds":8,"twin_socket":{"supported":true}}}';
    const reply = await client.request(1, version(offer));
    const twin = new RawClient(reply.fds[0]!);
    await client.request(2, dmaMap(IOVA, SIZE));
    device.scripts.set(0, fetching('fetch'));
    const written = write(0).then(() => device.did.push('answered'));
    const command = await twin.command();
    await settle();
    expect(device.did).toEqual(['fetch begins']);
    serve(command, twin);
    await written;
    expect(device.did).toEqual(['fetch begins', 'fetch ends: done', 'answered']);
    twin.close();
    client.close();
  });
});

describe('the order of writes', () => {
  test('to one register stays: the second begins when the first is done, and is answered before', async () => {
    await start();
    device.scripts.set(0, async (value) => fetching(`ring ${value}`)());
    expect([await write(0, 1), await write(0, 2), await write(0, 3)]).toEqual([0, 0, 0]);
    expect(device.did).toEqual(['ring 1 begins']);
    for (let i = 1; i <= 3; i++) {
      serve(await client.command());
      await until(`ring ${i} ends: done`);
    }
    expect(device.did).toEqual([1, 2, 3].flatMap((i) => [`ring ${i} begins`, `ring ${i} ends: done`]));
  });

  test('also for those of one message', async () => {
    await start();
    device.scripts.set(0, async (value) => fetching(`ring ${value}`)());
    const reply = await client.request(MULTI, multi(entry(0, 1), entry(0, 2), entry(4, 3)));
    expect(read(reply.body, 0, 8)).toBe(3);
    expect(device.values.get(4)).toBe(3);
    for (let i = 1; i <= 2; i++) {
      serve(await client.command());
      await until(`ring ${i} ends: done`);
    }
    expect(device.did.filter((line) => line.endsWith('begins'))).toEqual(['ring 1 begins', 'ring 2 begins']);
  });

  test('more than the limit: refused with ENOBUFS, and the session goes on', async () => {
    await start();
    device.scripts.set(0, fetching('ring'));
    for (let i = 0; i < 1024; i++) client.post(WRITE, access(0, 0, 4, u32(i)));
    expect(await write(0)).toBe(ERRNO.ENOBUFS);
    expect(await readBack(4)).toBe(0);
    client.onCommand = (command) => {
      serve(command);
      return true;
    };
    for (const command of client.commands.splice(0)) serve(command);
    await eventually(() => device.did.length).toBe(2048);
    expect(await write(0)).toBe(0);
  });
});

describe('a command whose result is needed', () => {
  test('a read that asks for DMA by message: the DMA is refused at once, and the owner is told', async () => {
    await start();
    let fault: DmaFault | null = null;
    device.scripts.set(0x10, async () => {
      fault = await device.dma.read(IOVA, new Uint8Array(16));
      return 0xdead;
    });
    expect(await readBack(0x10)).toBe(0xdead);
    expect(fault).toEqual({ iova: IOVA, reason: 'client waits for this access', errno: ERRNO.EDEADLK });
    expect(client.commands).toEqual([]);
    expect(stalls).toMatchObject([
      { command: READ, access: { regionIndex: 0, offset: 0x10, count: 4 }, outcome: 'dma refused' },
    ]);
    expect(stalls[0]!.text).toMatch(/0x10 of region 0 .*background before/);
    expect(served.log.join()).toContain('scripted: REGION_READ of 4 bytes at 0x10 of region 0');
  });

  test('DMA that others asked for in the same batch, or that is not waited for, goes on', async () => {
    await start();
    const faults: unknown[] = [];
    const fetch = (): void => {
      void Promise.resolve(device.dma.read(IOVA, new Uint8Array(4))).then((fault) => faults.push(fault));
    };
    device.scripts.set(0, () => {
      fetch();
      return 0;
    });
    device.scripts.set(4, async () => {
      await settle(1);
      return 5;
    });
    client.post(WRITE, access(0, 0, 4, u32(0)));
    client.post(READ, access(0, 0, 4));
    expect(await readBack(4)).toBe(5);
    serve(await client.command());
    serve(await client.command());
    await eventually(() => faults).toEqual([null, null]);
    expect(stalls).toEqual([]);
  });

  test('a read that waits for DMA in another way: EIO after a while, and the DMA goes on', async () => {
    await start();
    const before = Promise.resolve(device.dma.read(IOVA, new Uint8Array(4)));
    const command = await client.command();
    device.scripts.set(0, async () => {
      await before;
      return 1;
    });
    expect(await client.errno(READ, access(0, 0, 4))).toBe(ERRNO.EIO);
    expect(stalls).toMatchObject([{ outcome: 'failed', access: { offset: 0 } }]);
    serve(command);
    expect(await before).toBeNull();
    await eventually(() => stalls).toMatchObject([{ outcome: 'failed' }, { outcome: 'late' }]);
    expect(client.strays).toEqual([]);
  });

  test('a reset that asks for DMA by message: refused', async () => {
    await start();
    device.onReset = async () => {
      await fetching('reset')();
    };
    expect(await client.errno(RESET, new Uint8Array(0))).toBe(0);
    expect(device.did).toEqual(['reset', 'reset begins', 'reset ends: client waits for this access']);
    expect(stalls).toMatchObject([{ command: RESET, access: null, outcome: 'dma refused' }]);
  });
});

describe('what comes while a write is in the background', () => {
  test('RESET ends its DMA, and resets when it is done', async () => {
    await start();
    device.scripts.set(0, fetching('fetch'));
    await write(0);
    await write(0);
    const command = await client.command();
    expect(await client.errno(RESET, new Uint8Array(0))).toBe(0);
    expect(device.did).toEqual([
      'fetch begins',
      'fetch ends: device is in reset',
      'fetch begins',
      'fetch ends: device is in reset',
      'reset',
    ]);
    // The answer of a client that got to the message late.
    serve(command);
    device.did.length = 0;
    await write(0);
    serve(await client.command());
    await until('fetch ends: done');
    expect(served.told.filter((event) => event.startsWith('protocol-error'))).toEqual([]);
  });

  test('DMA_UNMAP ends its DMA to that range, and is answered', async () => {
    await start();
    await client.request(2, dmaMap(2 * IOVA, 0x1000));
    device.scripts.set(0, fetching('fetch'));
    await write(0);
    const other = device.dma.read(2 * IOVA, new Uint8Array(4));
    const [first, second] = [await client.command(), await client.command()];
    const reply = await client.request(3, dmaUnmap(IOVA, SIZE));
    expect(read(reply.body, 16, 8)).toBe(SIZE);
    await until('fetch ends: mapping is being removed');
    serve(first!);
    serve(second!);
    expect(await other).toBeNull();
    expect(served.told.filter((event) => event.startsWith('protocol-error'))).toEqual([]);
  });

  test('the client leaves: its DMA ends, and the next client waits for it', async () => {
    await start();
    const door = gate();
    device.scripts.set(0, async () => {
      await fetching('fetch')();
      await door.opened;
      device.did.push('gone');
      return 0;
    });
    await write(0);
    client.close();
    await until('fetch ends: message failed');
    const next = served.open().then((raw) => {
      device.did.push('next');
      return raw;
    });
    await settle();
    door.open();
    await next;
    expect(device.did.slice(-2)).toEqual(['gone', 'next']);
  });

  test('the server closes: it waits for the handler', async () => {
    await start();
    const door = gate();
    device.scripts.set(0, async () => {
      await fetching('fetch')();
      await door.opened;
      device.did.push('gone');
      return 0;
    });
    await write(0);
    const closed = served.server.close().then(() => device.did.push('closed'));
    await settle();
    door.open();
    await closed;
    expect(device.did.slice(-2)).toEqual(['gone', 'closed']);
  });
});

describe('a handler that takes too long', () => {
  const SOON = { replyTimeoutMs: 50 };

  test('a write is answered as done, and the owner is told', async () => {
    await start(SOON);
    const door = gate();
    device.scripts.set(0, () => door.opened.then(() => device.did.push('done')));
    expect(await write(0)).toBe(0);
    expect(stalls).toMatchObject([{ command: WRITE, outcome: 'posted', access: { offset: 0, count: 4 } }]);
    expect(await readBack(4)).toBe(0);
    door.open();
    await until('done');
  });

  test('some of several writes: the others follow', async () => {
    await start(SOON);
    const door = gate();
    for (const offset of [4, 8]) device.scripts.set(offset, () => door.opened.then(() => 0));
    const reply = await client.request(MULTI, multi(entry(0, 1), entry(4, 2), entry(8, 3), entry(12, 4)));
    expect(read(reply.body, 0, 8)).toBe(4);
    expect(device.values.get(12)).toBe(4);
    door.open();
  });

  test('a read is EIO, a reset ETIMEDOUT; their late results go nowhere', async () => {
    await start(SOON);
    const door = gate();
    device.scripts.set(0, () => door.opened.then(() => 9));
    device.onReset = () => door.opened;
    expect(await client.errno(READ, access(0, 0, 4))).toBe(ERRNO.EIO);
    device.values.set(4, 3);
    expect(await readBack(4)).toBe(3);
    expect(await client.errno(RESET, new Uint8Array(0))).toBe(ERRNO.ETIMEDOUT);
    await client.request(4, concat(u32(16), u32(0), u32(0), u32(0)));
    door.open();
    await eventually(() => stalls.map(({ command, outcome }) => `${command} ${outcome}`)).toEqual([
      `${READ} failed`,
      `${RESET} failed`,
      `${READ} late`,
      `${RESET} late`,
    ]);
    expect(await readBack(4)).toBe(3);
    expect(client.strays).toEqual([]);
  });

  test('of the client before: the next is told EBUSY instead of nothing', async () => {
    await start(SOON);
    const door = gate();
    device.scripts.set(0, () => door.opened.then(() => 0));
    client.post(WRITE, access(0, 0, 4, u32(0)));
    await settle();
    client.close();
    const next = RawClient.connect(served.path);
    expect(await next.errno(1, version('{}'))).toBe(ERRNO.EBUSY);
    await next.closed;
    door.open();
    await settle();
    await served.open();
  });

  test.each([0, Number.NaN, Number.POSITIVE_INFINITY])('%s ms are refused', (replyTimeoutMs) => {
    const make = (): unknown =>
      new VfioUserServer(new ScriptedDevice('x'), { socketPath: '/x', replyTimeoutMs });
    expect(make).toThrow(/replyTimeoutMs/);
  });
});
