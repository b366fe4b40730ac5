/*
 * Requests that wait for their replies: a fixed table of slots, found by the message id.
 *
 * An id is the slot's number and above it how often the slot was used, so that a reply to a request that was given
 * up long ago is not taken for the answer to a later one. Slots are reused in turn, oldest first.
 */
import { PENDING_LIMIT, PENDING_SLOT_BITS } from './limits.ts';

const SLOT_MASK = PENDING_LIMIT - 1;
const ID_MASK = 0xffff;

/** Reads a reply's payload while it lies in the receive buffer; what it returns resolves the request. */
export type ReplyReader = (
  view: DataView,
  bytes: Uint8Array,
  at: number,
  length: number,
  request: Pending,
) => unknown;

/** One request. Reused for later ones, so that a request costs its promise and nothing else. */
export class Pending {
  readonly slot: number;
  id: number;
  command = 0;
  /** In the table, and its reply has not come. */
  waiting = false;
  /** Nobody waits any more: it timed out. The reply is dropped when it comes. */
  abandoned = false;
  /** The clock's tick when it was made. */
  tick = 0;
  read: ReplyReader = readNothing;
  resolve: (value: unknown) => void = ignore;
  reject: (error: Error) => void = ignore;
  /** For region accesses: what and where; for messages of errors too. */
  region = 0;
  offset = 0;
  count = 0;
  target: Uint8Array | null = null;
  targetAt = 0;
  /** Whether fds of the reply are wanted; otherwise they are closed. */
  wantsFds = false;
  fds: readonly number[] = [];

  constructor(slot: number) {
    this.slot = slot;
    this.id = slot;
  }
}

function ignore(): void {}

/** For replies without a payload. */
export function readNothing(): void {}

/** The table. */
export class PendingTable {
  readonly #slots: Pending[] = [];
  /** Ring of free slots that have been used before. */
  readonly #free: Uint16Array = new Uint16Array(PENDING_LIMIT);
  #freeHead = 0;
  #freeCount = 0;
  #count = 0;

  /** Requests in the table, abandoned ones included. */
  get count(): number {
    return this.#count;
  }

  /** A slot for a new request, or null: all are waiting. */
  take(): Pending | null {
    let pending: Pending;
    if (this.#freeCount > 0) {
      pending = this.#slots[this.#free[this.#freeHead]!]!;
      this.#freeHead = (this.#freeHead + 1) & SLOT_MASK;
      this.#freeCount--;
      pending.id = (pending.id + (1 << PENDING_SLOT_BITS)) & ID_MASK;
    } else if (this.#slots.length < PENDING_LIMIT) {
      pending = new Pending(this.#slots.length);
      this.#slots.push(pending);
    } else {
      return null;
    }
    pending.waiting = true;
    pending.abandoned = false;
    this.#count++;
    return pending;
  }

  /** The waiting request with this id, or null. */
  find(id: number): Pending | null {
    const pending = this.#slots[id & SLOT_MASK];
    return pending?.waiting && pending.id === id ? pending : null;
  }

  /** Frees the slot. Its fields stay until it is taken again, except what would keep memory alive. */
  release(pending: Pending): void {
    pending.waiting = false;
    pending.target = null;
    this.#free[(this.#freeHead + this.#freeCount) & SLOT_MASK] = pending.slot;
    this.#freeCount++;
    this.#count--;
  }

  /** Abandons the requests that were made before `tick`, and calls `tell` for each. */
  expire(tick: number, tell: (pending: Pending) => void): void {
    for (const pending of this.#slots) {
      if (!pending.waiting || pending.abandoned || pending.tick >= tick) continue;
      pending.abandoned = true;
      pending.target = null;
      tell(pending);
    }
  }

  /** Empties the table, and calls `tell` for each request that somebody still waits for. */
  drain(tell: (pending: Pending) => void): void {
    for (const pending of this.#slots) {
      if (!pending.waiting) continue;
      const { abandoned } = pending;
      this.release(pending);
      if (!abandoned) tell(pending);
    }
  }
}
