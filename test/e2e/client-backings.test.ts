/*
 * One device, opened in every way there is: a driver must not be able to tell them apart. Each test knows the device
 * object itself, so what it expects is what the device holds and not what another backing says.
 */
import { readdirSync } from 'node:fs';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ERRNO } from '../../src/abi/index.ts';
import type { DeviceHandle } from '../../src/client/index.ts';
import { type DmaFault, indexToOffset, type Region } from '../../src/core/index.ts';
import { FakeSys } from '../../src/sys/fake.ts';
import { openSys } from '../../src/sys/index.ts';
import { BACKINGS, MIXED, type World } from '../support/backings.ts';
import { BAR2_BYTES, INTX, MSIX, MSIX_VECTORS, REGISTER, TestDevice } from '../support/test-device.ts';

const PAGE = 4096;

/** What the device's own code sees of a region's memory. */
function peek(region: Region, offset: number, count: number): number[] {
  const view = new DataView(new ArrayBuffer(count));
  expect(region.readMemory(offset, count, view, 0)).toBe(0);
  return [...new Uint8Array(view.buffer)];
}

function poke(region: Region, offset: number, ...bytes: number[]): void {
  const view = new DataView(Uint8Array.from(bytes).buffer);
  expect(region.writeMemory(offset, bytes.length, view, 0)).toBe(0);
}

async function reason(fault: DmaFault | null | Promise<DmaFault | null>): Promise<string | null> {
  return (await fault)?.reason ?? null;
}

