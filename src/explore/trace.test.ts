import { describe, expect, test } from 'vitest';
import { allFindings, foundTrace } from '../../test/support/findings.ts';
import { DESIGNS } from '../sim/index.ts';
import { brokenIn, type Trace } from './trace.ts';

/** What a trace says about locks, against who can have them; one sentence for each contradiction. */
function lockMistakes({ steps }: Trace): string[] {
  const held = new Map<string, string>();
  const found: string[] = [];
  for (const [i, { thread, step, locks }] of steps.entries()) {
    const freed: string[] = [];
    for (const { lock, holder } of locks) {
      const before = held.get(lock);
      if (before !== undefined && before !== thread)
        found.push(`step ${i + 1} takes ${lock} away from ${before}`);
      if (holder === null) {
        freed.push(lock);
        held.delete(lock);
      } else held.set(lock, holder);
    }
    const said = /^lets go of (.*)$/.exec(step)?.[1]?.split(' and ') ?? freed;
    if (said.toSorted().join() !== freed.toSorted().join())
      found.push(`step ${i + 1} says it lets go of ${said.join()}, and lets go of ${freed.join()}`);
  }
  return found;
}

describe('a trace', () => {
  test('shows where operations begin and end', () => {
    const { steps } = foundTrace('decode', 'rfc-2021', 'R5');
    // Setup: open (3 steps), mmap (3), MAP_DMA (7); then three steps of a disable that is not over.
    expect(steps.flatMap(({ begins }, i) => (begins ? [i] : []))).toEqual([0, 3, 6, 13]);
    expect(steps.flatMap(({ ends }, i) => (ends ? [i] : []))).toEqual([2, 5, 12]);
  });

  test('shows who has which lock', () => {
    const { steps } = foundTrace('decode', 'rfc-2021', 'R5');
    expect(steps[0]!.locks).toEqual([{ lock: 'the memory lock of gpu', holder: 'setup' }]);
    expect(steps[1]!.locks).toEqual([]);
    expect(steps[2]!.locks).toEqual([{ lock: 'the memory lock of gpu', holder: null }]);
    expect(steps[13]!.locks).toEqual([{ lock: 'the memory lock of gpu', holder: 'driver' }]);
  });

  test('says where something changed', () => {
    const { steps } = foundTrace('decode', 'rfc-2021', 'R5');
    // Opened (decode, count), mapped (count, entry), faulted in, referenced, mapped for DMA; decode off.
    expect(steps.flatMap(({ changes }) => changes.map(({ where }) => where))).toEqual([
      'device gpu',
      'device gpu',
      'device gpu',
      'page tables',
      'page tables',
      'device gpu',
      'IOMMU',
      'device gpu',
    ]);
  });

  test('lets go only of locks that are held, in every finding of every design', () => {
    for (const design of DESIGNS)
      for (const { trace } of allFindings(design)) expect(lockMistakes(trace)).toEqual([]);
  });

  test('canary: a lock that is let go and not held is seen', () => {
    const trace = foundTrace('decode', 'linux-6.12', 'R6');
    const steps = trace.steps.with(11, {
      ...trace.steps[11]!,
      step: 'lets go of the lock of container nics and the memory lock of gpu',
    });
    expect(lockMistakes({ ...trace, steps })).toHaveLength(1);
  });

  test('gives the sentences of one property', () => {
    const trace = foundTrace('decode', 'rfc-2021', 'R5');
    expect(brokenIn(trace, 'R5')).toHaveLength(1);
    expect(brokenIn(trace, 'R1')).toHaveLength(1);
    expect(brokenIn(trace, 'R8')).toEqual([]);
  });
});
