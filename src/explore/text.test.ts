import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { capital, count, enumerate, visible, wrap } from './text.ts';

describe('text', () => {
  test('is wrapped at spaces, and inside a word that is longer than a line', () => {
    expect(wrap('a bc def', 4)).toEqual(['a bc', 'def']);
    expect(wrap('abcdefg h', 3)).toEqual(['abc', 'def', 'g h']);
    expect(wrap('gpu-window', 6)).toEqual(['gpu-', 'window']);
    expect(wrap('', 5)).toEqual(['']);
    expect(wrap('ab', 0)).toEqual(['a', 'b']);
  });

  test('wrapped anywhere, loses no character and passes no edge', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 80 }), fc.integer({ min: 1, max: 30 }), (text, columns) => {
        const lines = wrap(text, columns);
        expect(lines.join('').replaceAll(' ', '')).toBe(text.replaceAll(' ', ''));
        for (const line of lines) expect(line.length).toBeLessThanOrEqual(columns);
      }),
    );
  });

  test('shows what cannot be seen, and leaves the rest alone', () => {
    expect(visible('gpu-0 é 漢 😀')).toBe('gpu-0 é 漢 😀');
    expect(visible('a\u001b[31m\nb\u0000')).toBe('a\\u{1b}[31m\\u{a}b\\u{0}');
    expect(visible('\u202egpu')).toBe('\\u{202e}gpu');
    expect(visible(String.fromCharCode(0xd800))).toBe('\\u{d800}');
  });

  test('lists things as people do', () => {
    expect(enumerate([])).toBe('');
    expect(enumerate(['a'])).toBe('a');
    expect(enumerate(['a', 'b'])).toBe('a and b');
    expect(enumerate(['a', 'b', 'c'])).toBe('a, b and c');
    expect(count(1, 'step')).toBe('1 step');
    expect(count(2, 'step')).toBe('2 steps');
    expect(capital('a b')).toBe('A b');
  });
});
