import { describe, expect, test } from 'vitest';
import type { Design } from '../sim/design.ts';
import { designNamed } from '../sim/designs.ts';
import { SimulatedHost } from '../sim/host.ts';
import type { Violation } from '../sim/machine.ts';
import { HURRICANE } from './hurricane.ts';
import { PROGRAMS } from './programs.ts';
import { walk } from './random.ts';
import { STORM } from './storm.ts';

describe('walk', () => {
  test('finds in the storm what type1 lacks: reach and lifetime', () => {
    const { findings } = walk(STORM, designNamed('linux-6.12'), { runs: 20, seed: 1, steps: 300 });
    expect(findings.map(({ property }) => property)).toEqual(expect.arrayContaining(['R4', 'R6']));
  });

  test('finds nothing under our design', () => {
    const { findings, runs, steps } = walk(STORM, designNamed('node-vfio'), {
      runs: 50,
      seed: 1,
      steps: 1000,
    });
    expect(findings).toEqual([]);
    expect(runs).toBe(50);
    // Walks may end early, when what is not switched off can do no more; these do not all.
    expect(steps).toBeGreaterThan(25_000);
  });

  test('finds nothing under our design in the hurricane, where everything happens', () => {
    const { findings } = walk(HURRICANE, designNamed('node-vfio'), { runs: 100, seed: 1, steps: 1500 });
    expect(findings).toEqual([]);
  });

  test('the same seed walks the same way, and one walk can be made again alone', () => {
    const options = { runs: 8, seed: 5, steps: 300 };
    const first = walk(STORM, designNamed('seed-mail'), options);
    expect(walk(STORM, designNamed('seed-mail'), options)).toEqual(first);
    const [finding] = first.findings;
    const alone = walk(STORM, designNamed('seed-mail'), { runs: 1, seed: finding!.seed, steps: 300 });
    expect(alone.findings.map(({ property }) => property)).toContain(finding!.property);
  });

  test('what is left after shortening still breaks the property, and nothing of it can be left out', () => {
    const design = designNamed('dma-buf-6.19');
    const { findings, walked } = walk(STORM, design, { runs: 20, seed: 1, steps: 500 });
    const found = findings.find(({ property }) => property === 'R7')!;
    expect(found.moves.length).toBeLessThanOrEqual(found.walkSteps);
    expect(brokenBy(walked, design, found.moves).map(({ property }) => property)).toContain('R7');
    for (let i = 0; i < found.moves.length; i++) {
      const shorter = found.moves.filter((_, at) => at !== i);
      expect(brokenBy(walked, design, shorter).map(({ property }) => property)).not.toContain('R7');
    }
  });

  test('stops when it is told to', () => {
    const { runs } = walk(PROGRAMS[0]!, designNamed('node-vfio'), {
      runs: 1000,
      seed: 1,
      onProgress: () => true,
    });
    expect(runs).toBeLessThan(1000);
  });
});

/** Takes the moves as far as they are possible. What the last one broke. */
function brokenBy(program: typeof STORM, design: Design, moves: readonly number[]): readonly Violation[] {
  const host = new SimulatedHost(program, design);
  host.machine.explaining = true;
  const state = host.initial();
  const possible: number[] = [];
  for (const move of moves) {
    const count = host.moves(state, possible);
    if (!possible.slice(0, count).includes(move)) return [];
    host.take(state, move);
  }
  return [...host.violations];
}
