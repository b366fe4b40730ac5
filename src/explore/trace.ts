/*
 * A trace: what happened, step by step, from the beginning to what broke. Made by taking the moves again, so a trace is also a proof:
 * if the moves do not break the property, there is no trace.
 */
import type { Design } from '../sim/design.ts';
import { type Move, type MoveDescription, SimulatedHost } from '../sim/host.ts';
import type { Violation } from '../sim/machine.ts';
import { type Observation, observe } from '../sim/observe.ts';
import type { Program } from '../sim/program.ts';

/** One step of a trace. */
export interface TraceStep extends MoveDescription {
  readonly move: Move;
  /** What changed that people can see. */
  readonly changes: readonly Observation[];
  /** What the step broke. */
  readonly violations: readonly Violation[];
}

/** Moves of a program under a design, and what they did. */
export interface Trace {
  readonly program: string;
  readonly design: string;
  readonly steps: readonly TraceStep[];
  /** What is broken at the end because nothing can move. */
  readonly stuck: readonly Violation[];
}

/** Takes the moves and writes down what happens. */
export function trace(program: Program, design: Design, moves: readonly Move[]): Trace {
  const host = new SimulatedHost(program, design);
  host.machine.explaining = true;
  const state = host.initial();
  const steps: TraceStep[] = [];
  let before = observe(host.machine, state);
  const possible: Move[] = [];
  for (const move of moves) {
    const description = host.describe(state, move);
    host.take(state, move);
    const after = observe(host.machine, state);
    const changes = after.filter(({ what, value }, i) => before[i]!.value !== value && what !== '');
    steps.push({ ...description, move, changes, violations: [...host.violations] });
    before = after;
  }
  if (host.moves(state, possible) === 0) host.stuck(state);
  else host.machine.violations.length = 0;
  return { program: program.name, design: design.name, steps, stuck: [...host.violations] };
}
