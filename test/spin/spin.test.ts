/*
 * A second opinion on the model checker: the same two small programs, written by hand in Promela from the rules, and searched by
 * SPIN. Where the two do not agree about a property, one of them is wrong.
 */
import { describe, expect, test } from 'vitest';
import { PROGRAMS, search } from '../../src/explore/index.ts';
import type { Design, Orders } from '../../src/sim/design.ts';
import { DESIGNS } from '../../src/sim/designs.ts';
import type { Property } from '../../src/sim/machine.ts';
import type { Program } from '../../src/sim/program.ts';
import { answerOf, askSpin, MODELLED, missingTools, type SpinQuestion } from './spin.ts';

type Model = SpinQuestion['model'];

const missing = missingTools();
const skipped = missing === null ? '' : ` (skipped: ${missing})`;
const TIMEOUT_MS = 120_000;

const program = (model: Model): Program => PROGRAMS.find(({ name }) => name === model)!;
const design = (name: string): Design => DESIGNS.find((each) => each.name === name)!;

/** What our own checker finds broken, among what the models assert. */
function ourVerdict(tried: Program, under: Design): Property[] {
  const { findings, complete } = search(tried, under);
  expect(complete).toBe(true);
  return findings.map(({ property }) => property).filter((property) => MODELLED.includes(property));
}

test('SPIN is there where VFIO_CI says that nothing is left out', () => {
  if (process.env['VFIO_CI'] === '1') expect(missing).toBeNull();
  expect(missingTools('/nowhere')).toBe('apt-get install spin gcc');
});

describe.skipIf(missing !== null)(`SPIN and our checker agree${skipped}`, () => {
  const cases = DESIGNS.flatMap(({ name }) => [
    { model: 'decode' as const, name },
    { model: 'release' as const, name },
  ]);
  test.concurrent.each(cases)(
    'on every property of $model under $name',
    async ({ model, name }) => {
      const { broken } = await askSpin({ model, design: name });
      expect(broken).toEqual(ourVerdict(program(model), design(name)));
    },
    TIMEOUT_MS,
  );

  test.concurrent.each(DESIGNS.map(({ name }) => ({ name })))(
    'on every property of decode under $name, if all of it is done twice',
    async ({ name }) => {
      const { threads, ...rest } = program('decode');
      const twice = Object.entries(threads).map(([thread, actions]) => [thread, [...actions, ...actions]]);
      const { broken } = await askSpin({ model: 'decode', design: name, macros: ['ROUNDS=2'] });
      expect(broken).toEqual(ourVerdict({ ...rest, threads: Object.fromEntries(twice) }, design(name)));
    },
    TIMEOUT_MS,
  );

  // No kernel has this mix of choices. Our host put the contents aside before it zapped the list.
  test.concurrent(
    'that node-vfio could as well keep a list of VMAs',
    async () => {
      const listed = {
        ...design('node-vfio'),
        zap: { ...design('node-vfio').zap, pci: 'vma-list' as const },
      };
      const { broken } = await askSpin({ model: 'decode', design: 'node-vfio', macros: ['ZAP_VMA_LIST'] });
      expect(broken).toEqual([]);
      expect(ourVerdict(program('decode'), listed)).toEqual([]);
    },
    TIMEOUT_MS,
  );

  test.concurrent(
    'that a pfn in vm_pgoff is found by the zap of BAR0 to ROM if it happens to be small',
    async () => {
      const { devices, ...rest } = program('decode');
      const regions = devices['gpu']!.regions.map((each) => ({ ...each, below4GiB: true }));
      const low = { ...rest, devices: { gpu: { ...devices['gpu']!, regions } } };
      const macros = ['BAR2_ADDRESS=0xe0100000'];
      const { broken } = await askSpin({ model: 'decode', design: 'rfc-2021', macros });
      expect(broken).not.toContain('R5');
      expect(broken).toEqual(ourVerdict(low, design('rfc-2021')));
    },
    TIMEOUT_MS,
  );
});