describe.each(BACKINGS)('%s', (_name, makeWorld) => {
  let world: World;
  let device: TestDevice;
  let handle: DeviceHandle;
  let fdsBefore: number;
  let countsBefore: unknown;
  let live: boolean;

  const openFds = (): number => readdirSync('/proc/self/fd').length;
  const counts = (): unknown => {
    const { mappings, connections, watchers } = openSys().counts();
    return { mappings, connections, watchers };
  };

  beforeAll(async () => {
    // What the process opens once and for all (the addon, Node's loop) is open when the fds are counted.
    const first = makeWorld();
    await (await first.open(new TestDevice())).mmap(2);
    await first.close();
  });

  beforeEach(async () => {
    fdsBefore = openFds();
    countsBefore = counts();
    world = makeWorld();
    device = new TestDevice();
    handle = await world.open(device);
    live = !(world.sys instanceof FakeSys);
  });

  afterEach(async () => {
    await world.close();
    await expect.poll(openFds).toBe(fdsBefore);
    await expect.poll(counts).toEqual(countsBefore);
  });

  describe('info', () => {
    test('of the device', () => {
      // PCI and RESET of vfio_device_info's flags; regions 0 to 9; five interrupt indexes.
      expect(handle.info).toMatchObject({
        kind: 'pci',
        flags: 3,
        regionCount: 10,
        irqCount: 5,
        resettable: true,
      });
      expect(handle.open).toBe(true);
    });

    test('of regions, consent included', async () => {
      expect(await handle.regionInfo(2)).toMatchObject({
        index: 2,
        flags: 7,
        sizeBytes: BAR2_BYTES,
        offset: indexToOffset(2),
        areas: [{ offset: 0, size: BAR2_BYTES, dma: 'allow' }],
        mappable: true,
      });
      expect(await handle.regionInfo(3)).toMatchObject({
        flags: 15,
        areas: [
          { offset: 0x1000, size: 0x1000, dma: 'allow' },
          { offset: 0x8000, size: 0x8000, dma: 'deny' },
        ],
      });
      expect(await handle.regionInfo(9)).toMatchObject({ flags: 15, type: { type: 0x80001234, subtype: 7 } });
      expect(await handle.regionInfo(1)).toMatchObject({ flags: 1, areas: [], mappable: false });
      expect(await handle.regionInfo(5)).toMatchObject({ flags: 0, sizeBytes: 0, offset: indexToOffset(5) });
      await expect(handle.regionInfo(10)).rejects.toMatchObject({ code: 'EINVAL' });
    });

    test('of interrupts', async () => {
      expect(await handle.irqInfo(MSIX)).toEqual({ index: MSIX, flags: 1, count: MSIX_VECTORS });
      expect(await handle.irqInfo(1)).toEqual({ index: 1, flags: 0, count: 0 });
      await expect(handle.irqInfo(5)).rejects.toMatchObject({ code: 'EINVAL' });
    });
  });

  describe('accesses', () => {
    test('of every width reach the handler', async () => {
      await handle.writeRegister(0, 0x10, 1, 0xa1);
      await handle.writeRegister(0, 0x12, 2, 0xb2b1);
      await handle.writeRegister(0, 0x14, 4, 0xc4c3c2c1);
      await handle.writeRegister(0, 0x18, 8, 0xd8d7d6d5d4d3d2d1n);
      expect([...device.bytes.subarray(0x10, 0x20)]).toEqual([
        0xa1, 0, 0xb1, 0xb2, 0xc1, 0xc2, 0xc3, 0xc4, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8,
      ]);
      expect(await handle.readRegister(0, 0x10, 1)).toBe(0xa1);
      expect(await handle.readRegister(0, 0x12, 2)).toBe(0xb2b1);
      expect(await handle.readRegister(0, 0x14, 4)).toBe(0xc4c3c2c1);
      expect(await handle.readRegister(0, 0x18, 8)).toBe(0xd8d7d6d5d4d3d2d1n);
      expect(device.writes.map(({ offset, count }) => [offset, count])).toEqual([
        [0x10, 1],
        [0x12, 2],
        [0x14, 4],
        [0x18, 8],
      ]);
    });

    test('of blocks, to memory', async () => {
      const source = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 31) & 0xff);
      await handle.write(2, 12_345, source);
      expect(peek(device.region(2), 12_345, 4)).toEqual([...source.subarray(0, 4)]);
      const target = new Uint8Array(100_000);
      await handle.read(2, 12_345, target);
      expect(Buffer.compare(source, target)).toBe(0);
    });

    test.each([
      ['outside the region', 0, 0xffe, 'EINVAL'],
      ['of a region that the device does not have', 5, 0, 'EINVAL'],
      ['of no region', 77, 0, 'EINVAL'],
      ['of a region that cannot be read', 4, 0, 'EINVAL'],
      ['that the device refuses', 0, REGISTER.ENODEV, 'ENODEV'],
      ['at a negative offset', 0, -4, 'EINVAL'],
    ])('%s: the errno is the same', async (_case, index, offset, code) => {
      await expect(handle.readRegister(index, offset, 4)).rejects.toMatchObject({ code });
      await expect(handle.read(index, offset, new Uint8Array(4))).rejects.toMatchObject({ code });
    });

    test('a read-only region refuses writes', async () => {
      await expect(handle.writeRegister(1, 0, 4, 1)).rejects.toMatchObject({ code: 'EINVAL' });
      expect(await handle.readRegister(1, 0, 4)).toBe(0x11111111);
    });

    test('wait for a device that takes its time, in order', async () => {
      let openGate = (): void => undefined;
      device.gate = new Promise((resolve) => {
        openGate = resolve;
      });
      const slow = handle.writeRegister(0, REGISTER.SLOW, 4, 7);
      handle.postRegister(0, 0x20, 4, 8);
      const fence = handle.readRegister(0, 0x20, 4);
      const last = handle.readRegister(0, REGISTER.SLOW, 4);
      await new Promise((resolve) => setTimeout(resolve, 30));
      expect(device.writes).toEqual([]);
      openGate();
      await slow;
      expect([await fence, await last]).toEqual([8, 7]);
      expect(device.writes.map(({ value }) => value)).toEqual([7, 8]);
    });

    test('in batches are done in order, and stop at the first failure', async () => {
      await handle.writeMulti([
        { index: 0, offset: 0x10, widthBytes: 4, value: 1 },
        { index: 0, offset: 0x18, widthBytes: 8, value: 2n },
        { index: 0, offset: 0x10, widthBytes: 1, value: 3 },
      ]);
      expect(device.writes.map(({ offset, value }) => [offset, value])).toEqual([
        [0x10, 1],
        [0x18, 2],
        [0x10, 3],
      ]);
    });

    test('posted: what the device refuses is not told', async () => {
      handle.postRegister(0, REGISTER.ENODEV, 4, 1);
      handle.post(77, 0, new Uint8Array(4));
      handle.post(0, 0x30, Uint8Array.of(1, 2, 3));
      expect(await handle.readRegister(0, 0x30, 4)).toBe(0x030201);
    });
  });

  describe('R4: while the memory cannot be reached', () => {
    test('messages are EIO, config space is not, and it comes back with its contents (R7, R8)', async () => {
      await handle.writeRegister(2, 0x100, 4, 0xdada);
      device.suspend('memory decode is off');
      await expect(handle.readRegister(2, 0x100, 4)).rejects.toMatchObject({ code: 'EIO' });
      await expect(handle.writeRegister(2, 0x100, 4, 0)).rejects.toMatchObject({ code: 'EIO' });
      await handle.writeRegister(7, 0x40, 4, 5);
      device.resume('memory decode is off');
      expect(await handle.readRegister(2, 0x100, 4)).toBe(0xdada);
    });

    test('a mapping is lost when it is touched, and can be restored afterwards', async () => {
      const mapping = await handle.mmap(2, 0x1000, 0x2000);
      mapping.bytes[0] = 0x77;
      expect(peek(device.region(2), 0x1000, 1)).toEqual([0x77]);
      device.suspend('device is in D3hot');
      // The fake loses a window without a touch, and does not clear what it shows.
      if (live) expect(mapping.bytes[0]).toBe(0);
      expect(mapping.lost).toBe(true);
      expect(() => mapping.restore()).toThrow(expect.objectContaining({ code: 'EIO' }));
      await expect(handle.mmap(2)).rejects.toMatchObject({ code: 'EIO' });
      device.resume('device is in D3hot');
      mapping.restore();
      expect([mapping.bytes[0], mapping.lost]).toEqual([0x77, false]);
      mapping.bytes[1] = 0x78;
      if (live) expect(peek(device.region(2), 0x1000, 2)).toEqual([0x77, 0x78]);
    });
  });

  describe('mmap', () => {
    test('of a sparse region needs a range inside one of its parts', async () => {
      await expect(handle.mmap(3)).rejects.toMatchObject({ code: 'EINVAL' });
      await expect(handle.mmap(3, 0, PAGE)).rejects.toMatchObject({ code: 'EINVAL' });
      await expect(handle.mmap(3, 0x1000, 2 * PAGE)).rejects.toMatchObject({ code: 'EINVAL' });
      await expect(handle.mmap(3, 0x8001, PAGE)).rejects.toMatchObject({ code: 'EINVAL' });
      const mapping = await handle.mmap(3, 0x9000, PAGE);
      mapping.bytes[3] = 0x31;
      expect(peek(device.region(3), 0x9003, 1)).toEqual([0x31]);
      mapping.unmap();
      expect(mapping.bytes.length).toBe(0);
      const whole = await handle.mmap(9);
      expect([whole.offset, whole.sizeBytes]).toEqual([0x1000, 0x1000]);
    });

    test.each([0, 7, 5])('of region %i, which has no mappable part, is EINVAL', async (index) => {
      await expect(handle.mmap(index)).rejects.toMatchObject({ code: 'EINVAL' });
      await expect(handle.regionFd(index)).rejects.toMatchObject({ code: 'EINVAL' });
    });

    test('the fd of a region holds it at `offset`', async () => {
      poke(device.region(2), 0x2000, 1, 2, 3);
      const mapping = world.sys.map(await handle.regionFd(2), indexToOffset(2) + 0x2000, PAGE, 'r');
      expect([...mapping.bytes.subarray(0, 3)]).toEqual([1, 2, 3]);
      mapping.unmap();
    });
  });

  describe('interrupts', () => {
    test('call the listener later, once for what was signalled meanwhile', async () => {
      const calls: number[] = [];
      const off = await handle.onInterrupt(MSIX, 3, (count) => calls.push(count));
      const irq = device.irqs[MSIX]!;
      expect([irq.raise(3), irq.raise(3), irq.raise(4)]).toEqual([true, true, false]);
      expect(calls).toEqual([]);
      await expect.poll(() => calls).toEqual([2]);
      irq.raise(3);
      await expect.poll(() => calls).toEqual([2, 1]);
      await off();
      expect(irq.wired(3)).toBe(false);
      irq.raise(3);
      await new Promise((resolve) => setTimeout(resolve, 10));
      expect(calls).toEqual([2, 1]);
    });

    test('that waited are delivered when they are wired', async () => {
      device.irqs[MSIX]!.raise(9);
      const calls: number[] = [];
      await handle.onInterrupt(MSIX, 9, (count) => calls.push(count));
      await expect.poll(() => calls).toEqual([1]);
    });

    test('of a level line fire once, and again after unmask while it is asserted', async () => {
      let fired = 0;
      await handle.onInterrupt(INTX, 0, () => {
        fired++;
      });
      const irq = device.irqs[INTX]!;
      irq.raise(0);
      await expect.poll(() => fired).toBe(1);
      expect(irq.masked(0)).toBe(true);
      await handle.unmask(INTX);
      await expect.poll(() => fired).toBe(2);
      irq.lower();
      await handle.unmask(INTX);
      await new Promise((resolve) => setTimeout(resolve, 10));
      expect(fired).toBe(2);
    });

    test('by eventfds of the caller', async () => {
      const fd = world.sys.eventfd();
      const request = {
        index: MSIX,
        action: 'trigger',
        data: 'eventfd',
        start: 1,
        eventfds: [fd, null],
      } as const;
      await handle.setIrqs(request);
      device.irqs[MSIX]!.raise(1);
      expect(world.sys.eventfdRead(fd)).toBe(1);
      // A loopback test of vectors 0 and 1; only 1 is wired.
      await handle.setIrqs({ index: MSIX, action: 'trigger', data: 'bool', bools: Uint8Array.of(1, 1) });
      expect(world.sys.eventfdRead(fd)).toBe(1);
      await handle.setIrqs({ index: MSIX, action: 'trigger', data: 'none' });
      expect(device.irqs[MSIX]!.enabled).toBe(false);
      world.sys.close(fd);
    });

    test.each([
      ['masking what cannot be masked', { index: MSIX, action: 'mask', data: 'none', count: 1 }, 'ENOTTY'],
      [
        'vectors that are not there',
        { index: MSIX, action: 'trigger', data: 'none', start: 15, count: 2 },
        'EINVAL',
      ],
      ['an index that is not there', { index: 5, action: 'trigger', data: 'none' }, 'EINVAL'],
    ] as const)('refuse %s', async (_case, request, code) => {
      await expect(handle.setIrqs(request)).rejects.toMatchObject({ code });
      await expect(handle.onInterrupt(MSIX, MSIX_VECTORS, () => undefined)).rejects.toMatchObject({
        code: 'EINVAL',
      });
    });
  });

  describe('DMA', () => {
    test('to memory of the client', async () => {
      const memory = await handle.dmaMemory(3 * PAGE);
      memory.bytes.set([1, 2, 3], 0x1ffe);
      const target = new Uint8Array(4);
      expect(await device.dma.read(memory.iova + 0x1ffd, target)).toBeNull();
      expect([...target]).toEqual([0, 1, 2, 3]);
      expect(await device.dma.write(memory.iova + 8, Uint8Array.of(9, 8))).toBeNull();
      expect([...memory.bytes.subarray(8, 10)]).toEqual([9, 8]);
      expect(await reason(device.dma.read(memory.iova + 3 * PAGE - 2, target))).toBe('not mapped');
      await memory.close();
      expect(await reason(device.dma.read(memory.iova, target))).toBe('not mapped');
    });

    test('to a part of a file, with rights', async () => {
      const { sys } = world;
      const fd = sys.memfdCreate('client');
      sys.ftruncate(fd, 4 * PAGE);
      const file = sys.map(fd, 0, 4 * PAGE, 'rw');
      await handle.dmaMap({ iova: 0x10000, sizeBytes: PAGE, fd, offset: 2 * PAGE, write: false });
      await handle.dmaMap({ iova: 0x20000, sizeBytes: PAGE, fd, offset: 2 * PAGE, read: false });
      sys.close(fd);
      expect(await device.dma.write(0x20004, Uint8Array.of(7))).toBeNull();
      expect(file.bytes[2 * PAGE + 4]).toBe(7);
      const target = new Uint8Array(1);
      expect(await device.dma.read(0x10004, target)).toBeNull();
      expect(target[0]).toBe(7);
      expect(await reason(device.dma.write(0x10000, target))).toBe('write is not allowed');
      expect(await reason(device.dma.read(0x20000, target))).toBe('read is not allowed');
      file.unmap();
    });

    test('to memory that is not shared, by messages', async () => {
      const bytes = new Uint8Array(2 * PAGE);
      await handle.dmaMap({ iova: 0x10000, sizeBytes: 2 * PAGE, bytes });
      expect(await device.dma.write(0x10000 + PAGE - 1, Uint8Array.of(5, 6))).toBeNull();
      expect([...bytes.subarray(PAGE - 1, PAGE + 1)]).toEqual([5, 6]);
      const target = new Uint8Array(2);
      expect(await device.dma.read(0x10000 + PAGE - 1, target)).toBeNull();
      expect([...target]).toEqual([5, 6]);
      await handle.dmaUnmap(0x10000, 2 * PAGE);
      expect(await reason(device.dma.read(0x10000, target))).toBe('not mapped');
    });

    test('unmapping is that of type1', async () => {
      const bytes = new Uint8Array(2 * PAGE);
      for (const iova of [0x10000, 0x12000, 0x20000])
        await handle.dmaMap({ iova, sizeBytes: 2 * PAGE, bytes });
      await expect(handle.dmaMap({ iova: 0x11000, sizeBytes: PAGE, bytes })).rejects.toMatchObject({
        code: 'EEXIST',
      });
      await expect(handle.dmaUnmap(0x10000, PAGE)).rejects.toMatchObject({ code: 'EINVAL' });
      await expect(handle.dmaUnmap(0x10000, 0x800)).rejects.toMatchObject({ code: 'EINVAL' });
      expect(await handle.dmaUnmap(0xf000, 0x6000)).toBe(4 * PAGE);
      expect(await handle.dmaUnmap(0x10000, 0x4000)).toBe(0);
      expect(await handle.dmaUnmap(0, 0, { all: true })).toBe(2 * PAGE);
      await handle.dmaMap({ iova: 0x11000, sizeBytes: PAGE, bytes });
    });

    test.each([
      ['neither right', { iova: 0, sizeBytes: PAGE, read: false, write: false }, 'EINVAL'],
      ['half a page', { iova: 0, sizeBytes: 0x800 }, 'EINVAL'],
      ['an iova that is no page', { iova: 0x800, sizeBytes: PAGE }, 'EINVAL'],
      ['the first iova beyond the address space', { iova: 2 ** 53, sizeBytes: PAGE }, 'EOVERFLOW'],
      ['an iova beyond what numbers hold', { iova: 2 ** 60, sizeBytes: PAGE }, 'EOVERFLOW'],
    ])('refuses a mapping with %s', async (_case, request, code) => {
      const bytes = new Uint8Array(PAGE);
      await expect(handle.dmaMap({ ...request, bytes })).rejects.toMatchObject({ code });
    });

    test('an fd that is no memory is refused, and stays open', async () => {
      const fd = world.sys.eventfd();
      await expect(handle.dmaMap({ iova: 0, sizeBytes: PAGE, fd })).rejects.toMatchObject({ code: 'EINVAL' });
      world.sys.close(fd);
    });
  });

  describe('memory of a peer', () => {
    let peerDevice: TestDevice;
    let peer: DeviceHandle;

    beforeEach(async () => {
      peerDevice = new TestDevice('peer');
      peer = await world.open(peerDevice);
    });

    test('is reached by DMA where its driver consented (R3)', async () => {
      await handle.mapPeer(peer, { index: 2, offset: 0x4000, sizeBytes: 0x2000, iova: 0xc000 });
      expect(await device.dma.write(0xc010, Uint8Array.of(1, 2, 3))).toBeNull();
      expect(peek(peerDevice.region(2), 0x4010, 3)).toEqual([1, 2, 3]);
      const area = { index: 3, offset: 0x1000, sizeBytes: PAGE, iova: 0x20000 };
      await handle.mapPeer(peer, area);
      const denied = { index: 3, offset: 0x8000, sizeBytes: PAGE, iova: 0x30000 };
      await expect(handle.mapPeer(peer, denied)).rejects.toMatchObject({ code: 'EINVAL' });
      expect(await reason(device.dma.read(0x30000, new Uint8Array(1)))).toBe('not mapped');
    });

    test('is out of reach while the peer is suspended, with the reason, and comes back by itself (R4, R7)', async () => {
      await handle.mapPeer(peer, { index: 2, sizeBytes: PAGE, iova: 0xc000 });
      poke(peerDevice.region(2), 0, 0x61);
      const target = new Uint8Array(1);
      peerDevice.suspend('memory decode is off');
      expect(await reason(device.dma.read(0xc000, target))).toBe('memory decode is off');
      peerDevice.resume('memory decode is off');
      expect(await device.dma.read(0xc000, target)).toBeNull();
      expect(target[0]).toBe(0x61);
      peerDevice.release();
      expect(await reason(device.dma.read(0xc000, target))).toBe('device is released');
    });

    test('that is suspended cannot be mapped: EFAULT, as type1 for a BAR without memory decode', async () => {
      await peer.mmap(2);
      peerDevice.suspend('memory decode is off');
      const request = { index: 2, sizeBytes: PAGE, iova: 0xc000 };
      await expect(handle.mapPeer(peer, request)).rejects.toMatchObject({ code: 'EFAULT' });
    });

    test('may be its own', async () => {
      await handle.mapPeer(handle, { index: 2, sizeBytes: PAGE, iova: 0xc000 });
      expect(await device.dma.write(0xc000, Uint8Array.of(4))).toBeNull();
      expect(peek(device.region(2), 0, 1)).toEqual([4]);
    });

    test('by messages goes through region accesses, where a range that is not mappable can be reached too', async () => {
      await handle.mapPeer(peer, { index: 0, sizeBytes: PAGE, iova: 0xc000, byMessages: true });
      expect(await device.dma.write(0xc040, Uint8Array.of(1, 2))).toBeNull();
      expect([...peerDevice.bytes.subarray(0x40, 0x42)]).toEqual([1, 2]);
      const fault = await device.dma.read(0xc000 + REGISTER.ENODEV, new Uint8Array(4));
      expect(fault).toMatchObject({ reason: 'message failed', errno: ERRNO.ENODEV });
    });
  });

  describe('reset', () => {
    test('is the device’s', async () => {
      await handle.writeRegister(0, 0x10, 4, 5);
      await handle.reset();
      expect(device.calls).toContain('reset');
      expect(await handle.readRegister(0, 0x10, 4)).toBe(0);
    });
  });

  describe('the end', () => {
    test('by close leaves nothing of the client, and the device as it was', async () => {
      const memory = await handle.dmaMemory(PAGE);
      await handle.onInterrupt(MSIX, 0, () => undefined);
      const mapping = await handle.mmap(2);
      mapping.bytes[0] = 0x55;
      expect(device.dma.attached).toBe(true);
      await handle.close();
      expect(await handle.closed).toBeNull();
      await expect.poll(() => device.calls).toEqual(['opened', 'closed']);
      expect([device.dma.attached, device.irqs[MSIX]!.enabled]).toEqual([false, false]);
      expect([mapping.bytes.length, memory.bytes.length, handle.open]).toEqual([0, 0, false]);
      await expect(handle.readRegister(0, 0, 4)).rejects.toMatchObject({ code: 'EBADF' });
      await expect(handle.regionInfo(0)).rejects.toMatchObject({ code: 'EBADF' });
      await expect(handle.dmaMemory(PAGE)).rejects.toMatchObject({ code: 'EBADF' });
      await expect(handle.reset()).rejects.toMatchObject({ code: 'EBADF' });
      expect(() => handle.post(0, 0, new Uint8Array(4))).toThrow(expect.objectContaining({ code: 'EBADF' }));
      await memory.close();
      mapping.unmap();

      const again = await world.open(device);
      expect(await again.readRegister(2, 0, 1)).toBe(0x55);
    });

    test('by close rejects what the device has not answered', async () => {
      let openGate = (): void => undefined;
      device.gate = new Promise((resolve) => {
        openGate = resolve;
      });
      const slow = handle.writeRegister(0, REGISTER.SLOW, 4, 7);
      const behind = handle.readRegister(0, 0, 4);
      await new Promise((resolve) => setTimeout(resolve, 10));
      const closing = handle.close();
      await expect(slow).rejects.toMatchObject({ code: 'EBADF' });
      await expect(behind).rejects.toMatchObject({ code: 'EBADF' });
      await closing;
      openGate();
    });

    test('a second client is EBUSY as long as there is a first', async () => {
      await expect(world.open(device)).rejects.toMatchObject({ code: 'EBUSY' });
      await handle.close();
      await (await world.open(device)).close();
    });

    test('of the device is told', async () => {
      device.release();
      await expect(handle.readRegister(2, 0, 4)).rejects.toMatchObject({
        code: expect.stringMatching(/EIO|ENODEV/),
      });
    });
  });
});

