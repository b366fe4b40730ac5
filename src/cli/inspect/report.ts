/**
 * Everything that a client can learn about a device without changing it, as one plain object.
 */
import * as pci from '../../abi/pci-regs.ts';
import * as vfio from '../../abi/vfio.ts';
import type { DeviceHandle, IrqInfo, RegionArea, RegionInfo } from '../../client/index.ts';
import { type Capability, capabilities } from './capabilities.ts';
import type { PciNames } from './pci-ids.ts';

export interface Identity {
  readonly vendorId: number;
  readonly deviceId: number;
  readonly subsystemVendorId: number;
  readonly subsystemId: number;
  /** Base class in the high byte, subclass in the low byte. */
  readonly classCode: number;
  readonly programmingInterface: number;
  readonly revision: number;
  readonly vendorName: string | null;
  readonly deviceName: string | null;
  readonly className: string | null;
  readonly subsystemVendorName: string | null;
  readonly subsystemName: string | null;
}

/** A base address register as config space shows it. */
export interface Bar {
  readonly space: 'memory' | 'io';
  readonly width: 32 | 64;
  readonly prefetchable: boolean;
  /** What the client or guest wrote; 0: unassigned. */
  readonly address: number;
}

export interface RegionReport {
  readonly index: number;
  readonly name: string;
  readonly sizeBytes: number;
  /** Place in the device's address space: index * 2^40. */
  readonly offset: number;
  readonly flags: readonly string[];
  readonly areas: readonly RegionArea[];
  readonly type?: { readonly type: number; readonly subtype: number };
  readonly bar?: Bar;
}

export interface InterruptReport {
  readonly index: number;
  readonly name: string;
  readonly count: number;
  readonly flags: readonly string[];
}

export interface InspectReport {
  readonly address: string;
  readonly kind: string;
  readonly resettable: boolean;
  readonly identity: Identity | null;
  /** The command register; null for what is not PCI. */
  readonly command: number | null;
  readonly interruptPin: number;
  readonly capabilities: readonly Capability[];
  readonly regions: readonly RegionReport[];
  readonly interrupts: readonly InterruptReport[];
}

/** Config space is read in pieces: servers differ in how much they answer at once. */
const CONFIG_READ_BYTES = 256;

const REGION_NAMES = ['BAR0', 'BAR1', 'BAR2', 'BAR3', 'BAR4', 'BAR5', 'ROM', 'config', 'VGA'];
const IRQ_NAMES = ['INTx', 'MSI', 'MSI-X', 'ERR', 'REQ'];

/** Asks the device for everything. Only reads. */
export async function inspect(handle: DeviceHandle, names: PciNames): Promise<InspectReport> {
  const { info } = handle;
  const regions: RegionInfo[] = [];
  for (let index = 0; index < info.regionCount; index++) {
    const region = await handle.regionInfo(index).catch(() => null);
    if (region !== null && region.sizeBytes > 0) regions.push(region);
  }
  const interrupts: IrqInfo[] = [];
  for (let index = 0; index < info.irqCount; index++) {
    const irq = await handle.irqInfo(index).catch(() => null);
    if (irq !== null && irq.count > 0) interrupts.push(irq);
  }
  const config = info.kind === 'pci' ? await readConfig(handle, regions) : new Uint8Array(0);
  const view = new DataView(config.buffer);
  const isPci = config.length >= pci.PCI_STD_HEADER_SIZEOF;
  return {
    address: handle.address,
    kind: info.kind,
    resettable: info.resettable,
    identity: isPci ? identityOf(view, names) : null,
    command: isPci ? view.getUint16(pci.PCI_COMMAND, true) : null,
    interruptPin: isPci ? view.getUint8(pci.PCI_INTERRUPT_PIN) : 0,
    capabilities: capabilities(config),
    regions: regions.map((region) => regionReport(region, info.kind, isPci ? view : null)),
    interrupts: interrupts.map((irq) => interruptReport(irq, info.kind)),
  };
}

/** All of config space, or what the device gives of it. */
export async function readConfig(handle: DeviceHandle, regions: readonly RegionInfo[]): Promise<Uint8Array> {
  const region = regions.find((candidate) => candidate.index === vfio.VFIO_PCI_CONFIG_REGION_INDEX);
  const config = new Uint8Array(Math.min(region?.sizeBytes ?? 0, pci.PCI_CFG_SPACE_EXP_SIZE));
  for (let offset = 0; offset < config.length; offset += CONFIG_READ_BYTES) {
    const piece = config.subarray(offset, offset + CONFIG_READ_BYTES);
    await handle.read(vfio.VFIO_PCI_CONFIG_REGION_INDEX, offset, piece);
  }
  return config;
}

