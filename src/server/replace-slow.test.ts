/*
 * A new instance of the device while handlers of the old one are at work: pending, in the background, given up already.
 * Whatever they still do reaches neither the client nor the new instance.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { concat, filled, read, u32, u64 } from '../../test/support/bytes.ts';
import { access, dmaMap, type RawClient, type Received } from '../../test/support/raw-client.ts';
import { ScriptedDevice } from '../../test/support/scripted-device.ts';
import { type Served, serveDevice } from '../../test/support/served-device.ts';
import { ERRNO } from '../abi/index.ts';
import type { RegionHandler } from '../core/index.ts';
import type { ServerOptions } from './server.ts';

const READ = 9;
const WRITE = 10;
const RESET = 13;
const MULTI = 15;
const IOVA = 0x40000000;
const SIZE = 1 << 22;
/** Longer than any test: what depends on it would time out. */
const NEVER_MS = 120_000;

let served: Served<ScriptedDevice>;
let old: ScriptedDevice;
let next: ScriptedDevice;
let client: RawClient;
let openGate: () => void;
/** What handlers wait for that are late. */
let gate: Promise<void>;
afterEach(async () => {
  openGate();
  served.server.device.release();
  await served.close();
});

async function start(options: Partial<ServerOptions> = {}): Promise<void> {
  gate = new Promise((resolve) => {
    openGate = resolve;
  });
  old = new ScriptedDevice();
  next = new ScriptedDevice();
  served = await serveDevice(old, { replyTimeoutMs: NEVER_MS, requestTimeoutMs: NEVER_MS, ...options });
  client = await served.open();
  await client.request(2, dmaMap(IOVA, SIZE));
}

const replace = (): Promise<string> => served.server.replaceDevice(next);
const write = (offset: number, value = 0): Promise<number> =>
  client.errno(WRITE, access(0, offset, 4, u32(value)));
const readBack = async (offset: number): Promise<number> =>
  read((await client.request(READ, access(0, offset, 4))).body, 16, 4);
const settle = (ms = 30): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const eventually = <T>(look: () => T | Promise<T>): ReturnType<typeof expect.poll<T>> =>
  expect.poll(look, { timeout: 20_000 });
const entry = (offset: number, value: number): Uint8Array => concat(u64(offset), u32(0), u32(4), u64(value));
const ofKind = (kind: string): string[] => served.told.filter((event) => event.startsWith(kind));

/** Serves a DMA_READ as a client does when it gets to it. */
function serve(command: Received): void {
  client.answer(command, concat(command.body.subarray(0, 16), filled(read(command.body, 8, 8))));
}

/** A register of the old device that fetches 16 bytes by DMA, and is late in any case if `late`. */
function fetching(late: boolean): () => Promise<number> {
  return async () => {
    old.did.push('begins');
    const fault = await old.dma.read(IOVA, new Uint8Array(16));
    if (late) await gate;
    old.did.push(`ends: ${fault?.reason ?? 'done'}`);
    return 0;
  };
}

/** Lets what is late end, and expects that nobody hears of it. */
async function lateUnheard(): Promise<void> {
  const told = [...served.told];
  openGate();
  await settle();
  expect(served.told).toEqual(told);
  expect(client.strays).toEqual([]);
}

