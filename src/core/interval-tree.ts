/*
 * An interval tree: half-open ranges that may overlap, found by range. It is what the kernel's address_space
 * keeps its VMAs in (i_mmap). An AVL tree by start, in which every node also knows the greatest end below it,
 * so that a query leaves out whatever ends before the range. Loops and parent links instead of recursion.
 *
 * Insert and remove are O(log n). A query is O(log n + k) when its k results are neighbours in the tree, as
 * the mappings of one region are, and never worse than O(log n) for each result.
 */
import { assert } from './error.ts';

/** An interval in the tree; `insert` returns it and `remove` takes it. */
export interface Interval<T> {
  readonly start: number;
  readonly end: number;
  readonly value: T;
}

interface Node<T> extends Interval<T> {
  left: Node<T> | null;
  right: Node<T> | null;
  parent: Node<T> | null;
  height: number;
  /** Greatest end in this subtree. */
  maxEnd: number;
}

/** Ranges [start, end) with values. */
export class IntervalTree<T> {
  #root: Node<T> | null = null;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Levels of the tree; an AVL tree of n nodes has at most 1.4405 log2(n + 2). */
  get height(): number {
    return this.#root?.height ?? 0;
  }

  /** Adds [start, end). Equal intervals are kept side by side, in the order they came. */
  insert(start: number, end: number, value: T): Interval<T> {
    assert(start < end, `interval [${start}, ${end}) is empty`);
    const node: Node<T> = {
      start,
      end,
      value,
      left: null,
      right: null,
      parent: null,
      height: 1,
      maxEnd: end,
    };
    this.#size++;
    let parent = this.#root;
    while (parent !== null) {
      node.parent = parent;
      parent = start < parent.start ? parent.left : parent.right;
    }
    if (node.parent === null) this.#root = node;
    else if (start < node.parent.start) node.parent.left = node;
    else node.parent.right = node;
    this.#retrace(node.parent);
    return node;
  }

  /** Removes an interval that `insert` returned and that is still in the tree. */
  remove(interval: Interval<T>): void {
    const node = interval as Node<T>;
    assert(node.height > 0, 'the interval is in the tree');
    this.#size--;
    let retraceFrom: Node<T> | null;
    if (node.left === null || node.right === null) {
      retraceFrom = node.parent;
      this.#replace(node, node.left ?? node.right);
    } else {
      const next = leftmost(node.right);
      retraceFrom = next.parent === node ? next : next.parent;
      if (next.parent !== node) {
        this.#replace(next, next.right);
        next.right = node.right;
        next.right.parent = next;
      }
      this.#replace(node, next);
      next.left = node.left;
      next.left.parent = next;
    }
    node.height = 0;
    this.#retrace(retraceFrom);
  }

  /** Everything that overlaps [start, end), by start. An empty range overlaps nothing. */
  overlaps(start: number, end: number): T[] {
    const found: T[] = [];
    if (!(start < end)) return found;
    const pending: Node<T>[] = [];
    let node = this.#root;
    while (node !== null || pending.length > 0) {
      while (node !== null) {
        pending.push(node);
        node = node.left !== null && node.left.maxEnd > start ? node.left : null;
      }
      const next: Node<T> = pending.pop()!;
      if (next.start >= end) break;
      if (next.end > start) found.push(next.value);
      node = next.right !== null && next.right.maxEnd > start ? next.right : null;
    }
    return found;
  }

  /** Puts `child` where `node` hangs. */
  #replace(node: Node<T>, child: Node<T> | null): void {
    const parent = node.parent;
    if (child !== null) child.parent = parent;
    if (parent === null) this.#root = child;
    else if (parent.left === node) parent.left = child;
    else parent.right = child;
  }

  /** Brings heights, balance and greatest ends in order from `node` up to the root. */
  #retrace(node: Node<T> | null): void {
    let at = node;
    while (at !== null) {
      const balance = heightOf(at.left) - heightOf(at.right);
      if (balance > 1) {
        if (heightOf(at.left!.left) < heightOf(at.left!.right)) this.#rotate(at.left!, 'left');
        at = this.#rotate(at, 'right');
      } else if (balance < -1) {
        if (heightOf(at.right!.right) < heightOf(at.right!.left)) this.#rotate(at.right!, 'right');
        at = this.#rotate(at, 'left');
      } else {
        update(at);
      }
      at = at.parent;
    }
  }

  /** Turns `node` down to the given side; returns the child that came up. */
  #rotate(node: Node<T>, side: 'left' | 'right'): Node<T> {
    const other = side === 'left' ? 'right' : 'left';
    const up = node[other]!;
    const inner = up[side];
    this.#replace(node, up);
    up[side] = node;
    node.parent = up;
    node[other] = inner;
    if (inner !== null) inner.parent = node;
    update(node);
    update(up);
    return up;
  }
}

function heightOf<T>(node: Node<T> | null): number {
  return node === null ? 0 : node.height;
}

function leftmost<T>(node: Node<T>): Node<T> {
  let at = node;
  while (at.left !== null) at = at.left;
  return at;
}

function update<T>(node: Node<T>): void {
  const { left, right } = node;
  node.height = 1 + Math.max(heightOf(left), heightOf(right));
  let maxEnd = node.end;
  if (left !== null && left.maxEnd > maxEnd) maxEnd = left.maxEnd;
  if (right !== null && right.maxEnd > maxEnd) maxEnd = right.maxEnd;
  node.maxEnd = maxEnd;
}
