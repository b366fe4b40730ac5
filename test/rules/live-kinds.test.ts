/*
 * The rules for the kinds of device that are not PCI, over real vfio-user sockets: what a client is told, and what its
 * mappings, its accesses and the DMA of another device meet when the memory goes away and comes back. A process of its
 * own holds the fd that the socket gave, unguarded as any client.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type DeviceHandle, openDevice } from '../../src/client/index.ts';
import { type DmaFault, indexToOffset } from '../../src/core/index.ts';
import { BACKINGS, type World } from '../support/backings.ts';
import type { Answerer } from '../support/holder.ts';
import { HolderProgram } from '../support/holder.ts';
import { KIND_CASES, type KindDevice, MEMORY_BYTES, PciMdev, PRIVATE_BYTES } from '../support/kinds.ts';
import { serveDevice } from '../support/served-device.ts';
import { TestDevice } from '../support/test-device.ts';

const PAGE = 4096;
const IOVA = 0x10_0000;
const [, makeWorld] = BACKINGS.find(([name]) => name === 'behind a socket')!;

let program: HolderProgram;

beforeAll(() => {
  program = new HolderProgram();
});

afterAll(() => program.remove());

async function reason(fault: DmaFault | null | Promise<DmaFault | null>): Promise<string | null> {
  return (await fault)?.reason ?? null;
}

describe.each(KIND_CASES)('$name', (kind) => {
  let world: World;
  let device: KindDevice;
  let handle: DeviceHandle;
  let engine: TestDevice;
  let driver: DeviceHandle;
  let holders: Answerer[];

  beforeEach(async () => {
    world = makeWorld();
    device = kind.make();
    handle = await world.open(device);
    engine = new TestDevice('engine');
    driver = await world.open(engine);
    holders = [];
  });

  afterEach(async () => {
    for (const holder of holders) await holder.stop();
    await world.close();
  });

  /** A process that has the fd of a region and maps all of it. */
  async function holderOf(index: number, sizeBytes: number): Promise<Answerer> {
    const holder = program.start(await handle.regionFd(index));
    holders.push(holder);
    expect(await holder.ask(`map ${indexToOffset(index)} ${sizeBytes}`)).toBe('0');
    return holder;
  }

  const mapMemory = (): Promise<void> =>
    driver.mapPeer(handle, { index: kind.memory, sizeBytes: MEMORY_BYTES, iova: IOVA });

  test('tells its flags, tables and interrupts as linux/vfio.h has them', async () => {
    expect(handle.info).toMatchObject({
      kind: kind.seenAs,
      flags: kind.flags,
      regionCount: kind.regionCount,
      irqCount: kind.irqs.length,
      resettable: true,
    });
    for (const [index, [count, flags]] of kind.irqs.entries()) {
      // An index that is not implemented has no flags.
      expect(await handle.irqInfo(index)).toEqual({ index, count, flags });
    }
    await expect(handle.irqInfo(kind.irqs.length)).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(handle.regionInfo(kind.regionCount)).rejects.toMatchObject({ code: 'EINVAL' });
  });

  test('tells its regions: READ and WRITE, MMAP only of memory, index << 40 as offset (R1)', async () => {
    expect(await handle.regionInfo(kind.control)).toMatchObject({ flags: 3, sizeBytes: 0x1000, areas: [] });
    expect(await handle.regionInfo(kind.memory)).toMatchObject({
      flags: 7,
      sizeBytes: MEMORY_BYTES,
      offset: kind.memory * 2 ** 40,
      areas: [{ offset: 0, size: MEMORY_BYTES, dma: 'allow' }],
    });
    expect(await handle.regionInfo(kind.private)).toMatchObject({
      sizeBytes: PRIVATE_BYTES,
      offset: kind.private * 2 ** 40,
      areas: [{ offset: 0, size: PRIVATE_BYTES, dma: 'deny' }],
    });
  });

  test('R1: /proc/PID/maps of a client shows region and place in the file offset', async () => {
    const holder = await holderOf(kind.memory, MEMORY_BYTES);
    await holder.ask(`map ${indexToOffset(kind.memory) + 0x2000} ${PAGE}`);
    const lines = holder.maps(`/memfd:vfio-region:${kind.memory}:`);
    const offsets = lines.map((line) => Number.parseInt(line.split(/\s+/)[2]!, 16));
    const base = kind.memory * 2 ** 40;
    expect(offsets.sort((a, b) => a - b)).toEqual([base, base + 0x2000]);
  });

  test('R2, R3: its memory is a DMA target of another device where it consents', async () => {
    await mapMemory();
    expect(await engine.dma.write(IOVA + 0x10, Uint8Array.of(1, 2, 3))).toBeNull();
    expect((await handle.mmap(kind.memory)).bytes.subarray(0x10, 0x13)).toEqual(Uint8Array.of(1, 2, 3));
    const denied = { index: kind.private, sizeBytes: PAGE, iova: 0x20_0000 };
    await expect(driver.mapPeer(handle, denied)).rejects.toMatchObject({ code: 'EINVAL' });

    device.region(kind.memory).setConsent(0, 'deny');
    expect(await reason(engine.dma.read(IOVA, new Uint8Array(1)))).toBe('consent was withdrawn');
    device.region(kind.memory).setConsent(0, 'allow');
    expect(await reason(engine.dma.read(IOVA, new Uint8Array(1)))).toBeNull();
  });

  test('R4: what is suspended is reached by nobody', async () => {
    const holder = await holderOf(kind.memory, MEMORY_BYTES);
    expect(await holder.ask('write 0 5 77')).toBe('ok');
    await mapMemory();

    device.suspend('device is stopped');
    expect(await holder.ask('read 0 5')).toBe('ended by SIGBUS');
    await expect(handle.read(kind.memory, 0, new Uint8Array(4))).rejects.toMatchObject({ code: 'EIO' });
    await expect(handle.readRegister(kind.control, 0, 4)).rejects.toMatchObject({ code: 'EIO' });
    expect(await reason(engine.dma.read(IOVA, new Uint8Array(1)))).toBe('device is stopped');
    const again = { index: kind.memory, sizeBytes: PAGE, iova: 0x30_0000 };
    await expect(driver.mapPeer(handle, again)).rejects.toMatchObject({ code: 'EFAULT' });
  });

  test('R4: suspending takes all of its memory in one range', async () => {
    const holder = await holderOf(kind.private, PRIVATE_BYTES);
    expect(device.memoryRange).toEqual({ start: 0, length: kind.regionCount * 2 ** 40 });
    device.suspend('device is stopped');
    expect(await holder.ask('read 0 0')).toBe('ended by SIGBUS');
  });

  test('R7, R8: after resume the same mappings, accesses and DMA find the same bytes', async () => {
    const holder = await holderOf(kind.memory, MEMORY_BYTES);
    expect(await holder.ask('write 0 5 77')).toBe('ok');
    await handle.writeRegister(kind.control, 0, 4, 0xabcd);
    await mapMemory();

    for (let round = 0; round < 2; round++) {
      device.suspend('device is stopped');
      expect(await reason(engine.dma.read(IOVA + 5, new Uint8Array(1)))).toBe('device is stopped');
      device.resume('device is stopped');
      expect(await holder.ask('read 0 5')).toBe('77');
      const target = new Uint8Array(1);
      expect(await engine.dma.read(IOVA + 5, target)).toBeNull();
      expect(target[0]).toBe(77);
      expect(await handle.readRegister(kind.control, 0, 4)).toBe(0xabcd);
    }
  });

  test('R6: release is final, also for who holds the fd', async () => {
    const holder = await holderOf(kind.memory, MEMORY_BYTES);
    await mapMemory();
    device.release();
    expect(await holder.ask('size')).toBe('0');
    expect(await holder.ask('read 0 0')).toBe('ended by SIGBUS');
    expect(await reason(engine.dma.read(IOVA, new Uint8Array(1)))).toBe('device is released');
  });

  test('does DMA to memory of its client', async () => {
    const memory = await handle.dmaMemory(PAGE);
    expect(await device.dma.write(memory.iova + 8, Uint8Array.of(9, 8))).toBeNull();
    expect([...memory.bytes.subarray(8, 10)]).toEqual([9, 8]);
    await memory.close();
    expect(await reason(device.dma.read(memory.iova, new Uint8Array(1)))).toBe('not mapped');
  });

  test('R8: a reset clears registers and what the device says it clears, and nothing else', async () => {
    await handle.writeRegister(kind.control, 0, 4, 0xabcd);
    const shared = await handle.mmap(kind.memory);
    const kept = await handle.mmap(kind.private);
    shared.bytes[0] = 1;
    kept.bytes[0] = 2;
    await handle.reset();
    expect(device.resets).toBe(1);
    expect(await handle.readRegister(kind.control, 0, 4)).toBe(0x1111);
    expect([shared.bytes[0], kept.bytes[0]]).toEqual([0, 2]);
  });

  test('interrupts its client', async () => {
    let hear = (_count: number): void => {};
    const fired = new Promise<number>((resolve) => {
      hear = resolve;
    });
    await handle.onInterrupt(0, 0, hear);
    await handle.writeRegister(kind.control, 4, 4, 1);
    expect(await fired).toBe(1);
  });

  test('keeps its state for the next client', async () => {
    await handle.writeRegister(kind.control, 0, 4, 0xabcd);
    await handle.close();
    handle = await world.open(device);
    expect(await handle.readRegister(kind.control, 0, 4)).toBe(0xabcd);
    expect(device.resets).toBe(0);
  });
});

