/*
 * Designs by properties: what holds, and what breaks how soon. The programs are independent jobs, so that several workers can share
 * them.
 */

import type { Design } from '../sim/design.ts';
import { DESIGNS } from '../sim/designs.ts';
import type { Move } from '../sim/host.ts';
import { PROPERTIES, type Property } from '../sim/machine.ts';
import type { Program } from '../sim/program.ts';
import { PROGRAMS } from './programs.ts';
import type { SearchResult } from './search.ts';
import { STORM } from './storm.ts';

/** One search of the matrix. */
export interface MatrixJob {
  readonly design: Design;
  readonly program: Program;
}

/** What is known of one property under one design. */
export interface MatrixCell {
  readonly design: string;
  readonly property: Property;
  readonly verdict: 'holds' | 'broken';
  /** Distinct states of all programs together in which it was judged. */
  readonly states: number;
  /** Every program was tried whole. */
  readonly complete: boolean;
  /** Of the shortest trace: its steps, its program and its moves; null if nothing broke. */
  readonly length: number | null;
  readonly program: string | null;
  readonly moves: readonly Move[] | null;
}

/** Designs that small programs do not break are tried in the storm, too; it takes most of the time. */
const STORM_DESIGNS: readonly string[] = ['node-vfio'];

/** The jobs of the matrix, the longest first. */
export function matrixJobs(designs: readonly Design[] = DESIGNS): MatrixJob[] {
  const storms = designs.filter(({ name }) => STORM_DESIGNS.includes(name));
  return [
    ...storms.map((design) => ({ design, program: STORM })),
    ...designs.flatMap((design) => [...PROGRAMS].reverse().map((program) => ({ design, program }))),
  ];
}

/** Every `count`-th job, beginning with the `number`-th (from 1), so that machines can share the work. */
export function shardOf<Job>(jobs: readonly Job[], number: number, count: number): Job[] {
  return jobs.filter((_, i) => i % count === number - 1);
}

/** Puts the results of all jobs together. Designs without a result are left out. */
export function matrixOf(results: readonly SearchResult[]): MatrixCell[] {
  const designs = DESIGNS.map(({ name }) => name).filter((name) =>
    results.some(({ design }) => design === name),
  );
  const others = results.map(({ design }) => design).filter((name) => !designs.includes(name));
  return [...designs, ...new Set(others)].flatMap((design) => {
    const own = results.filter((result) => result.design === design);
    return PROPERTIES.map((property) => cellOf(design, property, own));
  });
}

function cellOf(design: string, property: Property, results: readonly SearchResult[]): MatrixCell {
  const found = results.flatMap(({ program, findings }) =>
    findings.filter((finding) => finding.property === property).map(({ moves }) => ({ program, moves })),
  );
  const [shortest] = found.sort((a, b) => a.moves.length - b.moves.length);
  return {
    design,
    property,
    verdict: shortest === undefined ? 'holds' : 'broken',
    states: results.reduce((sum, { states }) => sum + states, 0),
    complete: results.every(({ complete }) => complete),
    length: shortest?.moves.length ?? null,
    program: shortest?.program ?? null,
    moves: shortest?.moves ?? null,
  };
}