describe.skipIf(missing !== null)(`SPIN by itself${skipped}`, () => {
  // From the mail of 2021-02-24 (the zap misses what is coded as pfn), the review of patch 10 ("It is a use-after-free"), and
  // what dma-buf leaves to user space ("There is no automatic remap").
  test.concurrent.each([
    { model: 'decode' as const, name: 'rfc-2021', property: 'R5' as const },
    { model: 'release' as const, name: 'linux-5.11', property: 'R6' as const },
    { model: 'release' as const, name: 'linux-6.12', property: 'R6' as const },
    { model: 'decode' as const, name: 'dma-buf-6.19', property: 'R7' as const },
  ])(
    'finds that $name breaks $property in $model, also if nothing else is looked at',
    async ({ model, name, property }) => {
      const { broken } = await askSpin({ model, design: name, properties: [property] });
      expect(broken).toEqual([property]);
    },
    TIMEOUT_MS,
  );

  test.concurrent.each(['decode', 'release'] as const)(
    'finds nothing in %s under node-vfio',
    async (model) => {
      const { broken, states, transitions, depth } = await askSpin({ model, design: 'node-vfio' });
      expect(broken).toEqual([]);
      expect(Math.min(states - 1, transitions, depth)).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );
});

/** The same mistake in a design of ours: leaves a word out of the order of an operation. */
function leaveOut(operation: keyof Orders, word: string): (from: Design) => Design {
  return (from) => {
    const words = from.order[operation].filter((each) => each !== word);
    expect(words).toHaveLength(from.order[operation].length - 1);
    return { ...from, order: { ...from.order, [operation]: words } };
  };
}

interface Mistake {
  readonly model: Model;
  readonly macro: string;
  readonly breaks: Property;
  readonly ours: (from: Design) => Design;
}

const MISTAKES: readonly Mistake[] = [
  { model: 'decode', macro: 'WITHOUT_FLUSH', breaks: 'R6', ours: leaveOut('revoke', 'flush') },
  { model: 'decode', macro: 'WITHOUT_DRAIN', breaks: 'R4', ours: leaveOut('revoke', 'drain') },
  {
    model: 'decode',
    macro: 'WITHOUT_ZAP',
    breaks: 'R5',
    ours: (from) => ({ ...from, zap: { ...from.zap, pci: 'nothing' } }),
  },
  { model: 'decode', macro: 'WITHOUT_FAULT_LOCK', breaks: 'R5', ours: leaveOut('fault', 'lock memory') },
  {
    model: 'decode',
    macro: 'WITHOUT_RESTORE',
    breaks: 'R7',
    ours: (from) => ({ ...from, resume: 'nothing' }),
  },
  { model: 'decode', macro: 'WITHOUT_RETURN', breaks: 'R8', ours: leaveOut('enable', 'return') },
  { model: 'decode', macro: 'WITHOUT_UNLOCK', breaks: 'deadlock', ours: leaveOut('enable', 'unlock') },
  { model: 'release', macro: 'WITHOUT_FLUSH', breaks: 'R6', ours: leaveOut('revoke', 'flush') },
  { model: 'release', macro: 'WITHOUT_DRAIN', breaks: 'R6', ours: leaveOut('revoke', 'drain') },
  { model: 'release', macro: 'WITHOUT_REFERENCE', breaks: 'R6', ours: leaveOut('map', 'reference') },
  { model: 'release', macro: 'WITHOUT_DROP', breaks: 'leak', ours: leaveOut('revoke', 'drop reference') },
];

describe.skipIf(missing !== null)(`a mistake in node-vfio is seen by both, and as the same${skipped}`, () => {
  test.concurrent.each(MISTAKES)(
    '$macro in $model breaks $breaks',
    async ({ model, macro, breaks, ours }) => {
      const { broken } = await askSpin({ model, design: 'node-vfio', macros: [macro] });
      expect(broken).toContain(breaks);
      expect(broken).toEqual(ourVerdict(program(model), ours(design('node-vfio'))));
    },
    TIMEOUT_MS,
  );

  // One that leaves nobody waiting: the page table entry was not found, so nobody faults.
  test.concurrent(
    'a lock that nobody lets go and nobody waits for is a deadlock for both',
    async () => {
      const macros = ['WITHOUT_UNLOCK'];
      const { broken } = await askSpin({ model: 'decode', design: 'rfc-2021', macros });
      expect(broken).toContain('deadlock');
      expect(broken).toEqual(ourVerdict(program('decode'), leaveOut('enable', 'unlock')(design('rfc-2021'))));
    },
    TIMEOUT_MS,
  );
});

describe('what a verifier says', () => {
  const said = (errors: number, ...lines: string[]): string =>
    [
      ...lines,
      `State-vector 44 byte, depth reached 74, errors: ${errors}`,
      ' 1.5e+06 states, stored',
      '     6133 transitions (= stored+matched)',
      'pan: elapsed time 0.25 seconds',
    ].join('\n');

  test('is read', () => {
    expect(
      answerOf(
        said(
          3,
          'pan:1: invalid end state (at depth 4)',
          'pan:2: assertion violated ( !(now.pte)||R5_BROKEN) (at depth 7)',
        ),
      ),
    ).toEqual({
      broken: ['R5', 'deadlock'],
      states: 1_500_000,
      transitions: 6133,
      depth: 74,
      elapsedSeconds: 0.25,
    });
  });

  test('is no answer if the search was cut short, or if the model itself is wrong', () => {
    expect(() => answerOf(said(0, 'error: max search depth too small'))).toThrow(/not complete/);
    expect(() => answerOf(said(1))).toThrow(/not complete/);
    expect(() => answerOf(said(1, 'pan:1: assertion violated (opens==0) (at depth 9)'))).toThrow(
      /the model is wrong: pan:1/,
    );
    expect(() => answerOf('')).toThrow(/no .* in what the verifier says/);
  });
});
