/*
 * Memory that is larger than one mapping is reached through windows: pieces of at most 1 GiB, each one mapping.
 *
 * Node 20 refuses an ArrayBuffer of more than 4 GiB, and Node 26 indexes a Uint8Array slowly beyond 2 GiB; 1 GiB stays
 * clear of both and makes the window of an offset a division.
 */
import { PAGE_SIZE } from '../core/index.ts';

/** Size of a full window, and the alignment of every window in its memory. */
export const WINDOW_BYTES: number = 2 ** 30;

/** What stands for memory that cannot be reached. */
export const NO_BYTES: Uint8Array = new Uint8Array(0);

/** Index of the window that holds `offset`. Offsets exceed 32 bits, so no shift. */
export function windowIndex(offset: number): number {
  return Math.floor(offset / WINDOW_BYTES);
}

/** The whole pages in `sizeBytes`, in bytes. */
export function pageFloor(sizeBytes: number): number {
  return sizeBytes - (sizeBytes % PAGE_SIZE);
}

/** `sizeBytes` rounded up to whole pages. */
export function pageCeil(sizeBytes: number): number {
  return Math.ceil(sizeBytes / PAGE_SIZE) * PAGE_SIZE;
}
