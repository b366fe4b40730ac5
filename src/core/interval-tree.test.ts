/* The interval tree against a list, and its balance against the bound of AVL trees. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Interval, IntervalTree } from './interval-tree.ts';

/** What an overlap is, said once more in the plainest way. */
function overlapsOf(list: readonly Interval<number>[], start: number, end: number): number[] {
  return list.filter((i) => i.start < end && i.end > start && start < end).map((i) => i.value);
}

const sorted = (values: number[]): number[] => values.sort((a, b) => a - b);

describe('IntervalTree', () => {
  it('finds touching ranges only when they share a point', () => {
    const tree = new IntervalTree<string>();
    tree.insert(10, 20, 'a');
    expect(tree.overlaps(0, 10)).toEqual([]);
    expect(tree.overlaps(20, 30)).toEqual([]);
    expect(tree.overlaps(19, 20)).toEqual(['a']);
    expect(tree.overlaps(9, 11)).toEqual(['a']);
    expect(tree.overlaps(15, 15)).toEqual([]);
  });

  it('answers by start, equal ones in the order they came', () => {
    const tree = new IntervalTree<string>();
    for (const [start, end, name] of [
      [5, 6, 'd'],
      [0, 100, 'a'],
      [3, 9, 'b'],
      [3, 9, 'c'],
    ] as const) {
      tree.insert(start, end, name);
    }
    expect(tree.overlaps(0, 100)).toEqual(['a', 'b', 'c', 'd']);
  });

  it('finds a long early range behind many short ones', () => {
    const tree = new IntervalTree<number>();
    tree.insert(0, 10_000, -1);
    for (let i = 0; i < 5000; i++) tree.insert(i, i + 1, i);
    expect(tree.overlaps(9000, 9001)).toEqual([-1]);
    expect(tree.overlaps(4999, 9001)).toEqual([-1, 4999]);
  });

  it('refuses an empty range and a second removal', () => {
    const tree = new IntervalTree<number>();
    expect(() => tree.insert(5, 5, 1)).toThrow('is empty');
    const interval = tree.insert(5, 6, 1);
    tree.remove(interval);
    expect(() => tree.remove(interval)).toThrow('in the tree');
    expect([tree.size, tree.height]).toEqual([0, 0]);
  });

  it('keeps page offsets up to 2^53 apart', () => {
    const tree = new IntervalTree<string>();
    const end = 2 ** 53;
    tree.insert(end - 1, end, 'last');
    tree.insert(end - 2, end - 1, 'before');
    expect(tree.overlaps(end - 1, end)).toEqual(['last']);
  });

  it.each(['ascending', 'descending', 'mixed'] as const)('stays balanced: 20000 %s starts', (order) => {
    const tree = new IntervalTree<number>();
    const count = 20_000;
    const startOf = {
      ascending: (i: number) => i,
      descending: (i: number) => -i,
      mixed: (i: number) => (i * 7919) % count,
    };
    const intervals = Array.from({ length: count }, (_, i) =>
      tree.insert(startOf[order](i), startOf[order](i) + 3, i),
    );
    expect(tree.height).toBeLessThanOrEqual(1.4405 * Math.log2(count + 2));
    for (const interval of intervals.filter((_, i) => i % 16 !== 0)) tree.remove(interval);
    expect(tree.size).toBe(count / 16);
    expect(tree.height).toBeLessThanOrEqual(1.4405 * Math.log2(count / 16 + 2));
  });

  it.each([
    [1, 2, 3],
    [3, 2, 1],
    [3, 1, 2],
    [1, 3, 2],
  ])('turns %d, %d, %d into two levels', (...starts) => {
    const tree = new IntervalTree<number>();
    for (const start of starts) tree.insert(start, start + 1, start);
    expect([tree.height, tree.overlaps(0, 9)]).toEqual([2, [1, 2, 3]]);
  });

  it('agrees with a list under any inserts and removes', () => {
    const step = fc.tuple(fc.nat(4), fc.nat(60), fc.integer({ min: 1, max: 20 }));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const tree = new IntervalTree<number>();
        const list: Interval<number>[] = [];
        for (const [i, [kind, start, size]] of steps.entries()) {
          if (kind === 0 && list.length > 0) tree.remove(list.splice(start % list.length, 1)[0]!);
          else if (kind === 1) {
            expect(sorted(tree.overlaps(start, start + size))).toEqual(overlapsOf(list, start, start + size));
          } else list.push(tree.insert(start, start + size, i));
        }
        expect(sorted(tree.overlaps(0, 100))).toEqual(overlapsOf(list, 0, 100));
        expect(tree.size).toBe(list.length);
        expect(tree.height).toBeLessThanOrEqual(1.4405 * Math.log2(list.length + 2));
      }),
      { seed: 20_210_224, numRuns: 300 },
    );
  });
});