describe.each(MIXED)('memory of a peer, %s', (_name, makeFirst, makeSecond) => {
  test('has the same rules', async () => {
    const first = makeFirst();
    const second = makeSecond();
    const device = new TestDevice('initiator');
    const peerDevice = new TestDevice('target');
    const handle = await first.open(device);
    const peer = await second.open(peerDevice);
    await handle.mapPeer(peer, { index: 2, offset: 0x1000, sizeBytes: PAGE, iova: 0xc000 });
    expect(await device.dma.write(0xc000, Uint8Array.of(1, 2))).toBeNull();
    expect(peek(peerDevice.region(2), 0x1000, 2)).toEqual([1, 2]);
    const denied = { index: 3, offset: 0x8000, sizeBytes: PAGE, iova: 0x30000 };
    await expect(handle.mapPeer(peer, denied)).rejects.toMatchObject({ code: 'EINVAL' });
    peerDevice.suspend('device is in D3hot');
    expect(await reason(device.dma.read(0xc000, new Uint8Array(1)))).toBe('device is in D3hot');
    peerDevice.resume('device is in D3hot');
    expect(await device.dma.read(0xc000, new Uint8Array(1))).toBeNull();
    await first.close();
    await second.close();
  });
});

test('a device that is served has no room for a client in the process', async () => {
  const [, makeServed] = BACKINGS.find(([name]) => name === 'behind a socket')!;
  const served = makeServed();
  const device = new TestDevice();
  await served.open(device);
  const { openDevice } = await import('../../src/client/index.ts');
  await expect(openDevice(device)).rejects.toMatchObject({ code: 'EBUSY' });
  await served.close();
  await expect(openDevice(device)).rejects.toMatchObject({ code: 'ENODEV' });
});
