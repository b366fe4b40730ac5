/*
 * The nodes of IntervalMap: a pool of B+-tree nodes in a few typed arrays.
 *
 * A node is a number. Its entries lie side by side in slots `node * FANOUT ..`, so a slot names an entry for good as long
 * as the tree does not change, and freeing or making a node is a list operation: once the pool has grown to what the
 * tree needs, nothing is allocated any more and nothing is left to the garbage collector.
 *
 * Leaves and inner nodes share the pool. A leaf's slot is an interval (start, end, value); an inner node's slot is a child
 * (smallest start below it, 0 as its end, link). Two invariants let a search take a node that it only guesses:
 * unused slots start at Infinity, and an inner slot ends at 0, so neither can ever be mistaken for an interval.
 */

/** Entries in a node: two rounds of comparisons without a branch, see `searchNode`. */
export const FANOUT = 32;
export const FANOUT_SHIFT = 5;
export const FANOUT_MASK: number = FANOUT - 1;
/** No node, no slot. */
export const NONE = -1;

const FIRST_CAPACITY = 2;

/**
 * The slot of the last entry that starts at or before `point`, or the node's first slot if there is none.
 *
 * Seven comparisons that do not depend on each other find the group of four, three more the entry. A binary search has as
 * many steps as bits, and half of them are mispredicted when addresses are random.
 */
export function searchNode(starts: Float64Array, base: number, point: number): number {
  const group =
    base +
    ((+(starts[base + 4]! <= point) +
      +(starts[base + 8]! <= point) +
      +(starts[base + 12]! <= point) +
      +(starts[base + 16]! <= point) +
      +(starts[base + 20]! <= point) +
      +(starts[base + 24]! <= point) +
      +(starts[base + 28]! <= point)) <<
      2);
  return (
    group + +(starts[group + 1]! <= point) + +(starts[group + 2]! <= point) + +(starts[group + 3]! <= point)
  );
}

/** The pool. Slots are valid for the typed arrays as they are now: read the fields again after `allocate`. */
export class IntervalNodes<T> {
  starts: Float64Array = new Float64Array(FIRST_CAPACITY * FANOUT).fill(Infinity);
  ends: Float64Array = new Float64Array(FIRST_CAPACITY * FANOUT);
  links: Int32Array = new Int32Array(FIRST_CAPACITY * FANOUT);
  values: (T | undefined)[] = new Array<T | undefined>(FIRST_CAPACITY * FANOUT).fill(undefined);
  /** Entries in use, by node. */
  counts: Int32Array = new Int32Array(FIRST_CAPACITY);
  /** The leaf to the right, by node; the chain of free nodes for those that are not in use. */
  next: Int32Array = new Int32Array(FIRST_CAPACITY);
  capacity: number = FIRST_CAPACITY;
  #free: number = NONE;
  #untouched = 0;

  /** Nodes that the tree holds now. */
  used = 0;

  /** An empty node. The arrays may be replaced by longer ones. */
  allocate(): number {
    let node = this.#free;
    if (node !== NONE) {
      this.#free = this.next[node]!;
    } else {
      if (this.#untouched === this.capacity) this.#grow();
      node = this.#untouched++;
    }
    this.next[node] = NONE;
    this.used++;
    return node;
  }

  release(node: number): void {
    this.#vacate(node, 0);
    this.next[node] = this.#free;
    this.#free = node;
    this.used--;
  }

  /** Puts an entry into a node that has room, before its entry `at`. */
  insert(node: number, at: number, start: number, end: number, link: number, value: T | undefined): void {
    const { starts, ends, links, values } = this;
    const slot = (node << FANOUT_SHIFT) + at;
    for (let i = (node << FANOUT_SHIFT) + this.counts[node]!; i > slot; i--) {
      starts[i] = starts[i - 1]!;
      ends[i] = ends[i - 1]!;
      links[i] = links[i - 1]!;
      values[i] = values[i - 1];
    }
    starts[slot] = start;
    ends[slot] = end;
    links[slot] = link;
    values[slot] = value;
    this.counts[node]!++;
  }

  /** Takes the entry in `slot` out of its node. */
  remove(slot: number): void {
    const { starts, ends, links, values } = this;
    const node = slot >> FANOUT_SHIFT;
    const last = (node << FANOUT_SHIFT) + this.counts[node]! - 1;
    for (let i = slot; i < last; i++) {
      starts[i] = starts[i + 1]!;
      ends[i] = ends[i + 1]!;
      links[i] = links[i + 1]!;
      values[i] = values[i + 1];
    }
    this.#vacate(node, last & FANOUT_MASK);
  }

  /** Moves a node's entries from `at` on in front of those of its right neighbour. */
  moveTail(node: number, at: number, right: number): void {
    const moved = this.counts[node]! - at;
    const rightBase = right << FANOUT_SHIFT;
    for (let i = this.counts[right]! - 1; i >= 0; i--) this.#copy(rightBase + i, rightBase + i + moved);
    const from = (node << FANOUT_SHIFT) + at;
    for (let i = 0; i < moved; i++) this.#copy(from + i, rightBase + i);
    this.counts[right]! += moved;
    this.#vacate(node, at);
  }

  /** Moves the first `moved` entries of a node behind those of its left neighbour. */
  moveHead(node: number, moved: number, left: number): void {
    const base = node << FANOUT_SHIFT;
    const to = (left << FANOUT_SHIFT) + this.counts[left]!;
    for (let i = 0; i < moved; i++) this.#copy(base + i, to + i);
    this.counts[left]! += moved;
    const kept = this.counts[node]! - moved;
    for (let i = 0; i < kept; i++) this.#copy(base + moved + i, base + i);
    this.#vacate(node, kept);
  }

  #copy(from: number, to: number): void {
    this.starts[to] = this.starts[from]!;
    this.ends[to] = this.ends[from]!;
    this.links[to] = this.links[from]!;
    this.values[to] = this.values[from];
  }

  /** Empties the slots from `at` on: neither a search nor the garbage collector may still see what they held. */
  #vacate(node: number, at: number): void {
    const base = node << FANOUT_SHIFT;
    for (let slot = base + at; slot < base + this.counts[node]!; slot++) {
      this.starts[slot] = Infinity;
      this.values[slot] = undefined;
    }
    this.counts[node] = at;
  }

  #grow(): void {
    const slots = this.capacity * 2 * FANOUT;
    const { starts, ends, links, counts, next } = this;
    this.starts = new Float64Array(slots).fill(Infinity);
    this.starts.set(starts);
    this.ends = new Float64Array(slots);
    this.ends.set(ends);
    this.links = new Int32Array(slots);
    this.links.set(links);
    while (this.values.length < slots) this.values.push(undefined);
    this.capacity *= 2;
    this.counts = new Int32Array(this.capacity);
    this.counts.set(counts);
    this.next = new Int32Array(this.capacity);
    this.next.set(next);
  }
}
