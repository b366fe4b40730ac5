/*
 * Random walks, for what is too large to be tried whole: many long runs, each with its own habits. In each run some kinds of
 * operations are switched off and some threads are slow, because a walk that does a little of everything seldom does enough of the one
 * thing that breaks (swarm verification). The same seed gives the same walks.
 */
import type { Design } from '../sim/design.ts';
import { type Move, propertiesIn, SimulatedHost } from '../sim/host.ts';
import type { State } from '../sim/layout.ts';
import type { Property } from '../sim/machine.ts';
import { COUNT_LIMIT } from '../sim/plan.ts';
import type { Action, Operation, Program } from '../sim/program.ts';
import { minimize } from './minimize.ts';
import type { Finding } from './search.ts';

export interface WalkOptions {
  /** How many walks. */
  readonly runs: number;
  /** Walk number i uses seed + i, so one walk can be made again alone. */
  readonly seed: number;
  /** Steps of a walk at most; 2000 unless said otherwise. */
  readonly steps?: number;
  readonly onProgress?: (runs: number, steps: number) => boolean | undefined;
}

/** A property that a walk broke. */
export interface WalkFinding extends Finding {
  /** Makes the walk again, with `runs` 1. */
  readonly seed: number;
  /** Steps that the walk took to it; `moves` is what is left of them after all that is not needed was left out. */
  readonly walkSteps: number;
}

export interface WalkResult {
  readonly program: string;
  readonly design: string;
  readonly runs: number;
  /** Of all walks together. */
  readonly steps: number;
  readonly findings: readonly WalkFinding[];
  /** The program that was walked: the given one, with its choices open for as long as a walk takes. */
  readonly walked: Program;
}

const STEPS = 2000;
/** Progress is told after so many walks. */
const PROGRESS_EVERY = 64;
/** One of so many kinds of operations is switched off. */
const OFF_ONE_IN = 3;

/** Walks at random. */
export function walk(program: Program, design: Design, options: WalkOptions): WalkResult {
  const steps = options.steps ?? STEPS;
  const walked = openEnded(program, steps);
  const host = new SimulatedHost(walked, design);
  const findings = new Map<Property, WalkFinding>();
  let total = 0;
  let runs = 0;
  for (; runs < options.runs; runs++) {
    const seed = options.seed + runs;
    const run = new Walk(host, seed);
    const taken = run.go(steps, (property, moves, stuck) => {
      if (!findings.has(property))
        findings.set(property, { property, moves, stuck, seed, walkSteps: moves.length });
    });
    total += taken;
    if (runs % PROGRESS_EVERY === PROGRESS_EVERY - 1 && options.onProgress?.(runs + 1, total)) break;
  }
  const shortened = [...findings.values()].map((found) => ({
    ...found,
    moves: minimize(walked, design, found),
  }));
  return { program: program.name, design: design.name, runs, steps: total, findings: shortened, walked };
}

/** The program with as many choices for each thread as there can be, `times` at most. */
export function openEnded(program: Program, times: number): Program {
  const most = Math.min(times, COUNT_LIMIT);
  const open = (action: Action): Action => ('any' in action ? { ...action, times: most } : action);
  const threads = Object.fromEntries(
    Object.entries(program.threads).map(([name, actions]) => [name, actions.map(open)]),
  );
  return { ...program, threads };
}

type Found = (property: Property, moves: Move[], stuck: boolean) => void;

class Walk {
  readonly #host: SimulatedHost;
  readonly #random: () => number;
  readonly #off: ReadonlySet<Operation['op']>;
  readonly #weights: readonly number[];

  constructor(host: SimulatedHost, seed: number) {
    this.#host = host;
    this.#random = randomOf(seed);
    const kinds = new Set(host.machine.plan.operations().map(({ op }) => op));
    this.#off = new Set([...kinds].filter(() => this.#random() * OFF_ONE_IN < 1));
    this.#weights = Array.from({ length: host.threadCount }, () => (this.#random() < 0.5 ? 1 : 8));
  }

  /** Returns how many steps there were. */
  go(steps: number, found: Found): number {
    const host = this.#host;
    const state: State = host.initial();
    const moves: Move[] = [];
    const taken: Move[] = [];
    const known = new Set<Property>();
    const note = (stuck: boolean): void => {
      for (const property of propertiesIn(host.machine.broken)) {
        if (!known.has(property)) found(property, [...taken], stuck);
        known.add(property);
      }
    };
    while (taken.length < steps) {
      const all = host.moves(state, moves);
      const count = this.#allowed(state, moves, all);
      if (count === 0) {
        if (all === 0 && host.stuck(state) !== 0) note(true);
        break;
      }
      const move = this.#choose(moves, count);
      host.take(state, move);
      taken.push(move);
      if (host.machine.broken !== 0) note(false);
    }
    return taken.length;
  }

  /** Moves that do not begin an operation that is switched off to the front; how many. */
  #allowed(state: State, moves: Move[], count: number): number {
    let allowed = 0;
    for (let i = 0; i < count; i++) {
      const begun = this.#host.begins(state, moves[i]!);
      if (begun !== null && this.#off.has(begun)) continue;
      moves[allowed++] = moves[i]!;
    }
    return allowed;
  }

  #choose(moves: readonly Move[], count: number): Move {
    let sum = 0;
    for (let i = 0; i < count; i++) sum += this.#weights[this.#host.threadOf(moves[i]!)]!;
    let at = this.#random() * sum;
    for (let i = 0; i < count; i++) {
      at -= this.#weights[this.#host.threadOf(moves[i]!)]!;
      if (at < 0) return moves[i]!;
    }
    return moves[count - 1]!;
  }
}

/** Numbers in [0, 1) that depend on the seed alone: a counter through a 32-bit mixing function. */
function randomOf(seed: number): () => number {
  let counter = Math.imul(seed + 1, 0x9e3779b1);
  return () => {
    counter = (counter + 0x6d2b79f5) | 0;
    let mixed = Math.imul(counter ^ (counter >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
}
