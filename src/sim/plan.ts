/*
 * A program with its names resolved: every device, process, container, VMA and mapping has a number, every page of device memory a
 * physical page number. Everything that the program can ever name is known here, so that a state of the host is an array of
 * fixed length.
 */
import { type DeviceKind, PAGE_SIZE, VfioError } from '../core/index.ts';
import type { Action, Operation, Program, SimDevice, SimRegion } from './program.ts';

/** Virtual addresses of VMA slots are so far apart. */
export const VMA_SPACING: number = 2 ** 32;
/** IOVAs of mapping slots are so far apart. */
export const IOVA_SPACING: number = 2 ** 24;

const LOW_WINDOW = 0xe000_0000;
const HIGH_WINDOW = 0x3800_0000_0000;
/** Every BAR has two places that are so far apart; the second is where `relocate` moves it. */
const PLACE_SPACING = 0x80_0000;
const DEVICE_SPACING = 0x100_0000;
const REGION_SPACING = 0x10_0000;
/** A state has a cell for each; so large programs have no use. */
const SLOT_LIMIT = 256;

/** A move is a 16-bit number, and 64 of them belong to each thread. */
const THREAD_LIMIT = 64;

export interface PlannedRegion {
  readonly index: number;
  readonly pages: number;
  /** Number of its first page among all of the device's. */
  readonly firstPage: number;
  readonly dma: 'allow' | 'deny';
  readonly clearedByReset: boolean;
  /** Physical addresses at the two places. */
  readonly addresses: readonly [number, number];
  /** Whether decode, power and reset decide if it can be reached: BARs, and all memory of the kinds that have none. */
  readonly isBar: boolean;
}

export interface PlannedDevice {
  readonly name: string;
  /** Of memory 'platform': to the core it is a device that nobody opens and nothing happens to. */
  readonly kind: DeviceKind;
  readonly isMemory: boolean;
  readonly resettable: boolean;
  readonly regions: readonly PlannedRegion[];
  readonly pageCount: number;
  /** Frame number of its first page at the first place; those of the second place follow. */
  readonly firstFrame: number;
  /** By page: it moves with the BARs. */
  readonly moves: readonly boolean[];
}

export interface PlannedVma {
  readonly name: string;
  readonly process: number;
  /** -1: memory of somebody else's device. */
  readonly device: number;
  /** Position in the device's `regions`. */
  readonly region: number;
  readonly page: number;
  readonly pages: number;
  /** The VMA that it is forked from, or -1. */
  readonly parent: number;
  /** Number of its first page among those of all VMAs. */
  readonly firstCell: number;
  /** Number among the VMAs whose protection the program cares about, or -1. */
  readonly protection: number;
}

export interface PlannedMapping {
  readonly name: string;
  readonly container: number;
  readonly vma: number;
  /** The first page of the VMA, and how many. Where they are none of its pages, MAP_DMA fails. */
  readonly page: number;
  readonly pages: number;
  readonly inside: boolean;
  readonly iova: number;
  readonly read: boolean;
  readonly write: boolean;
}

/** What a frame of physical memory is. */
export interface Frame {
  readonly device: number;
  readonly place: number;
  /** Page of the device. */
  readonly page: number;
}

/** A program by numbers. */
export class Plan {
  readonly program: Program;
  readonly devices: readonly PlannedDevice[];
  readonly processes: readonly string[];
  readonly containers: readonly string[];
  readonly vmas: readonly PlannedVma[];
  readonly mappings: readonly PlannedMapping[];
  /** By frame number; 0 is no frame and 1 somebody else's. */
  readonly frames: readonly (Frame | null)[];
  readonly vmaPages: number;
  readonly threads: readonly { readonly name: string; readonly actions: readonly Action[] }[];

