import { describe, expect, test } from 'vitest';
import { designNamed, findingOf, programNamed } from '../../test/support/findings.ts';
import type { Program } from '../sim/index.ts';
import { replay, replayPossible } from './replay.ts';
import { brokenIn, trace } from './trace.ts';

const DECODE = programNamed('decode');
const RFC = designNamed('rfc-2021');

/** Opening is three steps: lock, open, unlock. */
const TWO_OPENERS: Program = {
  name: 'two',
  devices: { gpu: { kind: 'pci', regions: [{ index: 0 }] } },
  processes: ['one', 'other'],
  containers: [],
  setup: [],
  threads: {
    a: [{ op: 'open', process: 'one', device: 'gpu' }],
    b: [
      {
        any: [
          { op: 'open', process: 'other', device: 'gpu' },
          { op: 'close', process: 'other', device: 'gpu' },
        ],
        times: 1,
      },
    ],
  },
};
const A = 64;
const B = 128;

function refusalOf(moves: readonly number[], program: Program = TWO_OPENERS): string {
  return replayPossible(program, RFC, moves).refusal ?? 'none';
}

describe('a replay', () => {
  test('of a finding is its trace', () => {
    const { moves } = findingOf(DECODE, RFC, 'R5');
    expect(replay(DECODE, RFC, moves)).toEqual(trace(DECODE, RFC, moves));
    expect(replayPossible(DECODE, RFC, moves).refusal).toBeNull();
  });

  test('names the first move that is not possible', () => {
    expect(() => replay(TWO_OPENERS, RFC, [A, B, A, A])).toThrowError(
      expect.objectContaining({ code: 'EINVAL', message: expect.stringContaining('move 2 of 4') }),
    );
  });

  test('says why: somebody waits, is done, has no such choice, is nobody', () => {
    // a has the memory lock that an open takes first.
    expect(refusalOf([A, B])).toContain('b can begin nothing now, and has to wait');
    expect(refusalOf([A, A, A, A])).toContain(
      'a has done all that it had to do; this design has no such step',
    );
    expect(refusalOf([B + 1])).toContain('b has no such choice here; this design has no such step');
    expect(refusalOf([B, B + 1])).toContain('b has no such choice here');
    expect(refusalOf([192])).toContain('one of 3 threads');
    for (const wrong of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])
      expect(refusalOf([wrong])).toContain('a whole number');
  });

  test('says what a thread in the middle of something waits for', () => {
    // The guest faults and has the mmap lock; then the driver takes the memory lock, which the fault needs next.
    const setup = new Array<number>(12).fill(0);
    const { refusal } = replayPossible(DECODE, designNamed('node-vfio'), [...setup, 64, 64, 192, 64]);
    expect(refusal).toContain('move 16 of 16');
    expect(refusal).toContain('guest waits: it takes the memory lock of gpu');
  });

  test('says that nobody begins before the setup is done', () => {
    expect(refusalOf([64], DECODE)).toContain('guest cannot begin before the setup is done');
  });

  test('stops there, and keeps what happened before', () => {
    const { trace, refusal } = replayPossible(TWO_OPENERS, RFC, [A, A, B, A]);
    expect(trace.steps.map(({ step }) => step)).toEqual(['takes the memory lock of gpu', 'opens gpu']);
    expect(refusal).toContain('move 3 of 4');
  });

  test('under a design without the bug ends where that design has no such step', () => {
    // rfc-2021 opens, maps and maps for DMA in 13 steps, node-vfio in 12: it does not fault in and walk, but takes one lock more.
    const { moves } = findingOf(DECODE, RFC, 'R5');
    const { trace, refusal } = replayPossible(DECODE, designNamed('node-vfio'), moves);
    expect(refusal).toContain('setup has done all that it had to do; this design has no such step');
    expect(trace.steps).toHaveLength(12);
    expect(brokenIn(trace, 'R5')).toEqual([]);
  });
});
