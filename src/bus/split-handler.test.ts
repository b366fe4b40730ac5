/*
 * A split region: each byte goes to its part, accesses over a boundary are cut, errors and waiting are passed on.
 */
import { describe, expect, test } from 'vitest';
import type { AccessResult, RegionHandler } from '../core/index.ts';
import { SplitHandler, UNANSWERED } from './split-handler.ts';

/** Reads as a letter, records accesses, answers with `result`. */
function lettered(letter: string, log: string[], result: () => AccessResult = () => 0): RegionHandler {
  return {
    read(offset, count, view, at) {
      log.push(`read ${letter} ${offset}+${count}`);
      for (let i = 0; i < count; i++) view.setUint8(at + i, letter.charCodeAt(0));
      return result();
    },
    write(offset, count) {
      log.push(`write ${letter} ${offset}+${count}`);
      return result();
    },
  };
}

function readText(handler: RegionHandler, offset: number, count: number): string {
  const bytes = new Uint8Array(count);
  expect(handler.read(offset, count, new DataView(bytes.buffer), 0)).toBe(0);
  return String.fromCharCode(...bytes);
}

function abc(log: string[], result?: () => AccessResult): SplitHandler {
  return new SplitHandler(
    [
      { offset: 12, sizeBytes: 4, handler: lettered('b', log, result) },
      { offset: 4, sizeBytes: 4, handler: lettered('a', log) },
    ],
    lettered('.', log),
  );
}

describe('a split region', () => {
  test.each([
    [0, 4, '....'],
    [4, 4, 'aaaa'],
    [2, 4, '..aa'],
    [6, 8, 'aa....bb'],
    [0, 20, '....aaaa....bbbb....'],
    [16, 4, '....'],
  ])('read of %i+%i', (offset, count, expected) => {
    expect(readText(abc([]), offset, count)).toBe(expected);
  });

  test('parts see offsets of the region', () => {
    const log: string[] = [];
    abc(log).write(6, 8, new DataView(new ArrayBuffer(8)), 0);
    expect(log).toEqual(['write a 6+2', 'write . 8+4', 'write b 12+2']);
  });

  test('the first error ends an access', () => {
    const log: string[] = [];
    expect(abc(log, () => 5).write(10, 10, new DataView(new ArrayBuffer(10)), 0)).toBe(5);
    expect(log).toEqual(['write . 10+2', 'write b 12+4']);
  });

  test('a part that takes time is waited for, and the rest comes after it', async () => {
    const log: string[] = [];
    const waiting = abc(log, () => Promise.resolve(0)).write(10, 10, new DataView(new ArrayBuffer(10)), 0);
    expect(log).toEqual(['write . 10+2', 'write b 12+4']);
    expect(await waiting).toBe(0);
    expect(log.slice(2)).toEqual(['write . 16+4']);
  });

  test('where nothing answers the bus reads as ones', () => {
    const bytes = new Uint8Array(4);
    expect(UNANSWERED.read(0, 3, new DataView(bytes.buffer), 1)).toBe(0);
    expect([...bytes]).toEqual([0, 0xff, 0xff, 0xff]);
    expect(UNANSWERED.write(0, 3, new DataView(bytes.buffer), 1)).toBe(0);
  });

  test('overlapping parts are a mistake', () => {
    const part = { offset: 4, sizeBytes: 4, handler: UNANSWERED };
    expect(() => new SplitHandler([part, { ...part, offset: 7 }], UNANSWERED)).toThrow('overlap at 0x7');
    expect(() => new SplitHandler([part, { ...part, offset: 8 }], UNANSWERED)).not.toThrow();
  });
});
