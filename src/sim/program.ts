/*
 * A program: a small machine, and threads that do things to it at the same time. Plain data, so that it can be written in
 * TypeScript or JSON, run step by step, and handed to the checker as it is.
 *
 * The names of things are the program's own. A VMA's or mapping's name stands for one place; the same name may be mapped,
 * unmapped and mapped again.
 */
import type { ContainerOptions, DeviceKind } from '../core/index.ts';

/** Memory of a device. */
export interface SimRegion {
  /** VFIO region index. */
  readonly index: number;
  /** Pages of 4 KiB; 1 unless said otherwise. */
  readonly pages?: number;
  /** Whether the driver allows DMA to it at the start; 'allow' unless said otherwise. */
  readonly dma?: 'allow' | 'deny';
  /** Whether a reset clears it; false unless said otherwise. */
  readonly clearedByReset?: boolean;
  /** A 32-bit BAR: firmware puts it below 4 GiB. Others lie high, where hosts have their 64-bit window. */
  readonly below4GiB?: boolean;
  /** Physical address in bytes, if it matters. */
  readonly address?: number;
}

/** A device of the machine, or memory of the machine itself ('memory'), which any process may map without opening anything. */
export interface SimDevice {
  readonly kind: DeviceKind | 'memory';
  readonly regions: readonly SimRegion[];
  /** False: nothing resets it, so it goes on decoding with its contents after the last close; true unless said otherwise. */
  readonly resettable?: boolean;
}

/** What a process may do with a mapping. As on x86, who may write may read. */
export type Protection = 'none' | 'r' | 'w' | 'rw';

/** One thing that a thread does. */
export type Operation =
  | { readonly op: 'open' | 'close'; readonly process: string; readonly device: string }
  | {
      readonly op: 'mmap';
      readonly process: string;
      readonly device: string;
      readonly region: number;
      /** First page of the region; 0 unless said otherwise. */
      readonly page?: number;
      /** All from `page` on unless said otherwise. */
      readonly pages?: number;
      /** 'rw' unless said otherwise. */
      readonly protection?: Protection;
      /** Name of the VMA. */
      readonly as: string;
    }
  | { readonly op: 'mprotect'; readonly vma: string; readonly protection: Protection }
  /** A mapping of somebody else's device memory: no VFIO driver knows it. */
  | { readonly op: 'mmapForeign'; readonly process: string; readonly as: string }
  | {
      readonly op: 'munmap';
      readonly vma: string;
      readonly part?: 'all' | 'head' | 'tail';
      /** Of a head or tail; 1 unless said otherwise. */
      readonly pages?: number;
    }
  | { readonly op: 'mremap'; readonly vma: string }
  /** The child's VMAs are named `child/vma`. It shares the device files. */
  | { readonly op: 'fork'; readonly process: string; readonly child: string }
  /** A load or store of the CPU. A page holds one value, 0 at first; 1 is written unless said otherwise. */
  | { readonly op: 'read'; readonly vma: string; readonly page?: number }
  | { readonly op: 'write'; readonly vma: string; readonly page?: number; readonly value?: number }
  | {
      readonly op: 'mapDma';
      readonly container: string;
      readonly vma: string;
      /** The first page of the VMA that is mapped; 0 unless said otherwise. What no VMA has is refused, and so are fractions. */
      readonly page?: number;
      /** 1 unless said otherwise. */
      readonly pages?: number;
      /** In bytes; a place of its own unless said otherwise. */
      readonly iova?: number;
      /** What a device may do; 'rw' unless said otherwise. */
      readonly access?: Protection;
      /** Name of the mapping. */
      readonly as: string;
    }
  | { readonly op: 'unmapDma'; readonly mapping: string }
  /** As UNMAP_DMA itself: whatever is mapped there, in bytes; with `all` everything, and both are 0. */
  | {
      readonly op: 'unmapRange';
      readonly container: string;
      readonly iova: number;
      readonly sizeBytes: number;
      readonly all?: boolean;
    }
  /** The last user of a container leaves. */
  | { readonly op: 'closeContainer'; readonly container: string }
  /** A DMA engine of some device goes through a mapping of the container that it is in. */
  | { readonly op: 'dmaRead'; readonly mapping: string; readonly page?: number }
  | { readonly op: 'dmaWrite'; readonly mapping: string; readonly page?: number; readonly value?: number }
  | {
      readonly op: 'disable' | 'enable' | 'sleep' | 'wake' | 'reset' | 'relocate';
      readonly device: string;
    }
  | { readonly op: 'allow' | 'deny'; readonly device: string; readonly region: number };

/** What a thread does next: one operation, or up to `times` of several, in any order that makes sense. */
export type Action = Operation | { readonly any: readonly Operation[]; readonly times: number };

/** A machine and what happens on it. */
export interface Program {
  readonly name: string;
  /** One line for people. */
  readonly title?: string;
  readonly devices: Readonly<Record<string, SimDevice>>;
  readonly processes: readonly string[];
  readonly containers: readonly string[];
  /** What the IOMMU can map; anything unless said otherwise. */
  readonly iommu?: Pick<ContainerOptions, 'iovaRanges' | 'msiHole' | 'limit'>;
  /** Done first, by one thread, before the others start. */
  readonly setup: readonly Operation[];
  readonly threads: Readonly<Record<string, readonly Action[]>>;
}

/** VFIO_DEVICE_GET_INFO's index of the first device-specific region of a pci device. */
const DEVICE_SPECIFIC = 9;

/**
 * A PCI function with a 32-bit BAR0, a 64-bit BAR2 of two pages and a device-specific region that is no DMA target. A reset
 * clears BAR0.
 */
export function pciDevice(): SimDevice {
  return {
    kind: 'pci',
    regions: [
      { index: 0, below4GiB: true, clearedByReset: true },
      { index: 2, pages: 2 },
      { index: DEVICE_SPECIFIC, dma: 'deny' },
    ],
  };
}

/** A device of one of the other kinds: two regions of memory, the first of which a reset clears. */
export function plainDevice(kind: Exclude<DeviceKind, 'pci'>): SimDevice {
  return { kind, regions: [{ index: 0, clearedByReset: true }, { index: 1 }] };
}
