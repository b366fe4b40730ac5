/*
 * A trace: what happened, step by step, from the beginning to what broke. Made by taking the moves again, so a trace is also a proof:
 * if the moves do not break the property, there is no trace.
 */
import type { DeviceKind } from '../core/index.ts';
import type { Design } from '../sim/design.ts';
import { type Move, type MoveDescription, SimulatedHost } from '../sim/host.ts';
import type { Property, Violation } from '../sim/machine.ts';
import { type LockState, type Observation, observe, observeLocks } from '../sim/observe.ts';
import type { Program } from '../sim/program.ts';

/** One step of a trace. */
export interface TraceStep extends MoveDescription {
  readonly move: Move;
  /** It is the first of its operation. */
  readonly begins: boolean;
  /** It is the last of its operation. */
  readonly ends: boolean;
  /** The locks that changed hands, and who has them now. */
  readonly locks: readonly LockState[];
  /** What changed that people can see. */
  readonly changes: readonly Observation[];
  /** What the step broke. */
  readonly violations: readonly Violation[];
}

/** Moves of a program under a design, and what they did. */
export interface Trace {
  readonly program: string;
  readonly design: string;
  /** The kind of each device of the program. */
  readonly devices: Readonly<Record<string, DeviceKind>>;
  readonly steps: readonly TraceStep[];
  /** What is broken at the end because nothing can move. */
  readonly stuck: readonly Violation[];
}

/** Takes the moves and writes down what happens. Each must be possible; `replay` is for moves that may not be. */
export function trace(program: Program, design: Design, moves: readonly Move[]): Trace {
  const host = new SimulatedHost(program, design);
  const { machine } = host;
  machine.explaining = true;
  const state = host.initial();
  const steps: TraceStep[] = [];
  let before = observe(machine, state);
  let locksBefore = observeLocks(machine, state);
  const possible: Move[] = [];
  for (const move of moves) {
    const thread = host.threadOf(move);
    const begins = !host.busy(state, thread);
    const description = host.describe(state, move);
    host.take(state, move);
    const after = observe(machine, state);
    const locksAfter = observeLocks(machine, state);
    steps.push({
      ...description,
      move,
      begins,
      ends: !host.busy(state, thread),
      locks: locksAfter.filter(({ holder }, i) => locksBefore[i]!.holder !== holder),
      changes: after.filter(({ value }, i) => before[i]!.value !== value),
      violations: [...host.violations],
    });
    before = after;
    locksBefore = locksAfter;
  }
  if (host.moves(state, possible) === 0) host.stuck(state);
  else machine.violations.length = 0;
  const devices = Object.fromEntries(machine.plan.devices.map(({ name, kind }) => [name, kind]));
  return {
    program: program.name,
    design: design.name,
    devices,
    steps,
    stuck: [...host.violations],
  };
}

/** Every time that a trace breaks a property, in words; empty if it does not. */
export function brokenIn(trace: Trace, property: Property): string[] {
  return [...trace.steps.flatMap(({ violations }) => violations), ...trace.stuck]
    .filter((violation) => violation.property === property)
    .map(({ text }) => text);
}
