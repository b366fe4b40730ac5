/*
 * What device code sees of DMA: a port that reads, writes and opens windows by IOVA, and faults that are
 * values. A device never holds raw memory, so whatever goes away (a mapping, a peer's BAR, the client) is cut
 * off in one place.
 */
import { ERRNO } from '../abi/errno.ts';
import type { Reason } from './device.ts';

/** A result that is there at once when it can be. */
export type MaybePromise<T> = T | Promise<T>;

/**
 * Why a DMA could not be done. Those of `Reason` name the state of the peer device whose memory was meant.
 */
export type DmaFaultReason =
  | 'not mapped'
  | 'read is not allowed'
  | 'write is not allowed'
  | 'bus master is off'
  | 'no client is attached'
  | 'memory was lost'
  | 'message failed'
  // The handler of a register read, or of another access whose result is needed, asked for DMA that the client serves only
  // after it has that result.
  | 'client waits for this access'
  | 'mapping is being removed'
  | 'consent was withdrawn'
  // Of windows only: `read` and `write` may well reach the range.
  | 'no direct view'
  | 'too many windows'
  | 'window was closed'
  | Reason;

/** A DMA that did not happen, at the first address that could not be reached. */
export interface DmaFault {
  readonly iova: number;
  readonly reason: DmaFaultReason;
  /** Positive. */
  readonly errno: number;
}

/** Client memory as a device may use it: by address, never by reference. Lengths are bytes. */
export interface DmaPort {
  /** Whether a client is there to be reached; a device that polls its queues asks first. */
  readonly attached: boolean;

  /**
   * Reads `length` bytes at `iova` into `target` from `at` on. After a fault, part of `target` may have been
   * written.
   */
  read(iova: number, target: Uint8Array, at?: number, length?: number): MaybePromise<DmaFault | null>;

  /** Writes `length` bytes of `source` from `at` on to `iova`. After a fault, part of it may have arrived. */
  write(iova: number, source: Uint8Array, at?: number, length?: number): MaybePromise<DmaFault | null>;

  /** What a transfer would run into at this moment, without doing it; null: nothing. */
  check(iova: number, size: number, write: boolean): DmaFault | null;

  /**
   * Direct view of memory that is reached at once and lies in one piece; for queues that are touched often. Where there
   * is none ('no direct view', EOPNOTSUPP), for example because the client did not share its memory, use `read` and
   * `write`.
   */
  window(iova: number, size: number, write: boolean): DmaWindow | DmaFault;
}

/** A view that dies with its mapping: then `bytes` has length 0 and `dead` says why. */
export interface DmaWindow {
  readonly bytes: Uint8Array;
  readonly dead: DmaFaultReason | null;
  close(): void;
}

/** Tells the two results of `DmaPort.window` apart. */
export function isDmaFault(result: DmaWindow | DmaFault | null): result is DmaFault {
  return result !== null && 'reason' in result;
}

/** The port of a device that no client has attached to: everything faults, nothing throws. */
export class NoClientDma implements DmaPort {
  readonly attached: boolean = false;

  read(iova: number): DmaFault {
    return this.#fault(iova);
  }

  write(iova: number): DmaFault {
    return this.#fault(iova);
  }

  check(iova: number): DmaFault {
    return this.#fault(iova);
  }

  window(iova: number): DmaFault {
    return this.#fault(iova);
  }

  #fault(iova: number): DmaFault {
    return { iova, reason: 'no client is attached', errno: ERRNO.ENODEV };
  }
}
