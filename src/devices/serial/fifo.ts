/**
 * A FIFO of bytes whose places are all made at the start. Whoever pushes looks at `level` first.
 */
import { assert } from '../../core/index.ts';

export class ByteFifo {
  readonly #bytes: Uint8Array;
  #start = 0;
  #level = 0;

  constructor(capacity: number) {
    this.#bytes = new Uint8Array(capacity);
  }

  /** How many bytes are in it. */
  get level(): number {
    return this.#level;
  }

  push(byte: number): void {
    assert(this.#level < this.#bytes.length, 'a byte is pushed into a full FIFO');
    this.#bytes[(this.#start + this.#level) % this.#bytes.length] = byte;
    this.#level += 1;
  }

  /** The oldest byte. */
  pop(): number {
    assert(this.#level > 0, 'a byte is taken from an empty FIFO');
    const byte = this.#bytes[this.#start]!;
    this.#drop(1);
    return byte;
  }

  clear(): void {
    this.#level = 0;
  }

  /**
   * Offers the oldest bytes that lie in a row to `take`, which says how many it took. False if that were not all: it wants
   * no more now.
   */
  offer(take: (bytes: Uint8Array, at: number, count: number) => number): boolean {
    const count = Math.min(this.#level, this.#bytes.length - this.#start);
    const taken = take(this.#bytes, this.#start, count);
    assert(taken >= 0 && taken <= count, `${taken} bytes are taken where ${count} were offered`);
    this.#drop(taken);
    return taken === count;
  }

  #drop(count: number): void {
    this.#start = (this.#start + count) % this.#bytes.length;
    this.#level -= count;
  }
}
