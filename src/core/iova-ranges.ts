/*
 * Which IOVAs an IOMMU can map at all: VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE.
 */
import { assert } from './error.ts';

/** IOVAs in [start, end). Unlike in the kernel's capability, `end` is exclusive. */
export interface IovaRange {
  readonly start: number;
  readonly end: number;
}

/** Where an x86 device's writes are interrupts, not memory: type1 never maps there. */
export const MSI_WINDOW: IovaRange = { start: 0xfee0_0000, end: 0xfef0_0000 };

/** IOVAs end here: above it numbers are no longer exact, and no bus has so many address bits. */
export const IOVA_END: number = 2 ** 53;

/** The ranges without the MSI window. */
export function withoutMsiWindow(ranges: readonly IovaRange[]): IovaRange[] {
  return ranges.flatMap((range) => {
    const below = { start: range.start, end: Math.min(range.end, MSI_WINDOW.start) };
    const above = { start: Math.max(range.start, MSI_WINDOW.end), end: range.end };
    return [below, above].filter((part) => part.start < part.end);
  });
}

/** A sorted copy. Ranges must be whole pages below 2^53 and must not overlap. */
export function checkedRanges(ranges: readonly IovaRange[], pageSizeBytes: number): readonly IovaRange[] {
  const sorted = [...ranges].sort((a, b) => a.start - b.start);
  let end = 0;
  for (const range of sorted) {
    const what = `IOVA range [${range.start}, ${range.end})`;
    assert(
      range.start % pageSizeBytes === 0 && range.end % pageSizeBytes === 0,
      `${what}: it must be whole pages`,
    );
    assert(
      range.start >= end && range.end > range.start && range.end <= IOVA_END,
      `${what}: it is empty or overlaps`,
    );
    end = range.end;
  }
  return sorted;
}
