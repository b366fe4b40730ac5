/* The offset coding against the kernel's macros, computed in 64-bit integers as the kernel does. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  indexToOffset,
  offsetInRegion,
  offsetToIndex,
  offsetToPgoff,
  PAGE_SIZE,
  pgoffToOffset,
  REGION_INDEX_LIMIT,
  REGION_SPAN_PAGES,
} from './offset.ts';

const index = fc.integer({ min: 0, max: 8191 });
const inRegion = fc.integer({ min: 0, max: 2 ** 40 - 1 });

describe('region offsets', () => {
  it('are the index shifted left by 40, exactly', () => {
    fc.assert(
      fc.property(index, (i) => {
        expect(BigInt(indexToOffset(i))).toBe(BigInt(i) << 40n);
      }),
    );
  });

  it('name index and place of every byte', () => {
    fc.assert(
      fc.property(index, inRegion, (i, place) => {
        const offset = Number((BigInt(i) << 40n) | BigInt(place));
        expect(offsetToIndex(offset)).toBe(i);
        expect(offsetInRegion(offset)).toBe(place);
      }),
    );
  });

  it.each([8192, -1, 0.5, 2 ** 32, Number.NaN])('index %s is EOVERFLOW', (i) => {
    expect(REGION_INDEX_LIMIT).toBe(8192);
    expect(() => indexToOffset(i)).toThrow(expect.objectContaining({ code: 'EOVERFLOW' }));
  });

  it.each([2 ** 53, 2 ** 64, -1, Number.NaN])('offset %s is EOVERFLOW', (offset) => {
    expect(() => offsetToIndex(offset)).toThrow(expect.objectContaining({ code: 'EOVERFLOW' }));
    expect(() => offsetInRegion(offset)).toThrow(expect.objectContaining({ code: 'EOVERFLOW' }));
    expect(() => offsetToPgoff(offset)).toThrow(expect.objectContaining({ code: 'EOVERFLOW' }));
  });

  it('reach the last byte of the last region', () => {
    const last = Number((8192n << 40n) - 1n);
    expect([offsetToIndex(last), offsetInRegion(last)]).toEqual([8191, 2 ** 40 - 1]);
  });
});

describe('page offsets', () => {
  it('are (index << 28) + page', () => {
    fc.assert(
      fc.property(index, fc.integer({ min: 0, max: 2 ** 28 - 1 }), (i, page) => {
        const pgoff = Number((BigInt(i) << 28n) + BigInt(page));
        expect(offsetToPgoff(indexToOffset(i) + page * 4096)).toBe(pgoff);
        expect(pgoffToOffset(pgoff)).toBe(indexToOffset(i) + page * 4096);
      }),
    );
    expect([PAGE_SIZE, REGION_SPAN_PAGES]).toEqual([4096, 2 ** 28]);
  });

  it('exist only for whole pages: EINVAL, as mmap says', () => {
    expect(() => offsetToPgoff(4095)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  it.each([2 ** 41, -1, 0.3, Number.NaN])('page %s is EOVERFLOW', (pgoff) => {
    expect(() => pgoffToOffset(pgoff)).toThrow(expect.objectContaining({ code: 'EOVERFLOW' }));
  });
});