function identityOf(config: DataView, names: PciNames): Identity {
  const vendorId = config.getUint16(pci.PCI_VENDOR_ID, true);
  const deviceId = config.getUint16(pci.PCI_DEVICE_ID, true);
  const classCode = config.getUint16(pci.PCI_CLASS_DEVICE, true);
  const subsystemVendorId = config.getUint16(pci.PCI_SUBSYSTEM_VENDOR_ID, true);
  const subsystemId = config.getUint16(pci.PCI_SUBSYSTEM_ID, true);
  return {
    vendorId,
    deviceId,
    subsystemVendorId,
    subsystemId,
    classCode,
    programmingInterface: config.getUint8(pci.PCI_CLASS_PROG),
    revision: config.getUint8(pci.PCI_REVISION_ID),
    vendorName: names.vendor(vendorId),
    deviceName: names.device(vendorId, deviceId),
    className: names.className(classCode),
    subsystemVendorName: names.vendor(subsystemVendorId),
    // Subsystems that are no variant of the device are listed like devices of their vendor.
    subsystemName: names.device(subsystemVendorId, subsystemId),
  };
}

function regionReport(region: RegionInfo, kind: string, config: DataView | null): RegionReport {
  const bar = config === null ? null : barOf(region.index, config);
  return {
    index: region.index,
    name: region.name ?? regionName(kind, region.index),
    sizeBytes: region.sizeBytes,
    offset: region.offset,
    flags: flagNames(region.flags, REGION_FLAGS),
    areas: region.areas,
    ...(region.type === undefined ? {} : { type: region.type }),
    ...(bar === null ? {} : { bar }),
  };
}

/** Only PCI fixes what an index is; what lies on other buses are resources in the order that firmware lists them. */
function regionName(kind: string, index: number): string {
  if (kind !== 'pci') return `resource ${index}`;
  return REGION_NAMES[index] ?? 'device-specific';
}

function barOf(index: number, config: DataView): Bar | null {
  if (index > vfio.VFIO_PCI_BAR5_REGION_INDEX) return null;
  const register = pci.PCI_BASE_ADDRESS_0 + 4 * index;
  const low = config.getUint32(register, true);
  if ((low & pci.PCI_BASE_ADDRESS_SPACE) === pci.PCI_BASE_ADDRESS_SPACE_IO) {
    const address = (low & pci.PCI_BASE_ADDRESS_IO_MASK) >>> 0;
    return { space: 'io', width: 32, prefetchable: false, address };
  }
  const wide = (low & pci.PCI_BASE_ADDRESS_MEM_TYPE_MASK) === pci.PCI_BASE_ADDRESS_MEM_TYPE_64;
  const high = wide && index < vfio.VFIO_PCI_BAR5_REGION_INDEX ? config.getUint32(register + 4, true) : 0;
  return {
    space: 'memory',
    width: wide ? 64 : 32,
    prefetchable: (low & pci.PCI_BASE_ADDRESS_MEM_PREFETCH) !== 0,
    address: high * 2 ** 32 + ((low & pci.PCI_BASE_ADDRESS_MEM_MASK) >>> 0),
  };
}

function interruptReport(irq: IrqInfo, kind: string): InterruptReport {
  return {
    index: irq.index,
    name: (kind === 'pci' ? IRQ_NAMES[irq.index] : undefined) ?? `irq ${irq.index}`,
    count: irq.count,
    flags: flagNames(irq.flags, IRQ_FLAGS),
  };
}

const REGION_FLAGS: readonly (readonly [number, string])[] = [
  [vfio.VFIO_REGION_INFO_FLAG_READ, 'read'],
  [vfio.VFIO_REGION_INFO_FLAG_WRITE, 'write'],
  [vfio.VFIO_REGION_INFO_FLAG_MMAP, 'mmap'],
];

const IRQ_FLAGS: readonly (readonly [number, string])[] = [
  [vfio.VFIO_IRQ_INFO_EVENTFD, 'eventfd'],
  [vfio.VFIO_IRQ_INFO_MASKABLE, 'maskable'],
  [vfio.VFIO_IRQ_INFO_AUTOMASKED, 'automasked'],
  [vfio.VFIO_IRQ_INFO_NORESIZE, 'noresize'],
];

function flagNames(flags: number, names: readonly (readonly [number, string])[]): readonly string[] {
  return names.filter(([bit]) => (flags & bit) !== 0).map(([, name]) => name);
}
