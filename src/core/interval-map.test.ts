/* IntervalMap: what it promises at its edges. How it behaves under load is in interval-map.model.test.ts. */
import { describe, expect, it } from 'vitest';
import { IntervalMap } from './interval-map.ts';
import { FANOUT } from './interval-nodes.ts';
import { PAGE_SIZE } from './offset.ts';

const PAGE = PAGE_SIZE;
const ADDRESS_END = 2 ** 64;

/** One page at every other page, so that there is a hole after each. */
function comb(count: number): IntervalMap<number> {
  const map = new IntervalMap<number>();
  for (let i = 0; i < count; i++) map.insert(i * 2 * PAGE, PAGE, i);
  return map;
}

describe('IntervalMap', () => {
  it('finds a range by each of its points and by no other', () => {
    const map = new IntervalMap<string>();
    expect(map.insert(PAGE, 2 * PAGE, 'a')).toBe(true);
    expect([PAGE, 2 * PAGE, 3 * PAGE - 1].map((point) => map.find(point))).toEqual(['a', 'a', 'a']);
    expect(
      [0, PAGE - 1, 3 * PAGE, ADDRESS_END, Infinity, -1, Number.NaN].map((point) => map.find(point)),
    ).toEqual(Array(7).fill(undefined));
  });

  it('refuses every kind of overlap and accepts neighbours', () => {
    const map = new IntervalMap<string>();
    map.insert(10, 10, 'first');
    for (const [start, size] of [
      [10, 10],
      [5, 6],
      [19, 1],
      [12, 2],
      [0, 100],
      [0, 11],
    ] as const) {
      expect(map.insert(start, size, 'other')).toBe(false);
    }
    expect(map.insert(20, 5, 'right')).toBe(true);
    expect(map.insert(5, 5, 'left')).toBe(true);
    expect(map.size).toBe(3);
  });

  it('sees an overlap with a range that lies in the next leaf', () => {
    // FANOUT + 1 ranges in ascending order: the last one is alone in the second leaf.
    const map = comb(FANOUT + 1);
    map.remove((FANOUT - 1) * 2 * PAGE);
    expect(map.insert((FANOUT - 1) * 2 * PAGE, 2 * PAGE + 1, -1)).toBe(false);
    expect(map.insert((FANOUT - 1) * 2 * PAGE, 2 * PAGE, -1)).toBe(true);
  });

  it('refuses what is not a range', () => {
    const map = new IntervalMap<number>();
    for (const [start, size] of [
      [0, 0],
      [-1, 2],
      [PAGE, -PAGE],
      [Number.NaN, PAGE],
    ] as const) {
      expect(() => map.insert(start, size, 0)).toThrow(RangeError);
    }
  });

  it('reaches to 2^64', () => {
    const map = new IntervalMap<string>();
    expect(map.insert(ADDRESS_END - PAGE, PAGE, 'last')).toBe(true);
    expect(map.insert(0, PAGE, 'first')).toBe(true);
    expect(map.find(ADDRESS_END - PAGE)).toBe('last');
    expect(map.find(ADDRESS_END)).toBeUndefined();
    expect([map.firstStart, map.lastEnd]).toEqual([0, ADDRESS_END]);
    expect(map.overlaps(PAGE, ADDRESS_END - PAGE)).toBe(false);
    expect(map.overlaps(PAGE, ADDRESS_END)).toBe(true);
  });

  it('has empty bounds when it is empty', () => {
    const map = new IntervalMap<number>();
    expect([map.size, map.firstStart, map.lastEnd, map.first()]).toEqual([0, Infinity, 0, -1]);
    expect(map.overlaps(0, ADDRESS_END)).toBe(false);
    expect(map.remove(0)).toBeUndefined();
  });

  it('removes by exact start only', () => {
    const map = new IntervalMap<string>();
    map.insert(PAGE, 2 * PAGE, 'a');
    expect(map.remove(2 * PAGE)).toBeUndefined();
    expect(map.remove(PAGE)).toBe('a');
    expect(map.find(PAGE)).toBeUndefined();
  });

  it('seeks the first range that ends after a point, over leaves', () => {
    const map = comb(200);
    for (let i = 0; i < 199; i++) {
      expect(map.valueAt(map.seek(i * 2 * PAGE + PAGE - 1))).toBe(i);
      expect(map.valueAt(map.seek(i * 2 * PAGE + PAGE))).toBe(i + 1);
    }
    expect(map.seek(199 * 2 * PAGE + PAGE)).toBe(-1);
  });

  it('visits in order what overlaps, and only that', () => {
    const map = comb(100);
    const seen: number[] = [];
    map.visit(20 * PAGE + 1, 25 * PAGE, (value, start, end) => {
      seen.push(value);
      expect([start, end]).toEqual([value * 2 * PAGE, value * 2 * PAGE + PAGE]);
    });
    expect(seen).toEqual([10, 11, 12]);
  });

  it('tells whether a slot that was kept still holds a point', () => {
    const map = comb(3);
    const slot = map.locate(2 * PAGE);
    expect(map.holds(slot, 2 * PAGE + 1)).toBe(true);
    map.remove(2 * PAGE);
    expect(map.holds(slot, 2 * PAGE + 1)).toBe(false);
    map.clear();
    expect(map.holds(slot, 2 * PAGE + 1)).toBe(false);
  });

  it('fills its leaves when ranges come in ascending order', () => {
    expect(comb(FANOUT * 20).nodes.used).toBe(20 + 1);
  });

  it('looks to the left of every place where a range was removed', () => {
    // Three levels. Where the removed range was the first of its leaf, or of a whole subtree, a search for its start must
    // now go to the neighbour at the left, because that is where a range that spans the place is.
    const count = FANOUT * FANOUT * 2;
    const map = comb(count);
    for (let i = 1; i < count; i++) {
      const start = i * 2 * PAGE;
      if (map.remove(start) !== i || !map.insert(start - PAGE, 2 * PAGE, -i))
        throw new Error(`replacing ${i} failed`);
      if (map.find(start) !== -i || map.insert(start, PAGE, i))
        throw new Error(`the range over ${i} is not seen`);
      if (map.remove(start - PAGE) !== -i || !map.insert(start, PAGE, i))
        throw new Error(`restoring ${i} failed`);
    }
    expect(map.size).toBe(count);
  });

  it('gives everything back when it is cleared', () => {
    const map = comb(5000);
    map.clear();
    expect([map.size, map.nodes.used, map.find(0)]).toEqual([0, 1, undefined]);
    expect(map.insert(0, PAGE, 7)).toBe(true);
    expect(map.find(0)).toBe(7);
  });

  it('shrinks to one node when everything is removed, whatever the order', () => {
    for (const step of [1, 7, 4999]) {
      const map = comb(5000);
      // 5000 has no factor in common with the steps: each multiple of one is another range.
      for (let i = 0; i < 5000; i++)
        expect(map.remove(((i * step) % 5000) * 2 * PAGE)).toBe((i * step) % 5000);
      expect([map.size, map.nodes.used]).toEqual([0, 1]);
    }
  });

  it('does not keep a removed value alive', () => {
    const map = new IntervalMap<object>();
    for (let i = 0; i < 1000; i++) map.insert(i * PAGE, PAGE, { i });
    const slot = map.locate(999 * PAGE);
    for (let i = 0; i < 1000; i++) map.remove(i * PAGE);
    expect(map.valueAt(slot)).toBeUndefined();
  });

  it('stays flat: 1,000,000 pairs of remove and insert among 10,000 ranges make no node', () => {
    const map = comb(10_000);
    let state = 1;
    const pairs = (count: number): void => {
      for (let i = 0; i < count; i++) {
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
        const start = (state % 10_000) * 2 * PAGE;
        const value = map.remove(start)!;
        if (!map.insert(start, PAGE, value)) throw new Error(`the hole at ${start} was not found`);
      }
    };
    pairs(100_000);
    const { capacity } = map.nodes;
    pairs(900_000);
    expect([map.size, map.nodes.capacity]).toEqual([10_000, capacity]);
    expect(map.nodes.used).toBeLessThanOrEqual(10_000 / (FANOUT / 4));
  });
});