  constructor(program: Program) {
    this.program = program;
    this.processes = [...program.processes];
    this.containers = [...program.containers];
    const frames: (Frame | null)[] = [null, null];
    this.devices = Object.entries(program.devices).map(([name, device], i) => {
      const regions = plannedRegions(name, device.kind, device.regions, i);
      const pageCount = regions.reduce((sum, { pages }) => sum + pages, 0);
      const firstFrame = frames.length;
      for (const place of [0, 1])
        for (let page = 0; page < pageCount; page++) frames.push({ device: i, place, page });
      const { resettable = true } = device;
      const isMemory = device.kind === 'memory';
      const kind = device.kind === 'memory' ? 'platform' : device.kind;
      const moves = regions.flatMap(({ pages, isBar }) => Array.from({ length: pages }, () => isBar));
      return { name, kind, isMemory, resettable, regions, pageCount, firstFrame, moves };
    });
    this.frames = frames;
    this.threads = [
      { name: 'setup', actions: program.setup },
      ...Object.entries(program.threads).map(([name, actions]) => ({ name, actions })),
    ];
    if (this.threads.length > THREAD_LIMIT)
      throw new VfioError('ENOSPC', `a program has at most ${THREAD_LIMIT - 1} threads; split it`);
    const operations = this.operations();
    const vmas: PlannedVma[] = [];
    for (const operation of operations) this.#planVmas(operation, vmas);
    this.vmas = withProtection(vmas, operations);
    this.vmaPages = vmas.reduce((sum, { pages }) => sum + pages, 0);
    const mappings: PlannedMapping[] = [];
    for (const operation of operations) this.#planMapping(operation, mappings);
    this.mappings = mappings;
    if (vmas.length + mappings.length > SLOT_LIMIT)
      throw new VfioError('ENOSPC', `a program has at most ${SLOT_LIMIT} VMAs and mappings; split it`);
  }

  /** Every operation of every thread, in the order of the program. */
  operations(): Operation[] {
    return this.threads.flatMap(({ actions }) =>
      actions.flatMap((each) => ('any' in each ? each.any : [each])),
    );
  }

  device(name: string): number {
    return numberOf(
      'device',
      name,
      this.devices.map((device) => device.name),
    );
  }

  /** As `device`, for what only a VFIO device can do. */
  vfioDevice(name: string): number {
    const device = this.device(name);
    if (!this.devices[device]!.isMemory) return device;
    throw new VfioError('EINVAL', `${name} is memory and no device: processes map it as it is`);
  }

  /** Whether who maps this holds a device's file: it is neither the machine's memory nor somebody else's. */
  holdsFile(device: number): boolean {
    return device >= 0 && !this.devices[device]!.isMemory;
  }

  process(name: string): number {
    return numberOf('process', name, this.processes);
  }

  container(name: string): number {
    return numberOf('container', name, this.containers);
  }

  vma(name: string): number {
    return numberOf(
      'VMA',
      name,
      this.vmas.map((vma) => vma.name),
    );
  }

  mapping(name: string): number {
    return numberOf(
      'mapping',
      name,
      this.mappings.map((mapping) => mapping.name),
    );
  }

  /** Position of region `index` in the device's list. */
  region(device: number, index: number): number {
    const { name, regions } = this.devices[device]!;
    const at = regions.findIndex((region) => region.index === index);
    if (at >= 0) return at;
    const known = regions.map((region) => region.index).join(', ');
    throw new VfioError('EINVAL', `${name} has no region ${index}; it has ${known}`);
  }

  /** The region that page `page` of a device belongs to. */
  regionOfPage(device: number, page: number): PlannedRegion {
    return this.devices[device]!.regions.find(({ firstPage, pages }) => page < firstPage + pages)!;
  }

  /** Frame number of a device's page when its BARs are at a place. What is no BAR stays at the first. */
  frame(device: number, place: number, page: number): number {
    const { firstFrame, pageCount, moves } = this.devices[device]!;
    return firstFrame + (moves[page] ? place * pageCount : 0) + page;
  }

  /** Physical address of a frame in bytes. */
  addressOf(frame: Frame): number {
    const region = this.regionOfPage(frame.device, frame.page);
    return region.addresses[frame.place]! + (frame.page - region.firstPage) * PAGE_SIZE;
  }

  /** Frame number at a physical address, or 0. */
  frameAt(address: number): number {
    return Math.max(
      0,
      this.frames.findIndex((frame) => frame !== null && this.addressOf(frame) === address),
    );
  }

  /** The device's page that page `page` of a VMA slot shows by the program's word, or -1. */
  shown(vma: number, page: number): number {
    const slot = this.vmas[vma]!;
    if (slot.device < 0) return -1;
    return this.devices[slot.device]!.regions[slot.region]!.firstPage + slot.page + page;
  }

