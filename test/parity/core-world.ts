/*
 * The bare core as a world: the container, the devices and the VMAs of src/core, with the least that they need around
 * them: a page table, plain memory, and a DMA engine that copies bytes. No operating system, no messages. What a server
 * says from the same objects (GET_INFO, GET_REGION_INFO) is said here again, because the core has no messages to say it.
 */

import { errnoName, VFIO_DEVICE_FLAGS_PCI, VFIO_DEVICE_FLAGS_RESET } from '../../src/abi/index.ts';
import type { PciDevice } from '../../src/bus/pci/index.ts';
import {
  attachPlainMemory,
  Container,
  type ContainerOptions,
  DeviceMemory,
  type DmaPort,
  type DmaSource,
  offsetInRegion,
  offsetToIndex,
  PAGE_SIZE,
  pgoffToOffset,
  type Region,
  VfioError,
  Vma,
} from '../../src/core/index.ts';
import { PageTables } from '../support/pure-world.ts';
import { CoreDma, CoreMemory } from './core-memory.ts';
import { DEVICES, makeDevice } from './devices.ts';
import {
  type ContainerAnswer,
  type DeviceName,
  type InfoAnswer,
  type IrqAnswer,
  type MappingCall,
  type MapRequest,
  type MemoryRequest,
  type MessageAnswer,
  type MmapRequest,
  NoCounterpart,
  type ParityMapping,
  type ParityWorld,
  PROT_READ,
  PROT_WRITE,
  type ProcessMemory,
  type RegionAnswer,
} from './world.ts';

/** IOVA ranges of the probed machine: 48 bits without the MSI window. */
export const PROBED_RANGES: ContainerOptions = { msiHole: true, iovaRanges: [{ start: 0, end: 2 ** 48 }] };

const MMAP_BASE = 0x7f00_0000_0000;
const MMAP_STEP = 2 ** 30;

/** What can be another one in a world of its own. */
export interface CoreWorldParts {
  readonly container?: Container;
  readonly dma?: DmaPort;
}

export class CoreWorld implements ParityWorld {
  readonly name: string = 'core';
  readonly peerFault: string | null = null;
  readonly #container: Container;
  readonly #dma: DmaPort;
  readonly #devices: Map<DeviceName, PciDevice> = new Map();
  readonly #tables: Map<PciDevice, PageTables> = new Map();
  readonly #faults: string[] = [];
  #nextAddress = MMAP_BASE;

  /** @param parts another container than the probed machine's, or another way to memory for edu than through it */
  constructor({
    container = new Container(PROBED_RANGES),
    dma = new CoreDma(container),
  }: CoreWorldParts = {}) {
    this.#container = container;
    this.#dma = dma;
    for (const name of DEVICES) this.open(name);
  }

  deviceInfo(name: DeviceName): InfoAnswer {
    const { resettable, regionCount, irqs } = this.device(name);
    const flags = VFIO_DEVICE_FLAGS_PCI | (resettable ? VFIO_DEVICE_FLAGS_RESET : 0);
    return { flags, regionCount, irqCount: irqs.length };
  }

  regionInfo(name: DeviceName, index: number): RegionAnswer {
    const device = this.device(name);
    if (index >= device.regionCount) throw new VfioError('EINVAL', 'no such region');
    const region = device.regions.get(index);
    return {
      flags: region?.flags ?? 0,
      sizeBytes: region?.sizeBytes ?? 0,
      offset: pgoffToOffset(index * 2 ** 28),
      sparse: region?.sparse ? region.areas : [],
    };
  }

  irqInfo(name: DeviceName, index: number): IrqAnswer {
    const irq = this.device(name).irqs[index];
    if (irq === undefined) throw new VfioError('EINVAL', 'no such interrupt');
    return { flags: irq.flags, count: irq.count };
  }

  async read(name: DeviceName, index: number, offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    const region = this.device(name).region(index);
    await settled(region.read(offset, length, new DataView(bytes.buffer), 0));
    return bytes;
  }

  async write(name: DeviceName, index: number, offset: number, bytes: Uint8Array): Promise<number> {
    const region = this.device(name).region(index);
    await settled(region.write(offset, bytes.length, new DataView(bytes.slice().buffer), 0));
    return bytes.length;
  }

  async reset(name: DeviceName): Promise<void> {
    await this.device(name).reset();
  }

  open(name: DeviceName): void {
    let device = this.#devices.get(name);
    if (device === undefined) {
      device = name === 'edu' ? this.#makeEdu() : makeDevice(name);
      attachPlainMemory(device);
      this.#devices.set(name, device);
      this.#tables.set(device, new PageTables(device));
    }
    device.opened();
  }

  close(name: DeviceName): void {
    this.device(name).closed();
  }

  release(name: DeviceName): void {
    this.device(name).release();
    this.#devices.delete(name);
  }

