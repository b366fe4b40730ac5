/*
 * The states that were seen, by 64-bit fingerprint, each with the state and the move that first led to it. A state itself is not
 * kept: it is what the moves from the beginning lead to. With n states, two of them share a fingerprint with a probability of about
 * n^2 / 2^65; for ten million that is three in a million.
 */
import { VfioError } from '../core/index.ts';

const FIRST_CAPACITY = 1 << 12;
/** Table slots per state, at least. */
const SPARSENESS = 2;
/** 4 GiB of tables; more does not fit into a process. */
const STATE_LIMIT = 150_000_000;

/** Seen states, numbered in the order they were added. */
export class StateSet {
  /** How many there are. */
  size = 0;
  #low: Uint32Array = new Uint32Array(FIRST_CAPACITY);
  #high: Uint32Array = new Uint32Array(FIRST_CAPACITY);
  #parent: Int32Array = new Int32Array(FIRST_CAPACITY);
  #move: Uint16Array = new Uint16Array(FIRST_CAPACITY);
  /** Number + 1 of the state in each slot; 0 is empty. */
  #table: Int32Array = new Int32Array(FIRST_CAPACITY * SPARSENESS);

  /**
   * Adds a state, given as the 32-bit words of its cells; returns its number, or -1 if it was there. `parent` -1: it is the first.
   */
  add(words: Uint32Array, parent: number, move: number): number {
    let low = 0x9e3779b9;
    let high = 0x7f4a7c15;
    for (let i = 0; i < words.length; i++) {
      const word = words[i]!;
      low = Math.imul(low ^ word, 0x85ebca6b);
      low ^= low >>> 15;
      high = Math.imul(high + word, 0xc2b2ae35);
      high ^= (high >>> 13) ^ low;
    }
    low = Math.imul(low ^ (high >>> 16), 0x27d4eb2f) >>> 0;
    high = Math.imul(high ^ (low >>> 15), 0x165667b1) >>> 0;
    const mask = this.#table.length - 1;
    let slot = low & mask;
    for (let found = this.#table[slot]!; found !== 0; found = this.#table[slot]!) {
      if (this.#low[found - 1] === low && this.#high[found - 1] === high) return -1;
      slot = (slot + 1) & mask;
    }
    if (this.size === this.#low.length) {
      this.#grow();
      return this.add(words, parent, move);
    }
    const number = this.size++;
    this.#table[slot] = number + 1;
    this.#low[number] = low;
    this.#high[number] = high;
    this.#parent[number] = parent;
    this.#move[number] = move;
    return number;
  }

  /** The moves that first led to a state. */
  path(state: number): number[] {
    const moves: number[] = [];
    for (let at = state; this.#parent[at]! >= 0; at = this.#parent[at]!) moves.push(this.#move[at]!);
    return moves.reverse();
  }

  /** Bytes that its tables take. */
  get sizeBytes(): number {
    return this.#low.length * 14 + this.#table.length * 4;
  }

  #grow(): void {
    const capacity = this.#low.length * 2;
    if (capacity > STATE_LIMIT)
      throw new VfioError(
        'ENOSPC',
        `more than ${this.#low.length} states: make the program smaller, or walk at random`,
      );
    this.#low = grown(this.#low, new Uint32Array(capacity));
    this.#high = grown(this.#high, new Uint32Array(capacity));
    this.#parent = grown(this.#parent, new Int32Array(capacity));
    this.#move = grown(this.#move, new Uint16Array(capacity));
    this.#table = new Int32Array(capacity * SPARSENESS);
    const mask = this.#table.length - 1;
    for (let number = 0; number < this.size; number++) {
      let slot = this.#low[number]! & mask;
      while (this.#table[slot] !== 0) slot = (slot + 1) & mask;
      this.#table[slot] = number + 1;
    }
  }
}

function grown<T extends Uint32Array | Int32Array | Uint16Array>(from: T, to: T): T {
  to.set(from as never);
  return to;
}
