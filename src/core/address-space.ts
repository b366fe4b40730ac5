/*
 * All mappings of one device by anybody, ordered by pgoff: the kernel's `struct address_space` of the
 * device's inode. Because every VMA keeps the region coding (R1), one range says "the BARs" for all of them
 * (R5).
 */
import { VfioError } from './error.ts';
import { type Interval, IntervalTree } from './interval-tree.ts';
import { PAGE_SIZE } from './offset.ts';
import type { Vma } from './vma.ts';

/**
 * Takes [start, start + length) of a VMA away: virtual addresses inside it, whole pages. The simulated world
 * clears page table entries; the next touch faults and asks whether the region is accessible.
 */
export type ZapPort = (vma: Vma, start: number, length: number) => void;

/** Offsets end here: above it bytes are no longer exact numbers. */
const OFFSET_END = 2 ** 53;

/** The VMAs that map one device. */
export class AddressSpace {
  /** The world's port, told of what `unmapMappingRange` takes away; null when nobody has page tables. */
  onZap: ZapPort | null = null;

  readonly #tree: IntervalTree<Vma> = new IntervalTree();
  readonly #intervals: Map<Vma, Interval<Vma>> = new Map();

  /** How many VMAs it holds. */
  get size(): number {
    return this.#intervals.size;
  }

  /** A process mapped the device. EEXIST if this VMA is already here. */
  insert(vma: Vma): void {
    if (this.#intervals.has(vma)) {
      throw new VfioError(
        'EEXIST',
        `the VMA of ${vma.process} at ${vma.start} is already in this address space`,
      );
    }
    vma.enter(this);
    this.#intervals.set(vma, this.#tree.insert(vma.pgoff, vma.endPgoff, vma));
  }

  /** A process unmapped the device, or closed it by exiting. ENOENT if this VMA is not here. */
  remove(vma: Vma): void {
    const interval = this.#intervals.get(vma);
    if (interval === undefined) {
      throw new VfioError('ENOENT', `the VMA of ${vma.process} at ${vma.start} is not in this address space`);
    }
    this.#tree.remove(interval);
    this.#intervals.delete(vma);
    vma.enter(null);
  }

  /**
   * The VMAs that show any byte of [start, start + length), by pgoff. A part of a page counts as the page.
   */
  vmasIn(start: number, length: number): Vma[] {
    assertRange(start, length);
    return this.#tree.overlaps(Math.floor(start / PAGE_SIZE), Math.ceil((start + length) / PAGE_SIZE));
  }

  /** Every VMA, in the order they came. */
  vmas(): IterableIterator<Vma> {
    return this.#intervals.keys();
  }

  /**
   * Takes [start, start + length) of the device (offset coding) away from every process: the zap port is
   * called once for each VMA that shows a part of it, with that part. Returns how many VMAs that were.
   * Counterpart of `unmap_mapping_range`, except that a length of 0 is nothing here and "to the end" there.
   */
  unmapMappingRange(start: number, length: number): number {
    assertRange(start, length);
    if (length === 0) return 0;
    const first = Math.floor(start / PAGE_SIZE);
    const end = Math.ceil((start + length) / PAGE_SIZE);
    const vmas = this.#tree.overlaps(first, end);
    for (const vma of vmas) {
      // The port is the world's code and may change VMAs; who shows nothing of the range any more is left
      // alone.
      const from = Math.max(first, vma.pgoff);
      const to = Math.min(end, vma.endPgoff);
      if (vma.space !== this || from >= to) continue;
      this.onZap?.(vma, vma.start + (from - vma.pgoff) * PAGE_SIZE, (to - from) * PAGE_SIZE);
    }
    return vmas.length;
  }
}

function assertRange(start: number, length: number): void {
  if (start >= 0 && length >= 0 && start + length <= OFFSET_END) return;
  throw new VfioError('EOVERFLOW', `range ${start}+${length} is not in an address space; it ends at 2^53`);
}
