/*
 * The port to the memory behind a mappable region. The live world puts a memfd behind it, pure tests and the
 * simulated world plain bytes; the core only tells it when it must not be reached and when it is back.
 */
import { ERRNO } from '../abi/errno.ts';

/**
 * Bytes of one region, reached through windows of at most 1 GiB because no ArrayBuffer holds a whole large
 * BAR. The device tells it `suspend` and `resume` in turns and `release` at most once, last.
 */
export interface RegionMemory {
  /** At least the region's size. */
  readonly sizeBytes: number;
  /** Somebody outside took the contents away (a client truncated our memfd); until it is whole again. */
  readonly lost: boolean;
  /** The window that holds `offset`: the same view object each time, not one made per call. */
  bytesAt(offset: number): Uint8Array;
  /** Region offset of `bytesAt(offset)[0]`. */
  windowStart(offset: number): number;
  /** Cuts off everybody but the device's own code; contents are kept (R8). */
  suspend(): void;
  /** Lets everybody reach it again, with the same contents. */
  resume(): void;
  /** Final: contents are gone. */
  release(): void;
  /** Writes zeros; what a reset does to memory that it clears. */
  clear(offset: number, size: number): void;
}

/** What is left to a device that gave its memory away to the instance that took its place: nothing, and no error. */
export class GoneMemory implements RegionMemory {
  readonly sizeBytes: number;
  readonly lost: boolean = false;
  readonly #none: Uint8Array = new Uint8Array(0);

  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
  }

  bytesAt(): Uint8Array {
    return this.#none;
  }

  windowStart(): number {
    return 0;
  }

  suspend(): void {}
  resume(): void {}
  release(): void {}
  clear(): void {}
}

/**
 * Up to this many bytes a loop is faster than making two views for a block copy, and it allocates nothing.
 */
const BYTE_LOOP_LIMIT = 64;

/** Copies from `memory` to `view[at ..]`. 0, or EIO when the memory is not there. */
export function copyFromMemory(
  memory: RegionMemory,
  offset: number,
  count: number,
  view: DataView,
  at: number,
): number {
  let done = 0;
  while (done < count) {
    if (memory.lost) return ERRNO.EIO;
    const bytes = memory.bytesAt(offset + done);
    const from = offset + done - memory.windowStart(offset + done);
    const length = Math.min(count - done, bytes.length - from);
    if (!(length > 0)) return ERRNO.EIO;
    if (length <= BYTE_LOOP_LIMIT) {
      for (let i = 0; i < length; i++) view.setUint8(at + done + i, bytes[from + i]!);
    } else {
      new Uint8Array(view.buffer, view.byteOffset + at + done, length).set(
        bytes.subarray(from, from + length),
      );
    }
    done += length;
  }
  return 0;
}

/** Copies `view[at ..]` to `memory`. 0, or EIO when the memory is not there. */
export function copyToMemory(
  memory: RegionMemory,
  offset: number,
  count: number,
  view: DataView,
  at: number,
): number {
  let done = 0;
  while (done < count) {
    if (memory.lost) return ERRNO.EIO;
    const bytes = memory.bytesAt(offset + done);
    const from = offset + done - memory.windowStart(offset + done);
    const length = Math.min(count - done, bytes.length - from);
    if (!(length > 0)) return ERRNO.EIO;
    if (length <= BYTE_LOOP_LIMIT) {
      for (let i = 0; i < length; i++) bytes[from + i] = view.getUint8(at + done + i);
    } else {
      bytes.set(new Uint8Array(view.buffer, view.byteOffset + at + done, length), from);
    }
    done += length;
  }
  return 0;
}