  #planVmas(operation: Operation, vmas: PlannedVma[]): void {
    const firstCell = vmas.reduce((sum, { pages }) => sum + pages, 0);
    const known = (name: string): boolean => vmas.some((vma) => vma.name === name);
    if (operation.op === 'mmap' && !known(operation.as)) {
      const device = this.device(operation.device);
      const region = this.region(device, operation.region);
      const page = operation.page ?? 0;
      const pages = operation.pages ?? this.devices[device]!.regions[region]!.pages - page;
      const process = this.process(operation.process);
      const place = { device, region, page, pages };
      vmas.push({ name: operation.as, process, ...place, parent: -1, firstCell, protection: -1 });
    } else if (operation.op === 'mmapForeign' && !known(operation.as)) {
      const process = this.process(operation.process);
      vmas.push({
        name: operation.as,
        process,
        device: -1,
        region: 0,
        page: 0,
        pages: 1,
        parent: -1,
        firstCell,
        protection: -1,
      });
    } else if (operation.op === 'fork') {
      const process = this.process(operation.child);
      const from = this.process(operation.process);
      let cell = firstCell;
      for (const [parent, vma] of [...vmas.entries()].filter(([, each]) => each.process === from)) {
        const name = `${operation.child}/${vma.name}`;
        if (known(name)) continue;
        vmas.push({ ...vma, name, process, parent, firstCell: cell });
        cell += vma.pages;
      }
    }
  }

  #planMapping(operation: Operation, mappings: PlannedMapping[]): void {
    if (operation.op !== 'mapDma' || mappings.some(({ name }) => name === operation.as)) return;
    const { page = 0, pages = 1, access = 'rw' } = operation;
    const vma = this.vma(operation.vma);
    const whole = Number.isInteger(page) && Number.isInteger(pages) && pages > 0;
    mappings.push({
      name: operation.as,
      container: this.container(operation.container),
      vma,
      page,
      pages,
      inside: whole && page >= 0 && page + pages <= this.vmas[vma]!.pages,
      iova: operation.iova ?? (mappings.length + 1) * IOVA_SPACING,
      read: access.includes('r'),
      write: access.includes('w'),
    });
  }
}

/** Numbers the VMAs that some operation protects, and their copies. */
function withProtection(vmas: readonly PlannedVma[], operations: readonly Operation[]): PlannedVma[] {
  const named = new Set<string>();
  for (const each of operations) {
    if (each.op === 'mprotect') named.add(each.vma);
    if (each.op === 'mmap' && each.protection !== undefined) named.add(each.as);
  }
  let next = 0;
  const numbered: PlannedVma[] = [];
  for (const vma of vmas) {
    const cares = named.has(vma.name) || (numbered[vma.parent]?.protection ?? -1) >= 0;
    numbered.push({ ...vma, protection: cares ? next++ : -1 });
  }
  return numbered;
}

function plannedRegions(
  name: string,
  kind: SimDevice['kind'],
  regions: readonly SimRegion[],
  device: number,
): PlannedRegion[] {
  let firstPage = 0;
  return regions.map((region, i) => {
    const pages = region.pages ?? 1;
    if (!Number.isInteger(pages) || pages < 1 || pages > REGION_SPACING / PAGE_SIZE)
      throw new VfioError(
        'EINVAL',
        `region ${region.index} of ${name} has ${pages} pages; 1 to 256 are possible`,
      );
    const window = region.below4GiB ? LOW_WINDOW : HIGH_WINDOW;
    const address = region.address ?? window + device * DEVICE_SPACING + i * REGION_SPACING;
    const isBar = kind === 'pci' ? region.index < 6 : kind !== 'memory';
    const planned: PlannedRegion = {
      index: region.index,
      pages,
      firstPage,
      dma: region.dma ?? 'allow',
      clearedByReset: region.clearedByReset ?? false,
      addresses: [address, isBar ? address + PLACE_SPACING : address],
      isBar,
    };
    firstPage += pages;
    return planned;
  });
}

function numberOf(what: string, name: string, names: readonly string[]): number {
  const at = names.indexOf(name);
  if (at >= 0) return at;
  throw new VfioError('EINVAL', `no ${what} is named '${name}'; there are: ${names.join(', ') || 'none'}`);
}
