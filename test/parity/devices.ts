/*
 * The probe's devices, made of our classes: the same ids, regions, power states and resets as QEMU's devices had behind
 * vfio-pci. What vfio-pci's COMMAND showed at open (0103) is what that machine's firmware and kernel had left there.
 */
import { PciDevice, type PciDeviceSpec } from '../../src/bus/pci/index.ts';
import { Edu } from '../../src/devices/index.ts';
import type { DeviceName } from './world.ts';

/** PCI addresses in the probed machine, as the records have them. */
export const PROBED_ADDRESS: Readonly<Record<DeviceName, string>> = {
  edu: '0000:00:04.0',
  ivshmem: '0000:00:05.0',
  nvme: '0000:00:06.0',
  pcitestdev: '0000:00:07.0',
};

export const DEVICES: readonly DeviceName[] = ['edu', 'ivshmem', 'nvme', 'pcitestdev'];

const MIB = 2 ** 20;
/** I/O and memory decode, SERR#. */
const COMMAND_AT_OPEN = 0x0103;

/** ivshmem-plain: 256 bytes of registers, 1 MiB of shared memory, no interrupt, no reset, no power states. */
const IVSHMEM: PciDeviceSpec = {
  name: 'ivshmem',
  vendorId: 0x1af4,
  deviceId: 0x1110,
  classCode: 0x050000,
  commandAtOpen: COMMAND_AT_OPEN,
  resettable: false,
  bars: {
    0: { type: 'mem32', sizeBytes: 0x100 },
    2: { type: 'mem64', sizeBytes: MIB, prefetchable: true, mappable: true, dma: 'allow' },
  },
};

/** An NVMe controller with 65 MSI-X vectors in the middle of BAR0 and 16 MiB of controller memory buffer in BAR2. */
const NVME: PciDeviceSpec = {
  name: 'nvme',
  vendorId: 0x1b36,
  deviceId: 0x0010,
  classCode: 0x010802,
  interruptPin: 1,
  commandAtOpen: COMMAND_AT_OPEN,
  capabilities: [
    { type: 'msix', vectors: 65, bar: 0, tableOffset: 0x2000, pbaOffset: 0x3000 },
    { type: 'express' },
    { type: 'power-management' },
  ],
  bars: {
    0: { type: 'mem64', sizeBytes: 0x4000, mappable: true },
    2: { type: 'mem64', sizeBytes: 16 * MIB, prefetchable: true, mappable: true, dma: 'allow' },
  },
};

/** pci-testdev with membar=1M: a page of tests, the same in I/O space, and memory. */
const PCI_TESTDEV: PciDeviceSpec = {
  name: 'pcitestdev',
  vendorId: 0x1b36,
  deviceId: 0x0005,
  classCode: 0x00ff00,
  commandAtOpen: COMMAND_AT_OPEN,
  resettable: false,
  bars: {
    0: { type: 'mem32', sizeBytes: 0x1000, mappable: true },
    1: { type: 'io', sizeBytes: 0x100 },
    2: { type: 'mem64', sizeBytes: MIB, prefetchable: true, mappable: true, dma: 'allow' },
  },
};

/** A new instance of a device. */
export function makeDevice(name: 'edu'): Edu;
export function makeDevice(name: DeviceName): PciDevice;
export function makeDevice(name: DeviceName): PciDevice {
  if (name === 'edu') return new Edu();
  return new PciDevice({ ivshmem: IVSHMEM, nvme: NVME, pcitestdev: PCI_TESTDEV }[name]);
}