  /** What a mappable region may be mapped as is the core's to say; MAP_PRIVATE and PROT_EXEC it knows nothing of. */
  mmap({ device: name, fileOffset, length, protection, shared }: MmapRequest): ParityMapping {
    if (!shared || (protection & ~(PROT_READ | PROT_WRITE)) !== 0) throw new NoCounterpart();
    const device = this.device(name);
    const region = device.regions.get(offsetToIndex(fileOffset));
    const pages = Math.ceil(length / PAGE_SIZE) * PAGE_SIZE;
    const unaligned = fileOffset % PAGE_SIZE !== 0 || pages === 0;
    if (unaligned || !region?.covers(offsetInRegion(fileOffset), pages)) {
      throw new VfioError('EINVAL', 'this part of the device cannot be mapped');
    }
    this.#nextAddress += MMAP_STEP;
    const place = { start: this.#nextAddress, sizeBytes: pages, pgoff: fileOffset / PAGE_SIZE };
    const vma = new Vma({ file: device.file, process: 'probe', ...place });
    device.addressSpace.insert(vma);
    return new CoreMapping(this.#tables.get(device)!, device, vma, protection);
  }

  memory(request: MemoryRequest): ProcessMemory {
    return new CoreMemory(request);
  }

  map({ iova, size, read, write, from, offset: sourceOffset = 0, readOnlyVma }: MapRequest): void {
    const source = from instanceof CoreMapping ? from.source() : (from as CoreMemory);
    // A VMA's protection is not the core's; a region that is read-only as a whole has cases of its own elsewhere.
    if (readOnlyVma && write) throw new NoCounterpart();
    this.#container.map({ iova, size, read, write, source, sourceOffset });
  }

  unmap(iova: number, size: number, all: boolean): number {
    return this.#container.unmap(iova, size, { all });
  }

  container(): ContainerAnswer {
    const { available, iovaRanges } = this.#container;
    return { available, ranges: iovaRanges.map(({ start, end }) => [start, end - 1] as const) };
  }

  closeContainer(): void {
    this.#container.close();
  }

  takeFaults(): string[] {
    return this.#faults.splice(0);
  }

  message(): MessageAnswer {
    throw new NoCounterpart();
  }

  end(): void {
    for (const device of this.#devices.values()) device.release();
  }

  #makeEdu(): PciDevice {
    const edu = makeDevice('edu');
    edu.dma = this.#dma;
    edu.on('fault', ({ reason }) => this.#faults.push(reason));
    return edu;
  }

  /** The device behind a name, which is another one after `release`. ENODEV: it is not open. */
  device(name: DeviceName): PciDevice {
    const device = this.#devices.get(name);
    if (device === undefined) throw new VfioError('ENODEV', `${name} is not open`);
    return device;
  }
}

async function settled(result: number | Promise<number>): Promise<void> {
  const errno = await result;
  if (errno !== 0) throw new VfioError(errnoName(errno) as VfioError['code'], 'the region refused');
}

/** A VMA behind a page table. */
class CoreMapping implements ParityMapping {
  readonly #tables: PageTables;
  readonly #device: PciDevice;
  readonly #vma: Vma;
  #protection: number;

  constructor(tables: PageTables, device: PciDevice, vma: Vma, protection: number) {
    this.#tables = tables;
    this.#device = device;
    this.#vma = vma;
    this.#protection = protection;
  }

  touch(offset: number, value?: number): string {
    const needed = value === undefined ? PROT_READ : PROT_WRITE;
    if ((this.#protection & needed) === 0) return 'SIGSEGV code=2';
    if (this.#tables.touch(this.#vma, this.#vma.start + offset) === 'SIGBUS') return 'SIGBUS code=2';
    const { region, place } = this.#at(offset);
    const memory = region.memory!;
    const bytes = memory.bytesAt(place);
    const view = new DataView(bytes.buffer, bytes.byteOffset + place - memory.windowStart(place), 4);
    if (value !== undefined) view.setUint32(0, value, true);
    const word = view.getUint32(0, true).toString(16).padStart(8, '0');
    return `${value === undefined ? 'read' : 'wrote'} 0x${word}`;
  }

  call(request: MappingCall): string {
    switch (request.call) {
      case 'mprotect':
        this.#protection = request.protection;
        return '0';
      case 'mremap-shrink':
        this.#vma.shrink(request.length);
        return 'ok';
      case 'mremap-move':
        this.#vma.move(this.#vma.start + MMAP_STEP / 2);
        return 'ok';
      default:
        throw new NoCounterpart();
    }
  }

  munmap(): void {
    if (this.#vma.space !== null) this.#device.addressSpace.remove(this.#vma);
  }

  /** What the VMA shows, as far as the VMA goes. */
  source(): DmaSource {
    const { region, place } = this.#at(0);
    return new DeviceMemory({ region, offset: place, sizeBytes: this.#vma.sizeBytes });
  }

  #at(offset: number): { region: Region; place: number } {
    const fileOffset = pgoffToOffset(this.#vma.pgoff) + offset;
    return {
      region: this.#device.region(offsetToIndex(fileOffset)),
      place: offsetInRegion(fileOffset),
    };
  }
}