describe('a write in the background', () => {
  test('may finish, with the DMA that the client serves only between its commands', async () => {
    await start();
    old.scripts.set(0, fetching(false));
    old.values.set(4, 1);
    expect(await write(0)).toBe(0);
    const command = await client.command();
    const replaced = replace();
    expect(await readBack(4)).toBe(1);
    serve(command);
    expect(await replaced).toBe('reset');
    expect(old.did).toEqual(['begins', 'ends: done']);
    expect(ofKind('dropped')).toEqual([]);
    expect(await readBack(4)).toBe(0);
  });

  test('may finish also where it went there while commands waited for the replacement', async () => {
    await start();
    old.scripts.set(0, async () => {
      await gate;
      return fetching(false)();
    });
    const written = write(0);
    await settle();
    const replaced = replace();
    const later = readBack(4);
    await settle();
    old.values.set(4, 1);
    openGate();
    expect(await written).toBe(0);
    expect(await later).toBe(1);
    serve(await client.command());
    await replaced;
    expect(old.did).toEqual(['begins', 'ends: done']);
  });

  test('that never ends is dropped, and holds up nothing of the new device', async () => {
    await start();
    old.scripts.set(0, fetching(true));
    expect(await write(0)).toBe(0);
    serve(await client.command());
    await replace();
    expect(ofKind('dropped')).toEqual([`dropped: 0 0 ${ERRNO.EIO}`]);
    expect(await write(0, 7)).toBe(0);
    expect(next.values.get(0)).toBe(7);
    expect(await client.errno(RESET, new Uint8Array(0))).toBe(0);
    expect(next.did).toEqual(['reset']);
    client.close();
    client = await served.open();
    expect(await readBack(0)).toBe(7);
    await lateUnheard();
  });

  test('and those that wait for it, which reach neither device', async () => {
    await start();
    old.scripts.set(0, fetching(true));
    expect([await write(0), await write(0), await write(0)]).toEqual([0, 0, 0]);
    serve(await client.command());
    await replace();
    expect(ofKind('dropped')).toHaveLength(3);
    await lateUnheard();
    expect(old.did.filter((line) => line === 'begins')).toHaveLength(1);
    expect(next.values.size).toBe(0);
  });

  test('leaves no DMA behind: what waits in line is not sent, what is under way counts for nobody', async () => {
    await start();
    // More than may be under way at once.
    old.scripts.set(0, async () => {
      const parts = Array.from({ length: 20 }, () => old.dma.read(IOVA, new Uint8Array(0x100000)));
      old.did.push(...(await Promise.all(parts)).map((fault) => fault?.reason ?? 'done'));
      return 0;
    });
    expect(await write(0)).toBe(0);
    await settle();
    const underWay = client.commands.splice(0);
    expect(underWay.length).toBeLessThan(20);
    await replace();
    // Longer than a register read may go on while DMA of its own device may wait for it.
    next.scripts.set(8, async () => {
      await settle(800);
      return 9;
    });
    expect(await readBack(8)).toBe(9);
    for (const command of underWay) serve(command);
    await eventually(() => old.did.length).toBe(20);
    await settle();
    expect(client.commands).toEqual([]);
    expect(old.did.filter((line) => line === 'no client is attached')).toHaveLength(20 - underWay.length);
    expect(ofKind('protocol-error')).toEqual([]);
  });

  test('a reset that waits for it fails, and is none of the new device', async () => {
    await start();
    old.scripts.set(0, fetching(true));
    await write(0);
    const command = await client.command();
    const replaced = replace();
    const reset = client.errno(RESET, new Uint8Array(0));
    await replaced;
    expect(await reset).toBe(ERRNO.ETIMEDOUT);
    serve(command);
    await lateUnheard();
    expect([old.did, next.did]).toEqual([['begins', 'ends: device is in reset'], []]);
    const fetched = next.dma.read(IOVA, new Uint8Array(4));
    serve(await client.command());
    expect(await fetched).toBeNull();
  });
});

describe('a command that was answered because it took too long', () => {
  const SOON = { replyTimeoutMs: 50 };

  test('a write: dropped, once', async () => {
    await start(SOON);
    old.scripts.set(0, () => gate.then(() => Promise.reject(new Error('late'))));
    expect(await write(0)).toBe(0);
    await replace();
    expect(ofKind('dropped')).toEqual([`dropped: 0 0 ${ERRNO.EIO}`]);
    expect(await write(0, 7)).toBe(0);
    client.close();
    client = await served.open();
    expect(await readBack(0)).toBe(7);
    await lateUnheard();
  });

  test('a read: its late result is in no answer of the new device', async () => {
    await start(SOON);
    old.scripts.set(0, () => gate.then(() => 0xdead));
    expect(await client.errno(READ, access(0, 0, 4))).toBe(ERRNO.EIO);
    await replace();
    next.scripts.set(0, async () => {
      openGate();
      await settle(1);
      return 5;
    });
    expect(await readBack(0)).toBe(5);
    await lateUnheard();
  });

  test('a reset: answered once, and the new device is in none', async () => {
    await start(SOON);
    old.onReset = () => gate;
    expect(await client.errno(RESET, new Uint8Array(0))).toBe(ERRNO.ETIMEDOUT);
    await replace();
    expect(await write(0, 7)).toBe(0);
    await lateUnheard();
    expect(await readBack(0)).toBe(7);
  });
});

