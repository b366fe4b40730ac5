/*
 * The room over FakeSys: what the tests of the server and the client rely on when they have no kernel underneath.
 */
import { expect, test } from 'vitest';
import { deviceWithRegion } from '../../test/support/memory.ts';
import { Container, indexToOffset, isDmaFault, PAGE_SIZE } from '../core/index.ts';
import { FakeSys } from '../sys/fake.ts';
import { attachMemory } from './attach.ts';
import { classify } from './classify.ts';
import { ClientFiles } from './client-files.ts';
import { DmaEngine } from './dma-engine.ts';
import type { LiveRegionMemory } from './live-region.ts';
import { SealedMemory } from './own-memory.ts';
import { RegionRegistry } from './registry.ts';

const SIZE = 4 * PAGE_SIZE;

test('a region is cut off and comes back with its contents, in the same file', () => {
  const sys = new FakeSys();
  const device = deviceWithRegion(2, SIZE);
  const detach = attachMemory(device, sys);
  const memory = device.region(2).memory as LiveRegionMemory;
  const fd = sys.dup(memory.shareFd());
  memory.bytesAt(0)[5] = 55;
  device.suspend('memory decode is off');
  expect(sys.identity(fd).sizeBytes).toBe(0);
  expect(memory.bytesAt(0)[5]).toBe(55);
  memory.bytesAt(0)[6] = 66;
  device.resume('memory decode is off');
  const target = new Uint8Array(2);
  expect(sys.pread(fd, target, 0, 2, indexToOffset(2) + 5)).toBe(2);
  expect([...target]).toEqual([55, 66]);
  expect(sys.identity(fd)).toEqual(memory.identity);
  sys.close(fd);
  detach();
  expect([sys.openFds, sys.counts().mappings]).toEqual([0, 0]);
});

test('DMA reaches sealed memory and device memory, faults when they go, and leaves nothing', () => {
  const sys = new FakeSys();
  const device = deviceWithRegion(2, SIZE);
  const detach = attachMemory(device, sys);
  const memory = device.region(2).memory as LiveRegionMemory;
  const ram = new SealedMemory(sys, SIZE);
  const container = new Container();
  const engine = new DmaEngine(container, sys, null);
  const context = { sys, files: ClientFiles.of(sys), registry: RegionRegistry.of(sys) };
  const rights = { read: true, write: true };
  const map = (iova: number, fd: number, offset: number): void => {
    const request = {
      fd: sys.dup(fd),
      offset,
      size: SIZE,
      iova,
      ...rights,
      mode: 'any',
      peerPid: null,
    } as const;
    container.map({ iova, size: SIZE, ...rights, source: classify(request, context) });
  };
  map(0, ram.fd, 0);
  map(SIZE, memory.shareFd(), indexToOffset(2));

  expect(engine.write(SIZE - 2, Uint8Array.of(1, 2, 3, 4))).toBeNull();
  expect([...ram.bytes.subarray(SIZE - 2)]).toEqual([1, 2]);
  expect([...memory.bytesAt(0).subarray(0, 2)]).toEqual([3, 4]);
  const window = engine.window(SIZE, 8, true);
  if (isDmaFault(window)) throw new Error(window.reason);
  window.bytes[7] = 8;
  expect(memory.bytesAt(0)[7]).toBe(8);
  device.suspend('device is in D3hot');
  expect([window.dead, window.bytes.length]).toEqual(['device is in D3hot', 0]);
  expect(engine.read(SIZE, new Uint8Array(1))).toMatchObject({ reason: 'device is in D3hot' });
  device.resume('device is in D3hot');
  expect(engine.read(SIZE, new Uint8Array(1))).toBeNull();

  engine.close();
  container.close();
  ram.close();
  detach();
  expect([sys.openFds, sys.counts().mappings]).toEqual([0, 0]);
});
