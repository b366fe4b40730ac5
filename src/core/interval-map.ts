/*
 * A map from ranges of numbers that do not overlap to values: what an IOMMU's table of mappings is.
 *
 * A B+-tree (O(log n) for everything) with one addition. Addresses that a device uses are found through a table of hints,
 * indexed by the address, that names the leaf where it was found last time. A hint is never trusted: the interval that its
 * leaf yields must hold the address, otherwise the search starts at the root and corrects the hint. So hints cost nothing
 * to keep while the tree changes, and a lookup among ten thousand ranges touches one leaf.
 */
import { FANOUT, FANOUT_MASK, FANOUT_SHIFT, IntervalNodes, NONE, searchNode } from './interval-nodes.ts';

/** A node that falls below this borrows from its neighbour or merges with it. */
const LEAST_ENTRIES: number = FANOUT / 4;
/** Two neighbours merge only if the result has room left: the next insertion must not split it again. */
const MERGED_ENTRIES_MAX: number = (FANOUT * 3) / 4;
/** 8^16 entries: more than there are pages below 2^53. */
const HEIGHT_MAX = 16;
/** Hints for a leaf: a range of addresses that is shorter than a leaf seldom belongs to two of them. */
const HINTS_PER_LEAF = 8;

/**
 * Ranges [start, end) with 0 <= start < end <= 2^64 that do not overlap, each with a value. Numbers above 2^53 must be
 * exact doubles (page-aligned addresses are). Steady state allocates nothing.
 *
 * A *slot* names one entry for fast reading without an object; it holds until the next insert, remove or clear.
 */
export class IntervalMap<T> {
  #nodes: IntervalNodes<T> = new IntervalNodes<T>();
  #root: number = this.#nodes.allocate();
  /** Levels of the tree; 1: the root is a leaf. */
  #height = 1;
  #size = 0;
  /** For each level above the leaves, the slot that the last descent took; filled by `#descend`. */
  readonly #path: Int32Array = new Int32Array(HEIGHT_MAX);
  #hints: Int32Array = new Int32Array(HINTS_PER_LEAF);
  /** Hints for one unit of address: a power of two, so the product is exact. 0 until the first leaf was split. */
  #hintScale = 0;

  /** Number of ranges. */
  get size(): number {
    return this.#size;
  }

  /** Where the first range starts; Infinity if there is none. */
  get firstStart(): number {
    return this.startAt(this.first());
  }

