/*
 * The simulated host as a world: the same programs that the model checker runs, one operation after the other. Whatever concerns
 * memory of devices and of the process, and everything that the container answers, is done by src/sim under a design; with the
 * design of Linux the answers must be Linux's, stale entries included, which says that the model of it is like the kernel.
 *
 * Config space, what a device says about itself and accesses by message are questions of the core, and answered by its devices;
 * what the config space decides (memory decode, power state) is done to the simulated devices.
 */
import { offsetInRegion, offsetToIndex, PAGE_SIZE } from '../../src/core/index.ts';
import {
  DESIGNS,
  type Design,
  type MachineDescription,
  type Operation,
  type Outcome,
  Session,
} from '../../src/sim/index.ts';
import { CoreWorld, PROBED_RANGES } from './core-world.ts';
import { DEVICES } from './devices.ts';
import {
  CONTAINER,
  Contents,
  done,
  type Mapped,
  type Place,
  protectionOf,
  SimulatedDma,
  SimulatedMapping,
  SimulatedMemory,
} from './simulated-memory.ts';
import {
  type ContainerAnswer,
  type DeviceName,
  type InfoAnswer,
  type IrqAnswer,
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

const PROCESS = 'probe';
const MEMORY = 'ram';
const BAR2 = 2;
const CONFIG = 7;
/** Pages of each memory that the probe may have. */
const MEMORY_PAGES: readonly number[] = [256, 16, 16, 16, 16];

/** What of the devices can be mapped: whole BARs of at most 1 MiB, so of nvme's controller memory buffer the beginning. */
const MACHINE: MachineDescription = {
  devices: {
    edu: { kind: 'pci', regions: [] },
    ivshmem: { kind: 'pci', regions: [{ index: BAR2, pages: 256 }], resettable: false },
    nvme: {
      kind: 'pci',
      regions: [
        { index: 0, pages: 2, dma: 'deny' },
        { index: BAR2, pages: 256 },
      ],
    },
    pcitestdev: {
      kind: 'pci',
      regions: [
        { index: 0, dma: 'deny' },
        { index: BAR2, pages: 256 },
      ],
      resettable: false,
    },
    [MEMORY]: { kind: 'memory', regions: MEMORY_PAGES.map((pages, index) => ({ index, pages })) },
  },
  processes: [PROCESS],
  containers: [CONTAINER],
  iommu: PROBED_RANGES,
};

/** A session that remembers which rules were broken in it. */
class JudgedSession extends Session {
  readonly broken: Set<string> = new Set();

  override run(operation: Operation): Outcome {
    const outcome = super.run(operation);
    for (const { property } of outcome.violations) this.broken.add(property);
    return outcome;
  }
}

export class SimulatedWorld implements ParityWorld {
  readonly name: string;
  readonly peerFault: string | null;
  readonly #session: JudgedSession;
  readonly #core: CoreWorld;
  readonly #contents: Contents = new Contents();
  readonly #mapped: Mapped[] = [];
  #memories = 0;
  #mappings = 0;

  /** @param design the name of one, or for canaries one of your own */
  constructor(name: string, design: string | Design) {
    const found = typeof design === 'string' ? DESIGNS.find((each) => each.name === design)! : design;
    this.name = name;
    // An IOMMU that is told nothing has nothing to tell: the DMA goes out.
    this.peerFault = found.notifier === 'none' ? '' : null;
    this.#session = new JudgedSession(MACHINE, found);
    this.#core = new CoreWorld({ dma: new SimulatedDma(this.#session, this.#contents, this.#mapped) });
    for (const device of DEVICES) done(this.#session, { op: 'open', process: PROCESS, device });
  }

  /** Rules that were broken so far, by what the hardware did. */
  get brokenRules(): string[] {
    return [...this.#session.broken].sort();
  }

  deviceInfo(device: DeviceName): InfoAnswer {
    return this.#core.deviceInfo(device);
  }

  regionInfo(device: DeviceName, index: number): RegionAnswer {
    return this.#core.regionInfo(device, index);
  }

  irqInfo(device: DeviceName, index: number): IrqAnswer {
    return this.#core.irqInfo(device, index);
  }

  read(device: DeviceName, index: number, offset: number, length: number): Promise<Uint8Array> {
    return this.#core.read(device, index, offset, length);
  }

  async write(device: DeviceName, index: number, offset: number, bytes: Uint8Array): Promise<number> {
    const written = await this.#core.write(device, index, offset, bytes);
    if (index === CONFIG) this.#follow(device);
    return written;
  }

  async reset(device: DeviceName): Promise<void> {
    await this.#core.reset(device);
    done(this.#session, { op: 'reset', device });
    this.#follow(device);
  }

  open(device: DeviceName): void {
    this.#core.open(device);
    done(this.#session, { op: 'open', process: PROCESS, device });
    this.#follow(device);
  }

  close(device: DeviceName): void {
    this.#core.close(device);
    done(this.#session, { op: 'close', process: PROCESS, device });
  }

  /** The simulated host has released it with the last close or munmap. */
  release(device: DeviceName): void {
    this.#core.release(device);
  }

  mmap({ device, fileOffset, length, protection, shared }: MmapRequest): ParityMapping {
    const page = offsetInRegion(fileOffset) / PAGE_SIZE;
    const pages = Math.ceil(length / PAGE_SIZE);
    if (!shared || (protection & ~(PROT_READ | PROT_WRITE)) !== 0 || !Number.isInteger(page))
      throw new NoCounterpart();
    const region = offsetToIndex(fileOffset);
    const simulated = MACHINE.devices[device]!.regions.find(({ index }) => index === region)?.pages ?? 1;
    const end = (page + pages) * PAGE_SIZE;
    if (end > simulated * PAGE_SIZE && this.#core.device(device).regions.get(region)?.covers(0, end))
      throw new NoCounterpart();
    return this.#mmap({ device, region, page, pages }, protection);
  }

  memory({ sizeBytes, writable = true, presentBytes = sizeBytes }: MemoryRequest): ProcessMemory {
    const present = presentBytes / PAGE_SIZE;
    const place = { device: MEMORY, region: this.#memories++, page: 0, pages: Math.max(1, present) };
    const mapping = this.#mmap(place, writable ? PROT_READ | PROT_WRITE : PROT_READ);
    return new SimulatedMemory(mapping, present === 0 ? place.pages : 0);
  }

  map({ iova, size, read, write, from, offset = 0 }: MapRequest): void {
    const memory = from instanceof SimulatedMemory ? from : new SimulatedMemory(from as SimulatedMapping, 0);
    const { vma, place } = memory.mapping;
    const page = memory.firstPage + offset / PAGE_SIZE;
    const access = protectionOf((read ? PROT_READ : 0) | (write ? PROT_WRITE : 0));
    const name = `mapping ${this.#mappings++}`;
    const what = { page, pages: size / PAGE_SIZE, iova, access };
    done(this.#session, { op: 'mapDma', container: CONTAINER, vma, as: name, ...what });
    this.#mapped.push({ name, iova, sizeBytes: size, place: { ...place, page: place.page + page } });
  }

  unmap(iova: number, sizeBytes: number, all: boolean): number {
    const result = done(this.#session, { op: 'unmapRange', container: CONTAINER, iova, sizeBytes, all });
    return Number.parseInt(result, 10);
  }

  container(): ContainerAnswer {
    const { available, iovaRanges } = this.#session.container(CONTAINER);
    return { available, ranges: iovaRanges.map(({ start, end }) => [start, end - 1] as const) };
  }

  closeContainer(): void {
    done(this.#session, { op: 'closeContainer', container: CONTAINER });
  }

  takeFaults(): string[] {
    return this.#core.takeFaults();
  }

  message(): MessageAnswer {
    throw new NoCounterpart();
  }

  end(): void {
    this.#core.end();
  }

  /** A place has one name as often as it is mapped: the simulated host has a slot for every name that was ever used. */
  #mmap(place: Place, protection: number): SimulatedMapping {
    const { device, region, page, pages } = place;
    const base = `${device} ${region}: ${page}+${pages}`;
    let vma = base;
    for (let i = 2; this.#isMapped(vma); i++) vma = `${base} (${i})`;
    const what = { device, region, page, pages, protection: protectionOf(protection) };
    done(this.#session, { op: 'mmap', process: PROCESS, ...what, as: vma });
    return new SimulatedMapping(this.#session, this.#contents, vma, place);
  }

  #isMapped(vma: string): boolean {
    return (this.#session.look().get(`page table of ${vma}, page 0`) ?? 'no VMA') !== 'no VMA';
  }

  /** Does to the simulated device what the config space says: 'refused' if it is so already. */
  #follow(name: DeviceName): void {
    const blockers = this.#core.device(name).regions.get(BAR2)?.blockers ?? [];
    const off = blockers.includes('memory decode is off');
    this.#session.run({ op: off ? 'disable' : 'enable', device: name });
    const asleep = blockers.includes('device is in D3hot');
    this.#session.run({ op: asleep ? 'sleep' : 'wake', device: name });
  }
}
