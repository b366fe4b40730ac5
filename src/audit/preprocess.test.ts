import { describe, expect, test } from 'vitest';
import { expand, preprocess } from './preprocess.ts';
import { lineAt, placeOf, sourceFile, tokenize } from './tokens.ts';

const textOf = (tokens: readonly { text: string }[]): string => tokens.map(({ text }) => text).join(' ');

function processed(text: string): string {
  return textOf(preprocess(sourceFile('a.c', text)).tokens);
}

function expanded(text: string): string {
  const { tokens, macros } = preprocess(sourceFile('a.c', text));
  return textOf(expand(tokens, (name) => macros.get(name) ?? null));
}

describe('tokens', () => {
  test('comments, strings and continued lines', () => {
    const file = sourceFile('a.c', 'a /* b\n */ c // d\n"/* e */" \'"\' f\\\ng');
    expect(tokenize(file).map(({ text }) => text)).toEqual(['a', 'c', '"/* e */"', "'\"'", 'f', 'g']);
  });

  test('every token knows its line', () => {
    const file = sourceFile('a.c', 'a\nb\n\n  c');
    expect(tokenize(file).map((token) => placeOf(token).line)).toEqual([1, 2, 4]);
    expect(lineAt(file, 0)).toBe(1);
  });

  test('a comment or string that never ends is no endless loop', () => {
    expect(tokenize(sourceFile('a.c', 'a /* b'))).toHaveLength(1);
    expect(tokenize(sourceFile('a.c', '"a')).length).toBeGreaterThan(0);
  });
});

describe('conditionals', () => {
  test('#if 0 is gone and its #else is there', () => {
    expect(processed('#if 0\na;\n#else\nb;\n#endif')).toBe('b ;');
    expect(processed('#if 1\na;\n#else\nb;\n#endif')).toBe('a ;');
  });

  test('both sides in a function are the branches of an if', () => {
    expect(processed('{\n#ifdef A\na;\n#else\nb;\n#endif\n}')).toBe(
      '{ if ( CONFIGURED_A ) { a ; } else { b ; } }',
    );
    expect(processed('{\n#ifndef A\na;\n#endif\n}')).toBe('{ if ( ! CONFIGURED_A ) { a ; } }');
  });

  test('entries of a list and definitions stay side by side', () => {
    expect(processed('{ x,\n#ifdef A\n.a = b,\n#endif\n}')).toBe('{ x , . a = b , }');
    expect(processed('#ifdef A\nint a;\n#else\nint b;\n#endif')).toBe('int a ; int b ;');
  });

  test('halves of a block: the first side alone is whole', () => {
    expect(processed('{\n#ifdef A\nif (a) {\n#else\nif (b) {\n#endif\nc; }\n}')).toBe('{ if ( a ) { c ; } }');
  });

  test('a stray #endif is skipped', () => {
    expect(processed('a;\n#endif\nb;\n#else\nc;')).toBe('a ; b ; c ;');
  });
});

describe('macros', () => {
  test('arguments, pasting, strings and the rest', () => {
    expect(expanded('#define F(a, b) (a + b)\nF(1, G(2, 3))')).toBe('( 1 + G ( 2 , 3 ) )');
    expect(expanded('#define N(a) vm_##a\nN(pgoff)')).toBe('vm_pgoff');
    expect(expanded('#define S(a) #a\nS(x y)')).toBe('"x y"');
    expect(expanded('#define P(f, ...) g(f, ##__VA_ARGS__)\nP(1); P(1, 2, 3)')).toBe(
      'g ( 1 , ) ; g ( 1 , 2 , 3 )',
    );
    expect(expanded('#define F(a) a\nF + F(1)')).toBe('F + 1');
  });

  test('a body over several lines stands where it is used', () => {
    const { tokens, macros } = preprocess(sourceFile('a.c', '#define F(v) \\\n (v)->x = 1; \\\n y\n\nF(z)'));
    const out = expand(tokens, (name) => macros.get(name) ?? null);
    expect(textOf(out)).toBe('( z ) -> x = 1 ; y');
    expect(out.every((token) => placeOf(token).line === 5)).toBe(true);
    expect(out[1]!.macro).toBeUndefined();
    expect(out[3]!.macro?.name).toBe('F');
  });

  test('macros that name themselves or each other end', () => {
    expect(expanded('#define A B\n#define B A\nA')).toBe('A');
    const doubling = Array.from({ length: 40 }, (_, i) => `#define D${i + 1} D${i} D${i}`).join('\n');
    expect(expanded(`${doubling}\nD40`).length).toBeLessThan(1_000_000);
  });
});