  /** Where the last range ends; 0 if there is none. */
  get lastEnd(): number {
    if (this.#size === 0) return 0;
    return this.#nodes.ends[this.#descend(Number.MAX_VALUE)]!;
  }

  /** Nodes in use and nodes ever made: what tests watch to see that nothing leaks. */
  get nodes(): { readonly used: number; readonly capacity: number } {
    return { used: this.#nodes.used, capacity: this.#nodes.capacity };
  }

  /** Adds [start, start + size). False, and nothing changed, if that overlaps a range in the map. */
  insert(start: number, size: number, value: T): boolean {
    const end = start + size;
    if (!(start >= 0 && end > start)) throw new RangeError(`[${start}, ${end}) is not a range of addresses`);
    const nodes = this.#nodes;
    const slot = this.#descend(start);
    const leaf = slot >> FANOUT_SHIFT;
    const follows = nodes.starts[slot]! <= start;
    if (follows && nodes.ends[slot]! > start) return false;
    const at = (slot & FANOUT_MASK) + (follows ? 1 : 0);
    if (this.#startFrom(leaf, at) < end) return false;
    this.#insertAt(leaf, at, start, end, value);
    this.#size++;
    return true;
  }

  /** The value of the range that holds `point`. */
  find(point: number): T | undefined {
    const slot = this.locate(point);
    return slot === NONE ? undefined : this.#nodes.values[slot];
  }

  /** The slot of the range that holds `point`, or -1. Hot. */
  locate(point: number): number {
    const nodes = this.#nodes;
    const hint = (point * this.#hintScale) & (this.#hints.length - 1);
    const slot = searchNode(nodes.starts, this.#hints[hint]! << FANOUT_SHIFT, point);
    if (nodes.starts[slot]! <= point && point < nodes.ends[slot]!) return slot;
    return this.#locateFromRoot(point, hint);
  }

  /** Whether `slot`, which may be out of date, names a range that holds `point`. */
  holds(slot: number, point: number): boolean {
    return this.#nodes.starts[slot]! <= point && point < this.#nodes.ends[slot]!;
  }

  /** The slot of the first range that ends after `point`, or -1. */
  seek(point: number): number {
    const nodes = this.#nodes;
    const slot = this.#descend(point);
    if (nodes.starts[slot]! <= point && point >= nodes.ends[slot]!) return this.next(slot);
    return nodes.starts[slot] === Infinity ? NONE : slot;
  }

  /** The slot of the first range, or -1. */
  first(): number {
    return this.seek(0);
  }

  /** The slot of the range after this one, or -1. */
  next(slot: number): number {
    const nodes = this.#nodes;
    const leaf = slot >> FANOUT_SHIFT;
    if ((slot & FANOUT_MASK) + 1 < nodes.counts[leaf]!) return slot + 1;
    const right = nodes.next[leaf]!;
    return right === NONE ? NONE : right << FANOUT_SHIFT;
  }

  /** Where the range in a slot starts; Infinity for -1. */
  startAt(slot: number): number {
    return slot < 0 ? Infinity : this.#nodes.starts[slot]!;
  }

  /** Where the range in a slot ends, exclusive. */
  endAt(slot: number): number {
    return this.#nodes.ends[slot]!;
  }

  /** The value of the range in a slot. */
  valueAt(slot: number): T {
    return this.#nodes.values[slot] as T;
  }

  /** Whether any range overlaps [start, end). */
  overlaps(start: number, end: number): boolean {
    return this.startAt(this.seek(start)) < end;
  }

  /** Calls back for each range that overlaps [start, end), in order. The callback must not change the map. */
  visit(start: number, end: number, callback: (value: T, start: number, end: number) => void): void {
    for (let slot = this.seek(start); this.startAt(slot) < end; slot = this.next(slot)) {
      callback(this.valueAt(slot), this.startAt(slot), this.endAt(slot));
    }
  }

  /** Takes out the range that starts exactly at `start`; its value, or undefined if there is none. */
  remove(start: number): T | undefined {
    const nodes = this.#nodes;
    const slot = this.#descend(start);
    if (nodes.starts[slot] !== start) return undefined;
    const value = nodes.values[slot];
    const leaf = slot >> FANOUT_SHIFT;
    nodes.remove(slot);
    this.#size--;
    if ((slot & FANOUT_MASK) === 0 && nodes.counts[leaf]! > 0) this.#renameFirst(nodes.starts[slot]!);
    this.#rebalance(leaf);
    return value;
  }

  /** Takes out everything, and gives the memory back. */
  clear(): void {
    this.#nodes = new IntervalNodes<T>();
    this.#root = this.#nodes.allocate();
    this.#height = 1;
    this.#size = 0;
    this.#hints = new Int32Array(HINTS_PER_LEAF);
    this.#hintScale = 0;
  }

  #locateFromRoot(point: number, hint: number): number {
    const { starts, ends, links } = this.#nodes;
    let node = this.#root;
    for (let level = this.#height; level > 1; level--)
      node = links[searchNode(starts, node << FANOUT_SHIFT, point)]!;
    const slot = searchNode(starts, node << FANOUT_SHIFT, point);
    if (!(starts[slot]! <= point && point < ends[slot]!)) return NONE;
    this.#hints[hint] = node;
    return slot;
  }

  /** The slot in the right leaf (see `searchNode`); remembers the way for `#insertAt` and `#rebalance`. */
  #descend(point: number): number {
    const { starts, links } = this.#nodes;
    let node = this.#root;
    for (let level = this.#height - 1; level > 0; level--) {
      const slot = searchNode(starts, node << FANOUT_SHIFT, point);
      this.#path[level] = slot;
      node = links[slot]!;
    }
    return searchNode(starts, node << FANOUT_SHIFT, point);
  }

  /** The start of entry `at` of a leaf, which may be the first one of the next leaf. */
  #startFrom(leaf: number, at: number): number {
    const nodes = this.#nodes;
    if (at < nodes.counts[leaf]!) return nodes.starts[(leaf << FANOUT_SHIFT) + at]!;
    const right = nodes.next[leaf]!;
    return right === NONE ? Infinity : nodes.starts[right << FANOUT_SHIFT]!;
  }

  /** Inserts into a leaf; a full node splits, and its new right half goes into the node above. */
  #insertAt(leaf: number, leafAt: number, leafStart: number, leafEnd: number, leafValue: T): void {
    const nodes = this.#nodes;
    let node = leaf;
    let at = leafAt;
    let start = leafStart;
    let end = leafEnd;
    let link = 0;
    let value: T | undefined = leafValue;
    for (let level = 0; nodes.counts[node] === FANOUT; level++) {
      const right = this.#split(node, level === 0, at);
      const kept = nodes.counts[node]!;
      if (at > kept || kept === FANOUT) nodes.insert(right, at - kept, start, end, link, value);
      else nodes.insert(node, at, start, end, link, value);
      start = nodes.starts[right << FANOUT_SHIFT]!;
      end = 0;
      link = right;
      value = undefined;
      if (level + 1 === this.#height) this.#addRoot();
      const above = this.#path[level + 1]!;
      node = above >> FANOUT_SHIFT;
      at = (above & FANOUT_MASK) + 1;
    }
    nodes.insert(node, at, start, end, link, value);
  }

  /** Moves the upper half of a full node into a new one at its right. */
  #split(node: number, isLeaf: boolean, at: number): number {
    const nodes = this.#nodes;
    const right = nodes.allocate();
    if (!isLeaf) {
      nodes.moveTail(node, FANOUT / 2, right);
      return right;
    }
    // Ranges that come in ascending order leave full leaves behind, not half empty ones.
    const appended = at === FANOUT && nodes.next[node] === NONE;
    this.#learnSpan(node);
    if (!appended) nodes.moveTail(node, FANOUT / 2, right);
    nodes.next[right] = nodes.next[node]!;
    nodes.next[node] = right;
    return right;
  }

  /** Puts a root above the root, which becomes its only child. */
  #addRoot(): void {
    const nodes = this.#nodes;
    const root = nodes.allocate();
    nodes.insert(root, 0, nodes.starts[this.#root << FANOUT_SHIFT]!, 0, this.#root, undefined);
    this.#path[this.#height] = root << FANOUT_SHIFT;
    this.#root = root;
    this.#height++;
  }

  /**
   * Sets how many addresses share a hint, from the span of a leaf that is full now. It follows by one octave at a time,
   * so that a leaf with a hole in it does not spoil the hints for all the others.
   */
  #learnSpan(leaf: number): void {
    const { starts, ends, capacity } = this.#nodes;
    if (this.#hints.length < capacity * HINTS_PER_LEAF)
      this.#hints = new Int32Array(capacity * HINTS_PER_LEAF);
    const base = leaf << FANOUT_SHIFT;
    const wanted = HINTS_PER_LEAF / (ends[base + FANOUT - 1]! - starts[base]!);
    if (this.#hintScale === 0) this.#hintScale = 2 ** Math.floor(Math.log2(wanted));
    else if (wanted >= this.#hintScale * 2) this.#hintScale *= 2;
    else if (wanted < this.#hintScale) this.#hintScale /= 2;
  }

  /**
   * The first start of the leaf that the path leads to has changed: so has that of each node it is the first in. (A new
   * smallest start needs no renaming: no search ever looks at the first start of a node at the left edge.)
   */
  #renameFirst(start: number): void {
    for (let level = 1; level < this.#height; level++) {
      const slot = this.#path[level]!;
      this.#nodes.starts[slot] = start;
      if ((slot & FANOUT_MASK) !== 0) return;
    }
  }

  /** Evens out or merges a node that has become too empty, and then the nodes above it. */
  #rebalance(leaf: number): void {
    const nodes = this.#nodes;
    let node = leaf;
    for (let level = 1; level < this.#height && nodes.counts[node]! < LEAST_ENTRIES; level++) {
      const slot = this.#path[level]!;
      const parent = slot >> FANOUT_SHIFT;
      // The pair is (node, its right neighbour), or (its left neighbour, node) for the last child.
      const rightSlot = (slot & FANOUT_MASK) + 1 < nodes.counts[parent]! ? slot + 1 : slot;
      if (this.#evenOut(rightSlot)) return;
      node = parent;
    }
    while (this.#height > 1 && nodes.counts[this.#root] === 1) {
      const root = this.#root;
      this.#root = nodes.links[root << FANOUT_SHIFT]!;
      nodes.release(root);
      this.#height--;
    }
  }

  /** Shares the entries of the children in `rightSlot - 1` and `rightSlot`; false: merged, and the parent has one less. */
  #evenOut(rightSlot: number): boolean {
    const nodes = this.#nodes;
    const left = nodes.links[rightSlot - 1]!;
    const right = nodes.links[rightSlot]!;
    const leftCount = nodes.counts[left]!;
    const rightCount = nodes.counts[right]!;
    const total = leftCount + rightCount;
    if (total <= MERGED_ENTRIES_MAX) {
      nodes.moveHead(right, rightCount, left);
      nodes.next[left] = nodes.next[right]!;
      nodes.release(right);
      nodes.remove(rightSlot);
      return false;
    }
    const half = total >> 1;
    if (leftCount > half) nodes.moveTail(left, half, right);
    else nodes.moveHead(right, half - leftCount, left);
    nodes.starts[rightSlot] = nodes.starts[right << FANOUT_SHIFT]!;
    return true;
  }
}
