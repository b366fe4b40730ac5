/*
 * A program with its names resolved: every device, process, container, VMA and mapping has a number, every page of device memory a
 * physical page number. Everything that the program can ever name is known here, so that a state of the host is an array of
 * fixed length.
 */
import { PAGE_SIZE, VfioError } from '../core/index.ts';
import { type PlannedDevice, type PlannedRegion, plannedDevice } from './plan-devices.ts';
import type { Action, Operation, Program } from './program.ts';

/** Virtual addresses of VMA slots are so far apart. */
export const VMA_SPACING: number = 2 ** 32;
/** IOVAs of mapping slots are so far apart. */
const IOVA_SPACING = 2 ** 24;

/** A state has a cell for each; so large programs have no use. */
const SLOT_LIMIT = 256;
/** So that an mmap may ask for more than the largest region has, and be refused. */
const VMA_PAGE_LIMIT = 512;
/** A page fault's answer is a frame or something else, together 16 bits. */
const FRAME_LIMIT = 0x8000;
/** A state counts actions, and the times of each, in one cell. */
export const COUNT_LIMIT: number = 0xffff;

/** A move is a 16-bit number, and 64 of them belong to each thread. */
const THREAD_LIMIT = 64;

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
    this.devices = Object.entries(program.devices).map(([name, device], number) => {
      const planned = plannedDevice(name, device, number, frames.length);
      for (const place of [0, 1])
        for (let page = 0; page < planned.pageCount; page++) frames.push({ device: number, place, page });
      return planned;
    });
    if (frames.length > FRAME_LIMIT)
      throw new VfioError(
        'ENOSPC',
        `a machine has at most ${FRAME_LIMIT / 2} pages of memory; make regions smaller`,
      );
    this.frames = frames;
    this.threads = [
      { name: 'setup', actions: program.setup },
      ...Object.entries(program.threads).map(([name, actions]) => ({ name, actions })),
    ];
    if ('setup' in program.threads)
      throw new VfioError('EINVAL', "a thread is named 'setup', as what is done first; choose another name");
    if (this.threads.length > THREAD_LIMIT)
      throw new VfioError('ENOSPC', `a program has at most ${THREAD_LIMIT - 1} threads; split it`);
    for (const { name, actions } of this.threads) checkCounts(name, actions);
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
    if (operation.op === 'mmap') {
      const device = this.device(operation.device);
      const region = this.region(device, operation.region);
      const { page = 0, pages = this.devices[device]!.regions[region]!.pages - page } = operation;
      const process = this.process(operation.process);
      addVma(vmas, { name: operation.as, process, device, region, page, pages, firstCell, ...UNFORKED });
    } else if (operation.op === 'mmapForeign') {
      const process = this.process(operation.process);
      addVma(vmas, { name: operation.as, process, ...FOREIGN, firstCell, ...UNFORKED });
    } else if (operation.op === 'fork') {
      const process = this.process(operation.child);
      const from = this.process(operation.process);
      if (process === from) throw new VfioError('EINVAL', `${operation.child} cannot be its own child`);
      let cell = firstCell;
      for (const [parent, vma] of [...vmas.entries()].filter(([, each]) => each.process === from)) {
        const name = `${operation.child}/${vma.name}`;
        if (vmas.some((each) => each.name === name)) continue;
        vmas.push({ ...vma, name, process, parent, firstCell: cell });
        cell += vma.pages;
      }
    }
  }

  #planMapping(operation: Operation, mappings: PlannedMapping[]): void {
    if (operation.op !== 'mapDma') return;
    const { page = 0, pages = 1, access = 'rw' } = operation;
    const known = mappings.find(({ name }) => name === operation.as);
    const vma = this.vma(operation.vma);
    const whole = Number.isInteger(page) && Number.isInteger(pages) && pages > 0;
    const mapping: PlannedMapping = {
      name: operation.as,
      container: this.container(operation.container),
      vma,
      page,
      pages,
      inside: whole && page >= 0 && page + pages <= this.vmas[vma]!.pages,
      iova: operation.iova ?? known?.iova ?? (mappings.length + 1) * IOVA_SPACING,
      read: access.includes('r'),
      write: access.includes('w'),
    };
    if (known === undefined) mappings.push(mapping);
    else checkSame('mapping', known, mapping);
  }
}

const UNFORKED = { parent: -1, protection: -1 } as const;
const FOREIGN = { device: -1, region: 0, page: 0, pages: 1 } as const;

/** Adds what has no place yet. */
function addVma(vmas: PlannedVma[], vma: PlannedVma): void {
  const { name, page, pages } = vma;
  const known = vmas.find((each) => each.name === name);
  if (known !== undefined) {
    const { process, device, region } = vma;
    checkSame('VMA', known, { name, process, device, region, page, pages });
    return;
  }
  if (page < 0 || pages < 0 || pages > VMA_PAGE_LIMIT)
    throw new VfioError(
      'EINVAL',
      `VMA ${name} is ${pages} pages from page ${page} on; 0 to ${VMA_PAGE_LIMIT} are possible`,
    );
  vmas.push(vma);
}

/** A name stands for one place, so one that is known must mean the same. */
function checkSame<Planned extends { readonly name: string }>(
  what: string,
  known: Planned,
  again: Partial<Planned> & { readonly name: string },
): void {
  const keys = Object.keys(again) as (keyof Planned)[];
  const other = keys.find((key) => known[key] !== again[key]);
  if (other === undefined) return;
  throw new VfioError(
    'EINVAL',
    `${what} ${again.name} is already another place, with another ${String(other)}; choose another name`,
  );
}

function checkCounts(thread: string, actions: readonly Action[]): void {
  if (actions.length > COUNT_LIMIT)
    throw new VfioError('ENOSPC', `${thread} has more than ${COUNT_LIMIT} actions; split the program`);
  for (const action of actions)
    if ('any' in action && !(action.times >= 1 && action.times <= COUNT_LIMIT))
      throw new VfioError(
        'EINVAL',
        `${thread} chooses ${action.times} times; 1 to ${COUNT_LIMIT} are possible`,
      );
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

function numberOf(what: string, name: string, names: readonly string[]): number {
  const at = names.indexOf(name);
  if (at >= 0) return at;
  throw new VfioError('EINVAL', `no ${what} is named '${name}'; there are: ${names.join(', ') || 'none'}`);
}
