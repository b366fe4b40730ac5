/*
 * Model test: IntervalMap against a sorted array. Each run is a list of random words, one word an operation, so that
 * fast-check can shorten a failing run to the few operations that matter.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IntervalMap } from './interval-map.ts';
import { PAGE_SIZE } from './offset.ts';

/** Runs of 0 to 6,000 operations: about a million. */
const RUNS = 360;
const STEPS_MAX = 6000;
/** With another seed it may be a few percent less than the average of 1,080,000. */
const OPERATIONS_MIN = 900_000;
/** A tree of three levels: more than a root and the leaves that fit below it. */
const NODES_WANTED = 40;
/** Stops shortening a failing run; a good one takes a tenth of it, and would be seen to have done too little. */
const TIME_LIMIT_MS = 25_000;
const SEED = Number(process.env['VFIO_TEST_SEED'] ?? 20_210_224);

/** Ranges begin in one of these places: low memory, above what 32 bits hold, and up to the very end of 64 bits. */
const ZONE_PAGES = 2048;
const ZONES = [0, 2 ** 40, 2 ** 64 - ZONE_PAGES * PAGE_SIZE];

interface Entry {
  readonly start: number;
  readonly end: number;
  readonly value: number;
}

/** What IntervalMap should be, in the plainest way: a sorted array that is searched from the front. */
class SortedArray {
  readonly entries: Entry[] = [];

  insert(start: number, size: number, value: number): boolean {
    const end = start + size;
    let at = 0;
    for (; at < this.entries.length && this.entries[at]!.start < end; at++) {
      if (this.entries[at]!.end > start) return false;
    }
    this.entries.splice(at, 0, { start, end, value });
    return true;
  }

  remove(start: number): number | undefined {
    const at = this.entries.findIndex((entry) => entry.start === start);
    return at < 0 ? undefined : this.entries.splice(at, 1)[0]!.value;
  }

  find(point: number): number | undefined {
    return this.entries.find((entry) => entry.start <= point && point < entry.end)?.value;
  }

  overlapping(start: number, end: number): Entry[] {
    return this.entries.filter((entry) => entry.start < end && start < entry.end);
  }
}

function same(actual: unknown, expected: unknown, what: string): void {
  if (actual !== expected) throw new Error(`${what}: ${String(actual)} instead of ${String(expected)}`);
}

function checkAll(map: IntervalMap<number>, model: SortedArray): void {
  same(map.size, model.entries.length, 'size');
  same(map.firstStart, model.entries[0]?.start ?? Infinity, 'first start');
  same(map.lastEnd, model.entries.at(-1)?.end ?? 0, 'last end');
  let slot = map.first();
  for (const entry of model.entries) {
    same(map.startAt(slot), entry.start, 'start in order');
    same(map.endAt(slot), entry.end, 'end in order');
    same(map.valueAt(slot), entry.value, 'value in order');
    same(map.find(entry.start), entry.value, 'find at the start');
    slot = map.next(slot);
  }
  same(slot, -1, 'after the last');
  // Every node but the root and the last leaf is at least a quarter full.
  const nodesMax = 3 + map.size / 7;
  if (map.nodes.used > nodesMax) throw new Error(`${map.nodes.used} nodes for ${map.size} ranges`);
}

let operations = 0;
let nodesMost = 0;

/** Carries out one word: bits 0-2 what, 3-13 page, 14-15 zone, 16-17 pages, 19-20 an offset in the page. */
function step(map: IntervalMap<number>, model: SortedArray, word: number, growing: boolean): void {
  const page = (word >>> 3) & (ZONE_PAGES - 1);
  const start = ZONES[(word >>> 14) % ZONES.length]! + page * PAGE_SIZE;
  const end = Math.min(start + (1 + ((word >>> 16) & 3)) * PAGE_SIZE, 2 ** 64);
  const what = word & 7;
  operations++;
  if (what === 0 || (what <= 3 && growing)) {
    same(map.insert(start, end - start, word), model.insert(start, end - start, word), 'insert');
  } else if (what <= 3) {
    // Shrinking: take out what lies there, wherever it begins.
    const first = model.overlapping(start, end)[0]?.start ?? start;
    same(map.remove(first), model.remove(first), 'remove');
  } else if (what === 4) {
    same(map.remove(start), model.remove(start), 'remove by start');
  } else if (what === 5) {
    // An offset in a page means something only where doubles are that fine.
    const point = start < 2 ** 52 ? start + ((word >>> 19) & 3) * 1365 : start;
    same(map.find(point), model.find(point), 'find');
  } else if (what === 6) {
    same(map.overlaps(start, end), model.overlapping(start, end).length > 0, 'overlaps');
  } else {
    const expected = model.overlapping(start, end);
    const seen: number[] = [];
    map.visit(start, end, (value) => seen.push(value));
    same(seen.join(), expected.map((entry) => entry.value).join(), 'visit');
  }
}

function run(makeMap: () => IntervalMap<number>, words: Uint32Array): void {
  const map = makeMap();
  const model = new SortedArray();
  words.forEach((word, at) => {
    step(map, model, word, at < words.length * 0.6);
    if (at % 500 === 499) checkAll(map, model);
    nodesMost = Math.max(nodesMost, map.nodes.used);
  });
  checkAll(map, model);
}

function scripts(makeMap: () => IntervalMap<number>): fc.IProperty<[Uint32Array]> {
  const words = fc.noBias(fc.uint32Array({ maxLength: STEPS_MAX, size: 'max' }));
  return fc.property(words, (script) => run(makeMap, script));
}

/** Canary: sees an overlap only with the range before. */
class BlindToTheRight extends IntervalMap<number> {
  override insert(start: number, size: number, value: number): boolean {
    return (
      this.find(start) === undefined &&
      (super.insert(start, size, value) || super.insert(start, PAGE_SIZE, value))
    );
  }
}

/** Canary: a range includes its end. */
class Inclusive extends IntervalMap<number> {
  override find(point: number): number | undefined {
    return super.find(point) ?? super.find(point - 1);
  }
}

/** Canary: once in a while a removal takes the neighbour away, too. */
class Greedy extends IntervalMap<number> {
  override remove(start: number): number | undefined {
    const value = super.remove(start);
    if (value !== undefined && value % 64 === 0) super.remove(this.startAt(this.seek(start)));
    return value;
  }
}

describe('IntervalMap against a sorted array', () => {
  it(`agrees in more than ${OPERATIONS_MIN} random operations`, () => {
    fc.assert(
      scripts(() => new IntervalMap<number>()),
      { seed: SEED, numRuns: RUNS, interruptAfterTimeLimit: TIME_LIMIT_MS },
    );
    expect(operations).toBeGreaterThanOrEqual(OPERATIONS_MIN);
    expect(nodesMost).toBeGreaterThanOrEqual(NODES_WANTED);
  });

  it.each([BlindToTheRight, Inclusive, Greedy])('sees that %o is wrong', (Broken) => {
    const outcome = fc.check(
      scripts(() => new Broken()),
      { seed: SEED, numRuns: 10, endOnFailure: true },
    );
    expect(String(outcome.errorInstance)).toMatch(/instead of/);
  });
});
