/*
 * Where DMA memory goes when nobody says where.
 */
import { PAGE_SIZE } from '../core/index.ts';
import { FIRST_IOVA, MSI_WINDOW_END, MSI_WINDOW_START } from './limits.ts';

/** Memory that could be mapped with huge pages is aligned to them. */
const HUGE_PAGE_BYTES: number = 2 << 20;

/** A range that is taken. */
export interface TakenRange {
  readonly iova: number;
  readonly sizeBytes: number;
}

/** The lowest free range of that size from 1 MiB on, outside the MSI window. `taken` is sorted and does not overlap. */
export function lowestFreeIova(sizeBytes: number, taken: Iterable<TakenRange>): number {
  const alignment = sizeBytes >= HUGE_PAGE_BYTES ? HUGE_PAGE_BYTES : PAGE_SIZE;
  const align = (iova: number): number => Math.ceil(iova / alignment) * alignment;
  let free = align(FIRST_IOVA);
  const skipMsiWindow = (): void => {
    if (free < MSI_WINDOW_END && free + sizeBytes > MSI_WINDOW_START) free = align(MSI_WINDOW_END);
  };
  skipMsiWindow();
  for (const range of taken) {
    if (free + sizeBytes <= range.iova) break;
    free = Math.max(free, align(range.iova + range.sizeBytes));
    skipMsiWindow();
  }
  return free;
}
