import { describe, expect, test } from 'vitest';
import { FunctionParser } from './parser.ts';
import { preprocess } from './preprocess.ts';
import { sourceFile } from './tokens.ts';
import { findFieldValues, findFunctions } from './units.ts';

function unitsOf(text: string): ReturnType<typeof findFunctions> {
  const file = sourceFile('a.c', text);
  return findFunctions(file, preprocess(file).tokens);
}

const valuesOf = (text: string): string[] =>
  findFieldValues(preprocess(sourceFile('a.c', text)).tokens).map(
    ({ structType, variable, field, value }) =>
      `${structType} ${variable}.${field} = ${value.map((token) => token.text).join(' ')}`,
  );

describe('functions', () => {
  test('names, parameters and lines', () => {
    const [unit, ...others] = unitsOf('static int\nf(struct a *b, int (*c)(int), u8 d[4])\n{\n}\nint g;\n');
    expect(others).toEqual([]);
    expect(unit).toMatchObject({ name: 'f', isStatic: true, line: 2, endLine: 4 });
    expect(unit!.params.map(({ name }) => name)).toEqual(['b', 'c', 'd']);
    expect(unit!.params[0]!.type).toBe('struct a *');
  });

  test('attributes, declarations, types and initializers are none', () => {
    const text = `
      struct s { int (*f)(void); };
      enum e { A = B(1) };
      static __printf(1, 2) int f(const char *format, ...) { }
      int g(void);
      static const struct s x = { .f = f };
      MODULE_LICENSE("GPL");
      static int h(void) __attribute__((cold)) { }
    `;
    expect(unitsOf(text).map(({ name }) => name)).toEqual(['f', 'h']);
  });

  test('a file that ends in the middle', () => {
    expect(unitsOf('int f(void) { if (a) {')).toEqual([]);
    expect(unitsOf('int f(')).toEqual([]);
  });
});

describe('fields of structures', () => {
  test('initializers, old and new', () => {
    expect(valuesOf('static const struct ops a = { .x = f, .y = g };')).toEqual([
      'ops a.x = f',
      'ops a.y = g',
    ]);
    expect(valuesOf('struct ops a = { x: f };')).toEqual(['ops a.x = f']);
    expect(valuesOf('h(&(struct ops){ .x = f });')).toContain('ops .x = f');
  });

  test('arrays, types defined on the spot, assignments', () => {
    expect(valuesOf('struct v { int a; } vs[] = { { .x = f }, { .x = g } };')).toEqual([
      'v vs.x = f',
      'v vs.x = g',
    ]);
    expect(valuesOf('struct ops o; int i(void) { o.x = f; }')).toEqual(['ops o.x = f']);
    expect(valuesOf('int i(struct ops *o) { o->x = f; }')).toEqual(['ops o.x = f']);
  });
});

describe('the dialect of the kernel is parsed', () => {
  test.each([
    ['a loop macro', 'list_for_each_entry(p, &l, m) { f(p); }'],
    ['a loop macro over one statement', 'list_for_each_entry_safe(p, q, &l, m) f(p);'],
    ['a guarded block', 'scoped_guard(mutex, &m) { f(); }'],
    ['a guard', 'guard(mutex)(&m);'],
    ['container_of', 'x = container_of(y, struct z, w.v);'],
    [
      'a type as an argument',
      'x = min_t(unsigned long, a, b); p = kzalloc_obj(struct foo, GFP); q = f(a, struct b *);',
    ],
    ['attributes', 'void __iomem *p; char *q __free(kfree) = NULL; int r __maybe_unused;'],
    ['a range of cases', 'switch (x) { case A ... B: f(); break; default: g(); }'],
    ['a statement expression', 'x = ({ int a = f(); a; });'],
    ['typeof', '__typeof__(x) y = x; typeof(*p) z;'],
    ['labels and goto', 'if (a) goto out; b(); out: return c;'],
    ['an initializer', 'struct a b = { .c = d, .e = { 1, 2 } };'],
  ])('%s', async (_name, body) => {
    const parser = await FunctionParser.load();
    const [unit] = unitsOf(`void f(void) { ${body} }`);
    expect(parser.parse(unit!).hasError).toBe(false);
  });

  test('canary: what is no C is told', async () => {
    const parser = await FunctionParser.load();
    const [unit] = unitsOf('void f(void) { int = ; ) + }');
    expect(unit === undefined || parser.parse(unit).hasError).toBe(true);
  });
});
