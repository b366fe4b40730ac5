/*
 * The states that are still to be expanded: whole states, first in first out, in one array that grows.
 */
import { VfioError } from '../core/index.ts';
import type { State } from '../sim/layout.ts';

const FIRST_STATES = 1024;
/** More would not leave a machine enough. */
const LIMIT_BYTES = 4 * 2 ** 30;

/** A queue of states with their numbers. */
export class Frontier {
  readonly #width: number;
  readonly #limitBytes: number;
  #cells: Uint16Array;
  #numbers: Int32Array;
  #first = 0;
  #end = 0;

  /** @param width cells of a state. @param limitBytes what its arrays may take. */
  constructor(width: number, limitBytes: number = LIMIT_BYTES) {
    this.#width = width;
    this.#limitBytes = limitBytes;
    this.#cells = new Uint16Array(width * FIRST_STATES);
    this.#numbers = new Int32Array(FIRST_STATES);
  }

  get length(): number {
    return this.#end - this.#first;
  }

  get sizeBytes(): number {
    return this.#cells.byteLength + this.#numbers.byteLength;
  }

  /** ENOSPC when it would become too large. */
  push(state: State, number: number): void {
    if (this.#end === this.#numbers.length) this.#makeRoom();
    this.#cells.set(state, this.#end * this.#width);
    this.#numbers[this.#end] = number;
    this.#end++;
  }

  /** Takes the oldest into `state`; returns its number. */
  shift(state: State): number {
    const at = this.#first * this.#width;
    state.set(this.#cells.subarray(at, at + this.#width));
    return this.#numbers[this.#first++]!;
  }

  #makeRoom(): void {
    const { length } = this;
    const capacity = this.#first > this.#numbers.length / 2 ? this.#numbers.length : this.#numbers.length * 2;
    if (capacity * (2 * this.#width + 4) > this.#limitBytes)
      throw new VfioError('ENOSPC', `${length} states wait to be tried: limit the depth, or walk at random`);
    const cells = this.#cells.subarray(this.#first * this.#width, this.#end * this.#width);
    const numbers = this.#numbers.subarray(this.#first, this.#end);
    if (capacity === this.#numbers.length) {
      this.#cells.copyWithin(0, this.#first * this.#width, this.#end * this.#width);
      this.#numbers.copyWithin(0, this.#first, this.#end);
    } else {
      this.#cells = new Uint16Array(capacity * this.#width);
      this.#cells.set(cells);
      this.#numbers = new Int32Array(capacity);
      this.#numbers.set(numbers);
    }
    this.#first = 0;
    this.#end = length;
  }
}