describe.each(KIND_CASES)('$name, replaced under its client', (kind) => {
  test('is as after a reset, and stays where the client has it', async () => {
    const served = await serveDevice(kind.make());
    const handle = await openDevice(served.path);
    const holder = program.start(await handle.regionFd(kind.private));
    await holder.ask(`map ${indexToOffset(kind.private)} ${PRIVATE_BYTES}`);
    await holder.ask('write 0 0 9');
    await handle.writeRegister(kind.control, 0, 4, 0xabcd);

    const next = kind.make();
    expect(await served.server.replaceDevice(next)).toBe('reset');
    expect(await handle.readRegister(kind.control, 0, 4)).toBe(0x1111);
    expect(await holder.ask('read 0 0')).toBe('9');
    next.suspend('device is stopped');
    expect(await holder.ask('read 0 0')).toBe('ended by SIGBUS');
    await handle.close();
    await served.close();
    next.release();
  });
});

describe('an mdev whose parent is served too', () => {
  test('R4, R7: memory decode of the parent decides over the clients of both', async () => {
    const world = makeWorld();
    const parent = new TestDevice('gpu');
    await world.open(parent);
    const mdev = new PciMdev({ device: parent, region: 2 });
    const handle = await world.open(mdev);
    const engine = new TestDevice('engine');
    const driver = await world.open(engine);
    await driver.mapPeer(handle, { index: 2, sizeBytes: MEMORY_BYTES, iova: IOVA });
    const fd = await handle.regionFd(2);
    const [touching, resting] = [program.start(fd), program.start(fd)];
    for (const holder of [touching, resting]) await holder.ask(`map ${indexToOffset(2)} ${MEMORY_BYTES}`);
    await resting.ask('write 0 5 77');

    parent.suspend('memory decode is off', 0, 6 * 2 ** 40);
    expect(await touching.ask('read 0 5')).toBe('ended by SIGBUS');
    await expect(handle.readRegister(2, 0, 4)).rejects.toMatchObject({ code: 'EIO' });
    expect(await reason(engine.dma.read(IOVA, new Uint8Array(1)))).toBe('parent cannot be reached');
    // Config space is software.
    expect(await handle.readRegister(7, 0, 2)).toBe(0x1234);

    parent.resume('memory decode is off');
    expect(await resting.ask('read 0 5')).toBe('77');
    const target = new Uint8Array(1);
    expect(await engine.dma.read(IOVA + 5, target)).toBeNull();
    expect(target[0]).toBe(77);

    parent.release();
    expect(await resting.ask('read 0 5')).toBe('ended by SIGBUS');
    expect(await reason(engine.dma.read(IOVA, new Uint8Array(1)))).toBe('device is released');
    await world.close();
  });
});
