import { describe, expect, test } from 'vitest';
import { codeOf, deviceWithRegion, fdCount, mapsOf } from '../../test/support/memory.ts';
import { indexToOffset, PAGE_SIZE, VfioDevice } from '../core/index.ts';
import { openSys } from '../sys/index.ts';
import { attachMemory } from './attach.ts';
import type { LiveRegionMemory } from './live-region.ts';
import { RegionRegistry } from './registry.ts';

const sys = openSys();
const memoryOf = (device: VfioDevice): LiveRegionMemory => device.region(2).memory as LiveRegionMemory;

describe('attachMemory', () => {
  test('gives each mappable region memory, registers it, and takes it back', () => {
    const fds = fdCount();
    const registry = new RegionRegistry();
    const areas = [{ offset: 0, size: PAGE_SIZE, dma: 'allow' as const }];
    const device = new VfioDevice({
      name: 'card',
      kind: 'pci',
      regions: [
        { index: 0, sizeBytes: PAGE_SIZE, areas },
        { index: 1, sizeBytes: PAGE_SIZE },
        { index: 4, sizeBytes: 2 * PAGE_SIZE, areas },
      ],
      irqs: [],
    });
    const detach = attachMemory(device, sys, { registry });
    expect([0, 1, 4].map((index) => device.region(index).memory !== null)).toEqual([true, false, true]);
    expect(registry.size).toBe(2);
    expect(device.addressSpace.size).toBe(2);
    const memory = device.region(4).memory as LiveRegionMemory;
    expect(registry.regionOf(sys.identity(memory.shareFd()))).toBe(device.region(4));
    memory.bytesAt(0);

    detach();
    detach();
    expect([registry.size, device.addressSpace.size, fdCount()]).toEqual([0, 0, fds]);
    expect(device.region(4).memory).toBeNull();
    expect(device.addressSpace.onZap).toBeNull();
    expect(mapsOf(':card')).toEqual([]);
  });

  test('several users share the memory; it goes with the last', () => {
    const device = deviceWithRegion(2, PAGE_SIZE);
    const first = attachMemory(device, sys);
    const memory = memoryOf(device);
    const second = attachMemory(device, sys);
    expect(memoryOf(device)).toBe(memory);
    memory.bytesAt(0)[0] = 1;
    first();
    expect(memoryOf(device).bytesAt(0)[0]).toBe(1);
    second();
    expect(device.region(2).memory).toBeNull();
    attachMemory(device, sys)();
  });

  test('a device that starts suspended is cheap: no copy, no mapping', () => {
    const device = deviceWithRegion(2, 2 ** 36);
    device.suspend('memory decode is off');
    const detach = attachMemory(device, sys);
    expect(memoryOf(device).suspended).toBe(true);
    expect(sys.identity(memoryOf(device).shareFd()).sizeBytes).toBe(0);
    device.resume('memory decode is off');
    expect(sys.identity(memoryOf(device).shareFd()).sizeBytes).toBe(indexToOffset(2) + 2 ** 36);
    expect(mapsOf(':card')).toEqual([]);
    detach();
  });

  test('a device that was released has no memory any more, and its file is not ours any more', () => {
    const registry = new RegionRegistry();
    const device = deviceWithRegion(2, PAGE_SIZE);
    const detach = attachMemory(device, sys, { registry });
    device.release();
    expect(registry.size).toBe(0);
    expect(memoryOf(device).bytesAt(0).length).toBe(0);
    detach();
    expect(codeOf(() => attachMemory(device, sys))).toBe('ENODEV');
  });

  test('consent that changes before the fd is given away is in its name, and the registry follows', () => {
    const registry = new RegionRegistry();
    const device = deviceWithRegion(2, PAGE_SIZE, 'deny');
    const detach = attachMemory(device, sys, { registry });
    device.region(2).setConsent(0, 'allow');
    const fd = memoryOf(device).shareFd();
    expect(sys.fdName(fd)).toContain('vfio-region:2:1000:allow:card');
    expect(registry.regionOf(sys.identity(fd))).toBe(device.region(2));
    expect(registry.size).toBe(1);
    detach();
    expect(registry.size).toBe(0);
  });

  test('a zap of a region that can be reached takes nothing away; it would fault in again', () => {
    const device = deviceWithRegion(2, PAGE_SIZE);
    const detach = attachMemory(device, sys);
    memoryOf(device).shareFd();
    expect(device.addressSpace.unmapMappingRange(0, indexToOffset(6))).toBe(1);
    expect(memoryOf(device).suspended).toBe(false);
    detach();
  });
});
