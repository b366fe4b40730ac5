import { expect, test } from 'vitest';
import { Frontier } from './frontier.ts';

test('first in, first out, over many times its first size, while it is filled and emptied', () => {
  const frontier = new Frontier(2);
  const state = new Uint16Array(2);
  let pushed = 0;
  let shifted = 0;
  for (let round = 0; round < 40; round++) {
    for (let i = 0; i < 500; i++) {
      frontier.push(Uint16Array.of(pushed % 0x1_0000, pushed % 7), pushed);
      pushed++;
    }
    for (let i = 0; i < 100 + round * 20 && frontier.length > 0; i++) {
      expect(frontier.shift(state)).toBe(shifted);
      expect([...state]).toEqual([shifted % 0x1_0000, shifted % 7]);
      shifted++;
    }
    expect(frontier.length).toBe(pushed - shifted);
  }
});

test('a frontier that becomes too large is ENOSPC', () => {
  const frontier = new Frontier(2, 16 * 1024);
  const state = new Uint16Array(2);
  expect(() => {
    for (let i = 0; i < 10_000; i++) frontier.push(state, i);
  }).toThrow('limit the depth, or walk at random');
  expect(frontier.length).toBe(2048);
});
