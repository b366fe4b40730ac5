/*
 * R1: the coding of a device's one address space. A region's offset is its index shifted left by 40, so the
 * offset of any byte names both the region and the place in it, and a VMA's vm_pgoff (the offset in pages)
 * does too.
 *
 * Counterparts in the kernel: VFIO_PCI_INDEX_TO_OFFSET, VFIO_PCI_OFFSET_TO_INDEX, VFIO_PCI_OFFSET_MASK
 * (include/linux/vfio_pci_core.h). Offsets are plain numbers: 2^53 leaves room for 8192 regions, and what
 * would not be exact is refused with EOVERFLOW instead of being rounded into another region.
 */
import { VfioError } from './error.ts';

/** A region's offset is its index shifted left by this many bits: at most 1 TiB per region. */
export const VFIO_PCI_OFFSET_SHIFT: number = 40;

/** Bytes of the address space that each index owns, used or not. */
export const REGION_SPAN: number = 2 ** VFIO_PCI_OFFSET_SHIFT;

/** Pages are 4 KiB on every host that we run on; pgoff counts these. */
export const PAGE_SHIFT: number = 12;

/** Bytes in a page. */
export const PAGE_SIZE: number = 2 ** PAGE_SHIFT;

/** Pages that each region index owns: a pgoff is `index * REGION_SPAN_PAGES + page`. */
export const REGION_SPAN_PAGES: number = REGION_SPAN / PAGE_SIZE;

/** Region indexes below this one have exact offsets, their last byte included. */
export const REGION_INDEX_LIMIT: number = 2 ** 53 / REGION_SPAN;

function assertExact(value: number, what: string): void {
  if (Number.isSafeInteger(value) && value >= 0) return;
  throw new VfioError(
    'EOVERFLOW',
    `${what} ${value} is not an exact offset; use an integer from 0 to 2^53 - 1`,
  );
}

/** Offset of the region `index` in its device's address space. EOVERFLOW from index 8192 on. */
export function indexToOffset(index: number): number {
  if (Number.isInteger(index) && index >= 0 && index < REGION_INDEX_LIMIT) return index * REGION_SPAN;
  throw new VfioError(
    'EOVERFLOW',
    `region index ${index} has no exact offset; use 0 to ${REGION_INDEX_LIMIT - 1}`,
  );
}

/** Index of the region that owns `offset`, whether or not the device has such a region. */
export function offsetToIndex(offset: number): number {
  assertExact(offset, 'offset');
  return Math.floor(offset / REGION_SPAN);
}

/** The place of `offset` in its region, in bytes. */
export function offsetInRegion(offset: number): number {
  assertExact(offset, 'offset');
  return offset % REGION_SPAN;
}

/** Page offset (vm_pgoff) of a page aligned offset. EINVAL if it is not aligned, as mmap says. */
export function offsetToPgoff(offset: number): number {
  assertExact(offset, 'offset');
  if (offset % PAGE_SIZE === 0) return offset / PAGE_SIZE;
  throw new VfioError(
    'EINVAL',
    `offset ${offset} is not a multiple of ${PAGE_SIZE}; only whole pages can be mapped`,
  );
}

/** Offset in bytes of the page `pgoff`. */
export function pgoffToOffset(pgoff: number): number {
  const offset = pgoff * PAGE_SIZE;
  assertExact(offset, 'the offset of the page');
  return offset;
}
