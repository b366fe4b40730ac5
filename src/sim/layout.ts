/*
 * One state of the host as an array of 16-bit cells: what lies where. The checker copies, compares and hashes millions of them,
 * so there are no objects in a state; the names here are the objects.
 */
import type { Plan } from './plan.ts';

/** A state of the host. */
export type State = Uint16Array;

// Of each device.
/** Who holds its memory lock: 0 nobody, else thread + 1. */
export const LOCK = 0;
/** Memory decode of the function, as the hardware has it. */
export const DECODE = 1;
/** 1 in D3hot. */
export const ASLEEP = 2;
/** 1 while its memory cannot answer: in reset, or a BAR is being moved. */
export const BUSY = 3;
/** Which of its two places the BARs are at. */
export const PLACE = 4;
/** Open files and VMAs. Who takes the last one away releases the device. */
export const OPENS = 5;
/** Goes up with each open after a release. */
export const GENERATION = 6;
/** References that IOMMU mappings hold. */
export const REFERENCES = 7;
/** Who is taking its VMAs away: thread + 1. Nobody may add or remove one meanwhile. Kernel: `address_space::i_mmap_rwsem`. */
export const ZAPPING = 8;
/** 1 from the first open until the release is done. */
export const LIVE = 9;
const DEVICE_CELLS = 10;

// Of each page of a device.
/** What the memory holds. */
export const CONTENT = 0;
/** What it must hold: the last write that went through, or what a reset leaves. */
export const EXPECTED = 1;
/** What was put aside while the memory is away. */
export const PARKED = 2;
const PAGE_CELLS = 3;

// Of each mapping slot.
/** The generation of the device + 1 that was mapped, 0: MAP_DMA has not succeeded, or it was unmapped. */
export const MAPPED = 0;
/** IOMMU page table entry: a frame, or 0. That of the first page; those of the others follow it. */
export const ENTRY = 1;
/** IOTLB entry: the same. */
export const TLB = 2;
/** 1 while it holds a reference to the device. */
export const HOLDS = 3;
const MAPPING_CELLS = 4;

// Of each thread.
/** Which action of its list. */
export const ACTION = 0;
/** How many of an `any` are done. */
export const DONE = 1;
/** The operation that it is in, by number + 1; 0 between operations. */
export const OPERATION = 2;
export const STEP = 3;
/** The list of effects that it is working off, by number; 0 none. */
export const EFFECTS = 4;
export const EFFECT = 5;
export const EFFECT_STEP = 6;
/** A frame that it goes to, or found. */
export const FRAME = 7;
/** A mapping + 1 while a DMA through it is in flight to FRAME; else 0. */
export const IN_FLIGHT = 8;
const THREAD_CELLS = 9;

/** A VMA page that is not part of a VMA; else the cell is a frame, or 0 where no page table entry is. */
export const UNMAPPED = 0xffff;

/** What a page holds that nothing was written to. */
export const CLEARED = 0;
/** What is written unless an operation says otherwise. Values end at VALUE_LIMIT. */
export const WRITTEN = 1;
export const VALUE_LIMIT = 0xfffe;
/** What is read where the contents are elsewhere. */
export const LOST = 0xffff;

// Bits of a VMA's protection.
export const READABLE = 1;
export const WRITABLE = 2;

/** Where each thing of a plan lies in a state. */
export class Layout {
  readonly size: number;
  readonly #containers: number;
  readonly #processes: number;
  readonly #files: number;
  readonly #consents: number[] = [];
  readonly #devices: number[] = [];
  readonly #pages: number[] = [];
  readonly #mappings: number;
  readonly #vmaPages: number;
  readonly #protections: readonly number[];
  readonly #threads: number;
  readonly #deviceCount: number;
  readonly #firstCells: readonly number[];

  constructor(plan: Plan) {
    // Two cells in front: the number of the core's state.
    let next = 2;
    const take = (cells: number): number => {
      next += cells;
      return next - cells;
    };
    this.#deviceCount = plan.devices.length;
    for (const device of plan.devices) {
      this.#devices.push(take(DEVICE_CELLS));
      this.#pages.push(take(PAGE_CELLS * device.pageCount));
      this.#consents.push(take(device.regions.length));
    }
    this.#containers = take(plan.containers.length);
    this.#processes = take(plan.processes.length);
    this.#files = take(plan.processes.length * plan.devices.length);
    this.#mappings = take(MAPPING_CELLS * plan.mappings.length);
    this.#firstCells = plan.vmas.map(({ firstCell }) => firstCell);
    this.#vmaPages = take(plan.vmaPages);
    this.#protections = plan.vmas.map(({ protection }) => (protection < 0 ? -1 : take(1)));
    this.#threads = take(THREAD_CELLS * plan.threads.length);
    // Even, so that a state can be read as 32-bit words.
    this.size = next + (next % 2);
  }

  device(device: number): number {
    return this.#devices[device]!;
  }

  /** Cells of page `page` of a device. */
  page(device: number, page: number): number {
    return this.#pages[device]! + page * PAGE_CELLS;
  }

  /** 1 where the driver allows DMA to a region, by position. */
  consent(device: number, region: number): number {
    return this.#consents[device]! + region;
  }

  /** A container's lock: as LOCK. */
  containerLock(container: number): number {
    return this.#containers + container;
  }

  /** A process's mmap lock: as LOCK. */
  mmLock(process: number): number {
    return this.#processes + process;
  }

  /** 1 while a process has a device's file open. */
  file(process: number, device: number): number {
    return this.#files + process * this.#deviceCount + device;
  }

  mapping(mapping: number): number {
    return this.#mappings + mapping * MAPPING_CELLS;
  }

  /** Page table entry of page `page` of a VMA slot. */
  vmaPage(vma: number, page: number): number {
    return this.#vmaPages + this.#firstCells[vma]! + page;
  }

  /** What a process may do with a VMA: READABLE, WRITABLE; -1 if that never changes. */
  protection(vma: number): number {
    return this.#protections[vma]!;
  }

  thread(thread: number): number {
    return this.#threads + thread * THREAD_CELLS;
  }
}

/** The number of the core's state. */
export function kernelOf(state: State): number {
  return state[0]! + state[1]! * 0x1_0000;
}

export function setKernel(state: State, kernel: number): void {
  state[0] = kernel % 0x1_0000;
  state[1] = kernel / 0x1_0000;
}
