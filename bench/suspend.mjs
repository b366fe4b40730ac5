/*
 * What it costs to take a region away from everybody and to give it back, with clients holding its memory.
 */

import { attachMemory } from 'vfio/memory';
import { PciDevice } from 'vfio/pci';
import { openSys } from 'vfio/sys';
import { median } from './tools.mjs';

const REGION_BYTES = 64 << 20;
const PAGE_BYTES = 4096;

/** Median ns of suspend + resume of one region whose fd was given away, with `mebibytes` of it populated. */
export async function measureSuspend(mebibytes, times) {
  const device = new PciDevice({
    name: 'suspended',
    vendorId: 0x1234,
    deviceId: 0x0001,
    classCode: 0xff0000,
    bars: { 0: { type: 'mem32', sizeBytes: REGION_BYTES, mappable: true } },
  });
  const detach = attachMemory(device, openSys());
  device.opened();
  const { memory } = device.region(0);
  memory.shareFd();
  for (let offset = 0; offset < mebibytes << 20; offset += PAGE_BYTES) {
    memory.bytesAt(offset)[offset - memory.windowStart(offset)] = 1;
  }
  const samples = [];
  for (let i = 0; i < times; i++) {
    const started = process.hrtime.bigint();
    device.suspend('device is stopped');
    device.resume('device is stopped');
    samples.push(Number(process.hrtime.bigint() - started));
  }
  device.release();
  detach?.();
  return median(samples);
}
