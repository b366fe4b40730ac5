/*
 * A simulated host that is driven by hand, one operation after the other: for tests, for teaching, and for asking it what a kernel was
 * asked. What the operations name need not be declared before.
 */
import { VfioError } from '../core/index.ts';
import type { Design } from './design.ts';
import { type Move, SimulatedHost } from './host.ts';
import type { State } from './layout.ts';
import type { Violation } from './machine.ts';
import { observe } from './observe.ts';
import type { Operation, Program } from './program.ts';

/** The machine of a program, without what happens on it. */
export type MachineDescription = Omit<Program, 'name' | 'setup' | 'threads'>;

/** What an operation did. */
export interface Outcome {
  /** 'ok', 'value N' of a load or DMA read, an errno name, 'SIGBUS', 'SIGSEGV', 'fault' of a DMA, or 'refused': it made no sense. */
  readonly result: string;
  /** Rules that it broke. */
  readonly violations: readonly Violation[];
}

/** Operations of a session at most: each makes the host anew, because it may name new things. */
const OPERATION_LIMIT = 1000;

/** A host and what was done to it. */
export class Session {
  readonly #machine: MachineDescription;
  readonly #design: Design;
  readonly #done: Operation[] = [];

  constructor(machine: MachineDescription, design: Design) {
    this.#machine = machine;
    this.#design = design;
  }

  /** Does one operation from its first step to its last. EINVAL: it names what is not there; then nothing happened. */
  run(operation: Operation): Outcome {
    if (this.#done.length === OPERATION_LIMIT)
      throw new VfioError('ENOSPC', `a session has at most ${OPERATION_LIMIT} operations; begin another one`);
    const { host, state } = this.#replay([...this.#done, operation]);
    const moves: Move[] = [];
    const violations: Violation[] = [];
    const action = this.#done.length;
    host.machine.explaining = true;
    while (!host.done(state, 0)) {
      if (host.moves(state, moves) === 0)
        throw new VfioError('EDEADLK', `operation ${action} (${operation.op}) waits for what nobody will do`);
      host.take(state, moves[0]!);
      violations.push(...host.violations);
    }
    this.#done.push(operation);
    return { result: host.machine.outcome, violations };
  }

  /** How everything is now, by name: 'decode of gpu' -> 'on'. */
  look(): ReadonlyMap<string, string> {
    const { host, state } = this.#replay(this.#done);
    const moves: Move[] = [];
    while (host.moves(state, moves) > 0) host.take(state, moves[0]!);
    return new Map(observe(host.machine, state).map(({ what, value }) => [what, value]));
  }

  /** A host that is going to do these operations, and has done all but the last one of them that is not yet done. */
  #replay(operations: readonly Operation[]): { host: SimulatedHost; state: State } {
    const host = new SimulatedHost(
      { ...this.#machine, name: 'session', setup: operations, threads: {} },
      this.#design,
    );
    const state = host.initial();
    const moves: Move[] = [];
    while (host.actionOf(state, 0) < this.#done.length) {
      host.moves(state, moves);
      host.take(state, moves[0]!);
    }
    return { host, state };
  }
}
