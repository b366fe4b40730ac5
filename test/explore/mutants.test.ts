/*
 * The explorer is worth what it finds: every planted mistake must break something under our design, and without a mistake nothing may
 * be broken.
 */
import { afterAll, expect, test } from 'vitest';
import { PROGRAMS, search } from '../../src/explore/index.ts';
import { designNamed } from '../../src/sim/index.ts';
import { CORE_MUTANTS, ORDER_MUTANTS, STEP_MUTANTS } from './mutants.ts';
import { MutatedTree } from './mutated-tree.ts';

const ALL = [...CORE_MUTANTS, ...STEP_MUTANTS];
const tree = new MutatedTree();
afterAll(() => tree.remove());

test('without a mistake nothing is found', async () => {
  expect(await tree.verdict(null)).toEqual({ found: null });
});

test('there are at least 30 mistakes, all different', () => {
  expect(ALL.length).toBeGreaterThanOrEqual(30);
  expect(new Set(ALL.map(({ file, find, replace }) => file + find + replace)).size).toBe(ALL.length);
});

test.each(ALL)('$file: $name', async (mutant) => {
  const { found } = await tree.verdict(mutant);
  expect(found).toMatch(/^(R[1-8]|deadlock|leak|progress) in \d+ steps/);
});

test.each(ORDER_MUTANTS)('$name', ({ name, order }) => {
  const ours = designNamed('node-vfio');
  const design = { ...ours, name, order: { ...ours.order, ...order } };
  expect(design.order).not.toEqual(ours.order);
  const found = PROGRAMS.some(
    (program) => search(program, design, { stopAtFirst: true }).findings.length > 0,
  );
  expect(found).toBe(true);
});
