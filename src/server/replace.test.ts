/*
 * A new instance of the device under a living session: what the client holds stays as it is.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { concat, read, u16, u32 } from '../../test/support/bytes.ts';
import { AT, Card, CarryingCard, MEMORY_BYTES } from '../../test/support/card.ts';
import { HolderProgram } from '../../test/support/holder.ts';
import { memfd } from '../../test/support/memory.ts';
import { access, dmaMap, type RawClient, setIrqs } from '../../test/support/raw-client.ts';
import { type Served, serveDevice } from '../../test/support/served-device.ts';
import { TestDevice } from '../../test/support/test-device.ts';
import { ERRNO } from '../abi/index.ts';
import type { PciDeviceSpec } from '../bus/pci/index.ts';
import { isDmaFault } from '../core/index.ts';
import { PeerRegistry } from './peers.ts';
import { LayoutError } from './replacement.ts';

const MAP = 2;
const GET_REGION_INFO = 5;
const GET_REGION_IO_FDS = 6;
const SET_IRQS = 8;
const READ = 9;
const WRITE = 10;
const CONFIG = 7;
const MEMORY_AND_MASTER = 6;
const ADDRESS = 0xfeb00000;
const INTX = 0;
const MSIX = 2;
const EVENTFD_TRIGGER = 0x24;
const INTX_DISABLE = 0x400;

let served: Served<Card>;
let client: RawClient;
let fds: number[];

async function serveCard(card: Card): Promise<void> {
  served = await serveDevice(card, { peers });
  client = await served.open();
  await write(CONFIG, AT.COMMAND, u16(MEMORY_AND_MASTER));
}

let peers: PeerRegistry;
beforeEach(() => {
  peers = new PeerRegistry();
  fds = [];
});
afterEach(async () => {
  for (const fd of fds) client.sys.close(fd);
  served.server.device.release();
  await served.close();
});

async function peek(region: number, offset: number, count = 4): Promise<number> {
  return read((await client.request(READ, access(region, offset, count))).body, 16, count);
}

async function write(region: number, offset: number, data: Uint8Array): Promise<void> {
  await client.request(WRITE, access(region, offset, data.length, data));
}

async function regionFd(index: number): Promise<number> {
  const ask = concat(u32(32), u32(0), u32(index), u32(0), u32(0), u32(0), u32(0), u32(0));
  const fd = (await client.request(GET_REGION_INFO, ask)).fds[0]!;
  fds.push(fd);
  return fd;
}

async function wire(index: number): Promise<number> {
  const fd = client.sys.eventfd();
  fds.push(fd);
  await client.request(SET_IRQS, setIrqs(EVENTFD_TRIGGER, index, 0, 1), [fd]);
  return fd;
}

async function guestMemory(iova: number): Promise<number> {
  const fd = memfd(client.sys, 0x1000, true);
  fds.push(fd);
  await client.request(MAP, dmaMap(iova, 0x1000, { flags: 3 }), [fd]);
  return fd;
}

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

describe('a replacement that is a reset', () => {
  test('shows the new code over the same session, registers at their reset values', async () => {
    await serveCard(new Card(1));
    await write(0, 4, u32(0xbeef));
    expect([await peek(0, 0), await peek(0, 4)]).toEqual([1, 0xbeef]);
    expect(await served.server.replaceDevice(new Card(2))).toBe('reset');
    expect([await peek(0, 0), await peek(0, 4)]).toEqual([2, 0x1111]);
    expect(served.told).toEqual(['session']);
  });

  test('keeps the header and the interrupt controls, as a function level reset does', async () => {
    await serveCard(new Card(1));
    await write(CONFIG, AT.BAR2, u32(ADDRESS));
    await write(CONFIG, AT.MSIX + 2, u16(0x8000));
    await write(CONFIG, AT.PMCSR, u16(3));
    const next = new Card(2);
    await served.server.replaceDevice(next);
    expect(await peek(CONFIG, AT.COMMAND, 2)).toBe(MEMORY_AND_MASTER);
    expect(await peek(CONFIG, AT.BAR2)).toBe(ADDRESS);
    expect(await peek(CONFIG, AT.MSIX + 2, 2)).toBe(0x8001);
    expect((await peek(CONFIG, AT.PMCSR, 2)) & 3).toBe(0);
    expect(next.barAddress(2)).toBe(ADDRESS);
    expect(await peek(0, 0)).toBe(2);
  });

  test('leaves memory that is out of reach out of reach', async () => {
    await serveCard(new Card(1));
    const mapping = client.sys.map(await regionFd(2), 2 * 2 ** 40, MEMORY_BYTES, 'rw');
    mapping.bytes[5] = 0x55;
    await write(CONFIG, AT.COMMAND, u16(0));
    await served.server.replaceDevice(new Card(2));
    expect(await client.errno(READ, access(2, 5, 1))).toBe(ERRNO.EIO);
    expect(client.sys.identity(fds[0]!).sizeBytes).toBe(0);
    await write(CONFIG, AT.COMMAND, u16(2));
    expect(await peek(2, 5, 1)).toBe(0x55);
    mapping.unmap();
  });

  test('keeps what the host suspended', async () => {
    await serveCard(new Card(1));
    served.device.suspend('device is stopped');
    const next = new Card(2);
    await served.server.replaceDevice(next);
    expect(await client.errno(READ, access(0, 0, 4))).toBe(ERRNO.EIO);
    next.resume('device is stopped');
    expect(await peek(0, 0)).toBe(2);
  });

  test('ends pending and asserted interrupts', async () => {
    await serveCard(new Card(1));
    served.device.raiseInterrupt(0);
    expect((await peek(CONFIG, AT.STATUS, 2)) & 8).toBe(8);
    await served.server.replaceDevice(new Card(2));
    expect((await peek(CONFIG, AT.STATUS, 2)) & 8).toBe(0);
    expect(client.sys.eventfdRead(await wire(INTX))).toBe(0);
  });

  test('tells the instances: closed and released, opened with a client; no onReset', async () => {
    const old = new Card(1);
    await serveCard(old);
    const next = new Card(2);
    await served.server.replaceDevice(next);
    expect(old.calls.slice(1)).toEqual(['release', 'closed']);
    expect(next.calls).toEqual(['opened, DMA attached']);
    expect(served.server.device).toBe(next);
  });

  test('works without a client: the next one finds the new device and the old memory', async () => {
    await serveCard(new Card(1));
    await write(2, 5, Uint8Array.of(0x55));
    await write(CONFIG, AT.COMMAND, u16(0));
    client.close();
    await settle();
    const next = new Card(2);
    expect(await served.server.replaceDevice(next)).toBe('reset');
    client = await served.open();
    expect([await peek(0, 0), await peek(2, 5, 1)]).toEqual([2, 0x55]);
    expect(await peek(CONFIG, AT.COMMAND, 2)).toBe(2);
  });
});

describe('memory that the client maps', () => {
  test('is the same file with the same contents, and the new code sees it', async () => {
    await serveCard(new Card(1));
    const before = await regionFd(2);
    const mapping = client.sys.map(before, 2 * 2 ** 40, MEMORY_BYTES, 'rw');
    mapping.bytes[0] = 0x11;
    const next = new Card(2);
    await served.server.replaceDevice(next);
    const [a, b] = [client.sys.identity(before), client.sys.identity(await regionFd(2))];
    expect([a.dev, a.ino]).toEqual([b.dev, b.ino]);
    expect(next.region(2).memory!.bytesAt(0)[0]).toBe(0x11);
    next.region(2).memory!.bytesAt(0)[1] = 0x22;
    expect(mapping.bytes[1]).toBe(0x22);
    mapping.unmap();
  });

  test.each([
    ['a reset', Card],
    ['state that is carried over', CarryingCard],
  ])('can be used by the client all the time, with %s', async (_what, Version) => {
    await serveCard(new Version(1));
    const program = new HolderProgram();
    const holder = program.start(await regionFd(2));
    await holder.ask(`map ${2 * 2 ** 40} ${MEMORY_BYTES}`);
    const spun = holder.ask(`spin 0 ${MEMORY_BYTES / 4096} 1000`);
    let over = false;
    void spun.then(() => {
      over = true;
    });
    let replaced = 0;
    for (; !over; replaced++) {
      await served.server.replaceDevice(new Version(replaced));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(await spun).toMatch(/^spun \d+$/);
    expect(replaced).toBeGreaterThan(2);
    await holder.stop();
    program.remove();
  });

  test('is zeros where the class says that a reset clears it', async () => {
    const bars: PciDeviceSpec['bars'] = {
      ...new Card(0).spec.bars,
      2: { type: 'mem32', sizeBytes: MEMORY_BYTES, mappable: true, dma: 'allow', resetClears: true },
    };
    await serveCard(new Card(1, { bars }));
    await write(2, 5, Uint8Array.of(0x55));
    await served.server.replaceDevice(new Card(2, { bars }));
    expect(await peek(2, 5, 1)).toBe(0);
  });

  test('cannot be changed by the old instance: its memory is empty, kept views too', async () => {
    const old = new Card(1);
    await serveCard(old);
    const kept = old.region(2).memory!.bytesAt(0);
    expect(kept).toHaveLength(MEMORY_BYTES);
    await served.server.replaceDevice(new Card(2));
    expect(kept).toHaveLength(0);
    expect(old.region(2).memory!.bytesAt(0)).toHaveLength(0);
    expect(old.region(2).readMemory(0, 4, new DataView(new ArrayBuffer(4)), 0)).toBe(ERRNO.EIO);
  });
});

describe('interrupts', () => {
  test('wired before come from the new instance, and no more from the old one', async () => {
    const old = new Card(1);
    await serveCard(old);
    const fd = await wire(MSIX);
    const next = new Card(2);
    await served.server.replaceDevice(next);
    expect(old.raiseInterrupt(0)).toBe(false);
    expect(client.sys.eventfdRead(fd)).toBe(0);
    expect(next.raiseInterrupt(0)).toBe(true);
    expect(client.sys.eventfdRead(fd)).toBe(1);
  });

  test('can be taken back by the client afterwards, which closes the eventfd', async () => {
    await serveCard(new Card(1));
    await wire(MSIX);
    const next = new Card(2);
    await served.server.replaceDevice(next);
    await client.request(SET_IRQS, setIrqs(0x21, MSIX, 0, 0));
    expect(next.irqs[MSIX]!.enabled).toBe(false);
  });
});

describe('DMA', () => {
  test('reaches the memory that was mapped before, without a new DMA_MAP', async () => {
    await serveCard(new Card(1));
    const fd = await guestMemory(0x1000);
    const next = new Card(2);
    await served.server.replaceDevice(next);
    expect(next.dma.write(0x1000, Uint8Array.of(7, 8))).toBeNull();
    const seen = new Uint8Array(2);
    client.sys.pread(fd, seen, 0, 2, 0);
    expect([...seen]).toEqual([7, 8]);
    await write(CONFIG, AT.COMMAND, u16(2));
    expect(next.dma.write(0x1000, Uint8Array.of(7))).toMatchObject({ reason: 'bus master is off' });
  });

  test('of the old instance faults, its windows are empty, and a long transfer of it stops', async () => {
    const old = new Card(1);
    await serveCard(old);
    await guestMemory(0x1000);
    await client.request(MAP, dmaMap(0x10_0000, 0x40_0000));
    const window = old.dma.window(0x1000, 16, true);
    if (isDmaFault(window)) throw new Error(window.reason);
    const { bytes } = window;
    // 4 MiB in messages of 1 MiB: the first is under way.
    const long = old.dma.write(0x10_0000, new Uint8Array(0x40_0000));
    const first = await client.command();
    await served.server.replaceDevice(new Card(2));
    expect([bytes.length, window.bytes.length]).toEqual([0, 0]);
    expect(old.dma.write(0x1000, Uint8Array.of(7))).not.toBeNull();
    client.answer(first, first.body.subarray(0, 16));
    expect(await long).toMatchObject({ iova: 0x20_0000, reason: 'no client is attached' });
    expect(client.commands).toEqual([]);
  });
});

describe('a peer that maps memory of the device', () => {
  let reader: Served<Card>;
  let toReader: RawClient;

  beforeEach(async () => {
    await serveCard(new Card(1));
    await write(CONFIG, AT.BAR2, u32(ADDRESS));
    reader = await serveDevice(new Card(9, { name: 'reader' }), { peers });
    toReader = await reader.open();
    await toReader.request(WRITE, access(CONFIG, AT.COMMAND, 2, u16(MEMORY_AND_MASTER)));
  });
  afterEach(() => reader.close());

  const peerRead = (iova: number): number | string => {
    const target = new Uint8Array(1);
    const fault = reader.device.dma.read(iova, target);
    if (fault instanceof Promise) throw new Error('a mapping by message');
    return fault === null ? target[0]! : fault.reason;
  };

  test('goes on reaching the same memory, and is cut off and comes back with the new instance', async () => {
    await toReader.request(MAP, dmaMap(ADDRESS, MEMORY_BYTES));
    const next = new Card(2);
    await served.server.replaceDevice(next);
    next.region(2).memory!.bytesAt(0)[0] = 0x77;
    expect(peerRead(ADDRESS)).toBe(0x77);
    await write(CONFIG, AT.COMMAND, u16(0));
    expect(peerRead(ADDRESS)).toBe('memory decode is off');
    await write(CONFIG, AT.COMMAND, u16(2));
    expect(peerRead(ADDRESS)).toBe(0x77);
    next.region(2).setConsent(0, 'deny');
    expect(peerRead(ADDRESS)).toBe('consent was withdrawn');
  });

  test.each([
    ['a reset', Card],
    ['state that is carried over', CarryingCard],
  ])('keeps its windows over %s, until the new instance ends them', async (_what, Version) => {
    await served.server.replaceDevice(new CarryingCard(2));
    await toReader.request(MAP, dmaMap(ADDRESS, MEMORY_BYTES));
    const open = (): { bytes: Uint8Array; dead: string | null } => {
      const window = reader.device.dma.window(ADDRESS, 16, true);
      if (isDmaFault(window)) throw new Error(window.reason);
      return window;
    };
    const window = open();
    const third = new Version(3);
    await served.server.replaceDevice(third);
    third.region(2).memory!.bytesAt(0)[1] = 0x66;
    expect([window.dead, window.bytes[1]]).toEqual([null, 0x66]);
    await write(CONFIG, AT.COMMAND, u16(0));
    expect(window.dead).toBe('memory decode is off');
  });

  test('maps it anew: by address and by fd', async () => {
    const fd = await regionFd(2);
    const next = new Card(2);
    await served.server.replaceDevice(next);
    next.region(2).memory!.bytesAt(0)[0] = 0x77;
    await toReader.request(MAP, dmaMap(ADDRESS, MEMORY_BYTES));
    await toReader.request(MAP, dmaMap(0x10_0000, 0x1000, { offset: 2 * 2 ** 40 }), [fd]);
    const container = reader.server.session!.container!;
    expect([ADDRESS, 0x10_0000].map((iova) => container.find(iova)!.source.kind)).toEqual([
      'device',
      'device',
    ]);
    expect([peerRead(ADDRESS), peerRead(0x10_0000)]).toEqual([0x77, 0x77]);
  });

  test('is cut off where the new code gives no consent', async () => {
    await toReader.request(MAP, dmaMap(ADDRESS, MEMORY_BYTES));
    const window = reader.device.dma.window(ADDRESS, 16, true);
    if (isDmaFault(window)) throw new Error(window.reason);
    const bars: PciDeviceSpec['bars'] = {
      ...served.device.spec.bars,
      2: { type: 'mem32', sizeBytes: MEMORY_BYTES, mappable: true, dma: 'deny' },
    };
    await served.server.replaceDevice(new Card(2, { bars }));
    expect([peerRead(ADDRESS), window.bytes.length]).toEqual(['consent was withdrawn', 0]);
    await served.server.replaceDevice(new Card(3));
    expect(peerRead(ADDRESS)).toBe(0);
  });

  test('is cut off still where consent was withdrawn before and the code says what it said', async () => {
    await toReader.request(MAP, dmaMap(ADDRESS, MEMORY_BYTES));
    served.device.region(2).setConsent(0, 'deny');
    const next = new Card(2);
    await served.server.replaceDevice(next);
    expect(peerRead(ADDRESS)).toBe('consent was withdrawn');
    next.region(2).setConsent(0, 'allow');
    expect(peerRead(ADDRESS)).toBe(0);
  });
});

describe('a replacement that is refused', () => {
  test('lists what a client would notice; the old device goes on, the new one is left alone', async () => {
    const old = new Card(1);
    await serveCard(old);
    const next = new Card(2, {
      vendorId: 0x4321,
      interruptPin: 2,
      capabilities: [{ type: 'power-management' }, { type: 'express' }, { type: 'msix', vectors: 3, bar: 5 }],
      bars: {
        ...old.spec.bars,
        2: { type: 'mem32', sizeBytes: 2 * MEMORY_BYTES, mappable: true },
        3: { type: 'io', sizeBytes: 16 },
      },
    });
    const error = await served.server.replaceDevice(next).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(LayoutError);
    const { differences, message } = error as LayoutError;
    expect(differences).toEqual([
      'size of region 2 (BAR2): 65536 before, 131072 now',
      'mappable areas of region 2 (BAR2): 0x0+0x10000 before, 0x0+0x20000 now',
      'region 3 (BAR3) is new',
      'vectors of interrupt index 2: 2 before, 3 now',
      'vendor id: 0x1234 before, 0x4321 now',
      'register of BAR2 is another kind or size',
      'register of BAR3 is another kind or size',
      'subsystem vendor id: 0x1234 before, 0x4321 now',
      'interrupt pin: 0x1 before, 0x2 now',
      'config space is another at 0x84, 0x8c',
    ]);
    expect(message).toContain('restart the guest');
    expect(await peek(0, 0)).toBe(1);
    expect(next.released).toBe(false);
    expect(await served.server.replaceDevice(new Card(3))).toBe('reset');
  });

  test('because state cannot be restored: the old device goes on', async () => {
    class Strict extends CarryingCard {
      override restoreState(): void {
        throw new Error('count is too large');
      }
    }
    await serveCard(new CarryingCard(1));
    await expect(served.server.replaceDevice(new Strict(2))).rejects.toThrow('count is too large');
    expect(await peek(0, 0)).toBe(1);
  });

  test('because a device was released', async () => {
    await serveCard(new Card(1));
    const gone = new Card(2);
    gone.release();
    await expect(served.server.replaceDevice(gone)).rejects.toMatchObject({ code: 'ENODEV' });
    served.device.release();
    await expect(served.server.replaceDevice(new Card(3))).rejects.toMatchObject({ code: 'ENODEV' });
  });
});

describe('state that is carried over', () => {
  test('shows no reset: registers by name, what the class saved, nothing suspended', async () => {
    const old = new CarryingCard(1);
    await serveCard(old);
    old.count = 42;
    await write(0, 4, u32(0xbeef));
    await write(CONFIG, AT.MSIX + 2, u16(0x8000));
    const events: string[] = [];
    old.on('suspend', ({ reason }) => events.push(reason));
    const table = {
      ADDED: { offset: 0, width: 4, access: 'ro', reset: 5 },
      SCRATCH: { offset: 8, width: 4, access: 'rw' },
      VERSION: { offset: 12, width: 4, access: 'ro' },
    } as const;
    const next = new CarryingCard(2, {}, table);
    next.on('suspend', ({ reason }) => events.push(reason));
    expect(await served.server.replaceDevice(next)).toBe('carried');
    expect([await peek(0, 0), await peek(0, 8), next.count]).toEqual([5, 0xbeef, 42]);
    expect(events).toEqual([]);
    expect(next.calls).toEqual(['opened, DMA attached']);
    expect(await peek(CONFIG, AT.COMMAND, 2)).toBe(MEMORY_AND_MASTER);
  });

  test('has the line that was asserted and the power state', async () => {
    await serveCard(new CarryingCard(1));
    served.device.raiseInterrupt(0);
    await write(CONFIG, AT.PMCSR, u16(3));
    const next = new CarryingCard(2);
    await served.server.replaceDevice(next);
    expect((await peek(CONFIG, AT.PMCSR, 2)) & 3).toBe(3);
    expect(next.accessible(next.region(0))).toBe('device is in D3hot');
    const fd = await wire(INTX);
    expect(client.sys.eventfdRead(fd)).toBe(1);
    next.lowerInterrupt();
    expect((await peek(CONFIG, AT.STATUS, 2)) & 8).toBe(0);
    await write(CONFIG, AT.PMCSR, u16(0));
    expect(await peek(0, 0)).toBe(1);
  });

  test('has what waits for INTX_DISABLE and for the masks of MSI-X', async () => {
    await serveCard(new CarryingCard(1));
    const intx = await wire(INTX);
    await write(CONFIG, AT.COMMAND, u16(MEMORY_AND_MASTER | INTX_DISABLE));
    served.device.raiseInterrupt(0);
    const second = new CarryingCard(2);
    await served.server.replaceDevice(second);
    expect(client.sys.eventfdRead(intx)).toBe(0);
    await write(CONFIG, AT.COMMAND, u16(MEMORY_AND_MASTER));
    expect(client.sys.eventfdRead(intx)).toBe(1);
    const msix = await wire(MSIX);
    await write(5, 12, u32(1));
    expect(second.raiseInterrupt(0)).toBe(false);
    await served.server.replaceDevice(new CarryingCard(3));
    expect([await peek(5, 12), await peek(5, 32, 1), client.sys.eventfdRead(msix)]).toEqual([1, 1, 0]);
    await write(5, 12, u32(0));
    expect(client.sys.eventfdRead(msix)).toBe(1);
  });

  test('is not, where only one of the two classes declares it', async () => {
    await serveCard(new CarryingCard(1));
    expect(await served.server.replaceDevice(new Card(2))).toBe('reset');
    expect(await served.server.replaceDevice(new CarryingCard(3))).toBe('reset');
    expect(await served.server.replaceDevice(new CarryingCard(4))).toBe('carried');
  });
});

describe('doorbells', () => {
  const ask = concat(u32(1000), u32(0), u32(0), u32(0));

  test('that the client has ring in the new instance', async () => {
    const old = new TestDevice('bells', { ioEventfds: 3 });
    const bells = await serveDevice(old);
    const ringer = await bells.open();
    const reply = await ringer.request(GET_REGION_IO_FDS, ask);
    const next = new TestDevice('bells', { ioEventfds: 3 });
    await bells.server.replaceDevice(next);
    for (const fd of reply.fds) ringer.sys.eventfdSignal(fd);
    await settle();
    expect([old.rings, next.rings]).toEqual([0, 2]);
    const other = new TestDevice('bells', { ioEventfds: 4 });
    await expect(bells.server.replaceDevice(other)).rejects.toThrow('doorbells: ');
    for (const fd of reply.fds) ringer.sys.close(fd);
    next.release();
    await bells.close();
    await serveCard(new Card(1));
  });
});