describe('a command that is not answered yet', () => {
  test('a write is answered as done, once, told as dropped, and its handler keeps its buffer', async () => {
    await start();
    let seen = 0;
    old.region(0).handler = {
      read: () => 0,
      write: (_offset, _count, view, at) =>
        gate.then(() => {
          seen = view.getUint32(at, true);
          view.setUint32(at, 0xdead, true);
          return 0;
        }),
    };
    const written = write(0, 0x1234);
    await settle();
    await replace();
    expect(await written).toBe(0);
    expect(ofKind('dropped')).toEqual([`dropped: 0 0 ${ERRNO.EIO}`]);
    const slow: RegionHandler = {
      write: () => 0,
      read: async (_offset, _count, view, at) => {
        view.setUint32(at, 5, true);
        openGate();
        await settle(1);
        return 0;
      },
    };
    next.region(0).handler = slow;
    expect(await readBack(0)).toBe(5);
    expect(seen).toBe(0x1234);
    await lateUnheard();
  });

  test('a reset fails, once, and its late end answers nothing else', async () => {
    await start();
    old.onReset = () => gate;
    const reset = client.errno(RESET, new Uint8Array(0));
    await settle();
    await replace();
    expect(await reset).toBe(ERRNO.ETIMEDOUT);
    next.scripts.set(0, async () => {
      openGate();
      await settle(1);
      return 5;
    });
    expect(await readBack(0)).toBe(5);
    await lateUnheard();
  });

  test("several writes: those that are left are the new device's", async () => {
    await start();
    old.scripts.set(4, () => gate.then(() => 0));
    const multi = concat(u64(3), entry(0, 1), entry(4, 2), entry(8, 3));
    const written = client.errno(MULTI, multi);
    await settle();
    await replace();
    expect(await written).toBe(0);
    await lateUnheard();
    expect([old.values, next.values]).toEqual([new Map([[0, 1]]), new Map([[8, 3]])]);
  });

  test('one of the client before: the next is let in', async () => {
    await start();
    old.scripts.set(0, () => gate.then(() => 0));
    client.post(WRITE, access(0, 0, 4, u32(0)));
    await settle();
    client.close();
    await eventually(() => served.server.session).toBeNull();
    const opened = served.open();
    await eventually(() => served.server.session !== null).toBe(true);
    await replace();
    client = await opened;
    expect(await write(0, 7)).toBe(0);
    await lateUnheard();
    expect(await readBack(0)).toBe(7);
  });
});

test('a view that a handler kept is not the buffer of the new device', async () => {
  await start();
  let kept: DataView | null = null;
  old.region(0).handler = {
    write: () => 0,
    read: (_offset, _count, view) => {
      kept = view;
      return 0;
    },
  };
  await readBack(0);
  await replace();
  next.scripts.set(0, () => 5);
  next.region(0).handler = {
    write: () => 0,
    read: async (_offset, _count, view, at) => {
      view.setUint32(at, 5, true);
      await settle(1);
      kept!.setUint32(0, 0xdead, true);
      return 0;
    },
  };
  expect(await readBack(0)).toBe(5);
});

test('an owner whose listener throws does not stop the replacement', async () => {
  await start();
  served.server.on('dropped', () => {
    throw new Error('listener');
  });
  old.scripts.set(0, fetching(true));
  await write(0);
  serve(await client.command());
  await replace();
  expect(ofKind('handler-error')).toEqual(['handler-error: the replacement of the device']);
  expect(await write(0, 7)).toBe(0);
  expect(next.values.get(0)).toBe(7);
});

test('a trace and the log name the instance that is there', async () => {
  const names: string[] = [];
  await start({ trace: ({ device }) => names.push(device) });
  next = new ScriptedDevice('second');
  await replace();
  expect(new Set(names.splice(0))).toEqual(new Set(['scripted']));
  expect(await client.errno(READ, access(5, 0, 4))).toBe(ERRNO.EINVAL);
  expect(names).toEqual(['second', 'second']);
  expect(served.log.join('\n')).toContain('second: REGION_READ refused');
});
