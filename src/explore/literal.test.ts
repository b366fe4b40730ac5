import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NASTY } from '../../test/support/findings.ts';
import { literal } from './literal.ts';
import { visible } from './text.ts';

/** What the engine makes of an expression. */
function evaluated(source: string): unknown {
  return new Function(`'use strict'; return (${source});`)();
}

describe('a literal', () => {
  test('is the value again', () => {
    // JSON has no -0.
    const values = fc.jsonValue().filter((value) => !JSON.stringify(value).includes('-0'));
    fc.assert(
      fc.property(values, (value) => {
        expect(evaluated(literal(value))).toEqual(value);
      }),
    );
  });

  test('keeps the sign of nothing', () => {
    expect(literal([-0, 0])).toBe('[-0, 0]');
  });

  test('keeps nasty names, as keys and as values', () => {
    const value = { [NASTY]: NASTY, list: [NASTY, { 'a-b': 1, c_$: [] }] };
    expect(evaluated(literal(value))).toEqual(value);
    // Line breaks of its own apart, there is nothing that cannot be seen.
    const shown = literal(value).replaceAll('\n', '');
    expect(visible(shown)).toBe(shown);
  });

  test('keeps a key named __proto__ and its order', () => {
    const value = JSON.parse('{"b": 1, "__proto__": {"a": 2}, "constructor": 3}');
    const back = evaluated(literal(value)) as object;
    expect(Object.keys(back)).toEqual(['b', '__proto__', 'constructor']);
    expect(Object.getPrototypeOf(back)).toBe(Object.prototype);
  });

  test('reads like code', () => {
    expect(literal({ op: 'open', device: 'gpu', pages: 1, on: true })).toBe(
      "{ op: 'open', device: 'gpu', pages: 1, on: true }",
    );
    const long = 'x'.repeat(60);
    expect(literal({ a: [long], b: long })).toBe(`{\n  a: ['${long}'],\n  b: '${long}',\n}`);
  });
});
