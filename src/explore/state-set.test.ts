import { expect, test } from 'vitest';
import { StateSet } from './state-set.ts';

/** A state of three words. */
const words = (...values: number[]): Uint32Array => Uint32Array.from(values);

test('a state is added once, and is found again by its words alone', () => {
  const set = new StateSet();
  expect(set.add(words(1, 2, 3), -1, 0)).toBe(0);
  expect(set.add(words(1, 2, 3), 0, 7)).toBe(-1);
  expect(set.add(words(3, 2, 1), 0, 7)).toBe(1);
  expect(set.size).toBe(2);
});

test('the path to a state is the moves by which it was first found', () => {
  const set = new StateSet();
  const first = set.add(words(0, 0, 0), -1, 0);
  const second = set.add(words(0, 0, 1), first, 5);
  const third = set.add(words(0, 0, 2), second, 6);
  set.add(words(0, 0, 2), first, 9);
  expect(set.path(third)).toEqual([5, 6]);
  expect(set.path(first)).toEqual([]);
});

test('states that differ in one bit are told apart, a million of them, and the tables grow', () => {
  const set = new StateSet();
  let added = 0;
  for (let i = 0; i < 2 ** 20; i++) {
    const state = words(0, i % 2 ** 10, Math.floor(i / 2 ** 10) * 2 ** 16);
    if (set.add(state, -1, 0) >= 0) added++;
  }
  expect(added).toBe(2 ** 20);
  for (let bit = 0; bit < 32; bit++) expect(set.add(words(2 ** bit, 1, 1), -1, 0)).toBeGreaterThanOrEqual(0);
});
