/*
 * The states that are still to be expanded: whole states, first in first out, in one array that grows.
 */
import type { State } from '../sim/layout.ts';

const FIRST_STATES = 1024;

/** A queue of states with their numbers. */
export class Frontier {
  readonly #width: number;
  #cells: Uint16Array;
  #numbers: Int32Array;
  #first = 0;
  #end = 0;

  /** @param width cells of a state. */
  constructor(width: number) {
    this.#width = width;
    this.#cells = new Uint16Array(width * FIRST_STATES);
    this.#numbers = new Int32Array(FIRST_STATES);
  }

  get length(): number {
    return this.#end - this.#first;
  }

  get sizeBytes(): number {
    return this.#cells.byteLength + this.#numbers.byteLength;
  }

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
