import { describe, expect, it } from 'vitest';
import { factorial32 } from './factorial.ts';

/** The definition, in exact arithmetic. */
function exact(n: number): number {
  let product = 1n;
  for (let factor = 2n; factor <= BigInt(n); factor++) product *= factor;
  return Number(product & 0xffff_ffffn);
}

describe('factorial32', () => {
  it('agrees with the definition', () => {
    for (let n = 0; n <= 100; n++) expect(factorial32(n), `${n}!`).toBe(exact(n));
  });

  it('is known for small numbers', () => {
    expect(factorial32(0)).toBe(1);
    expect(factorial32(5)).toBe(120);
    expect(factorial32(12)).toBe(479_001_600);
  });

  it('ends at once for the largest number', () => {
    expect(factorial32(0xffff_ffff)).toBe(0);
  });
});
