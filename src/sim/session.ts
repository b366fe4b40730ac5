/*
 * A simulated host that is driven by hand, one operation after the other: for tests, for teaching, and for asking it what a kernel was
 * asked. What the operations name need not be declared before.
 */
import { type Container, VfioError } from '../core/index.ts';
import type { Design } from './design.ts';
import { type Move, SimulatedHost } from './host.ts';
import { CONTENT, kernelOf, type State } from './layout.ts';
import type { Violation } from './machine.ts';
import { observe } from './observe.ts';
import { Plan } from './plan.ts';
import type { Operation, Program } from './program.ts';

/** The machine of a program, without what happens on it. */
export type MachineDescription = Omit<Program, 'name' | 'setup' | 'threads'>;

/** What an operation did. */
export interface Outcome {
  /**
   * 'ok', 'value N' of a load or DMA read, 'N bytes' of an unmapRange, an errno name, 'SIGBUS', 'SIGSEGV', 'fault' of a DMA, 'no answer'
   * of an access that reached nothing, or 'refused': it made no sense.
   */
  readonly result: string;
  /** Rules that it broke. */
  readonly violations: readonly Violation[];
}

/** Operations of a session at most: one that names new things makes the host anew and does all of them again. */
const OPERATION_LIMIT = 10_000;

/** Operations that may name something new. */
const NAMING: readonly Operation['op'][] = ['mmap', 'mmapForeign', 'fork', 'mapDma', 'mprotect'];

/** A host and what was done to it. */
export class Session {
  readonly #machine: MachineDescription;
  readonly #design: Design;
  readonly #done: Operation[] = [];
  #host: SimulatedHost;
  #state: State;
  readonly #moves: Move[] = [];

  constructor(machine: MachineDescription, design: Design) {
    this.#machine = machine;
    this.#design = design;
    this.#host = new SimulatedHost(this.#program([]), design);
    this.#state = this.#host.initial();
  }

  /** Does one operation from its first step to its last. EINVAL: it names what is not there; then nothing happened. */
  run(operation: Operation): Outcome {
    if (this.#done.length === OPERATION_LIMIT)
      throw new VfioError('ENOSPC', `a session has at most ${OPERATION_LIMIT} operations; begin another one`);
    if (this.#needsCells(operation)) this.#replay(operation);
    else this.#host.append(operation);
    const host = this.#host;
    const violations: Violation[] = [];
    host.machine.explaining = true;
    // Most operations that cannot fail say nothing.
    host.machine.outcome = 'ok';
    while (!host.done(this.#state, 0)) {
      if (host.moves(this.#state, this.#moves) === 0)
        throw new VfioError(
          'EDEADLK',
          `operation ${this.#done.length} (${operation.op}) waits for what nobody will do`,
        );
      host.take(this.#state, this.#moves[0]!);
      violations.push(...host.violations);
    }
    this.#done.push(operation);
    return { result: host.machine.outcome, violations };
  }

  /** How everything is now, by name: 'decode of gpu' -> 'on'. */
  look(): ReadonlyMap<string, string> {
    return new Map(observe(this.#host.machine, this.#state).map(({ what, value }) => [what, value]));
  }

  /** What a page of a device's region, or of memory, holds now; nobody accesses it. 65535 if the contents are elsewhere. */
  contents(device: string, region: number, page: number): number {
    const { plan, layout } = this.#host.machine;
    const number = plan.device(device);
    const { firstPage, pages } = plan.devices[number]!.regions[plan.region(number, region)]!;
    if (page >= pages) throw new VfioError('EINVAL', `region ${region} of ${device} has ${pages} pages`);
    return this.#state[layout.page(number, firstPage + page) + CONTENT]!;
  }

  /** A container as the core has it now, to look at. */
  container(name: string): Container {
    const { plan, kernel } = this.#host.machine;
    return kernel.objects(kernelOf(this.#state)).container(plan.container(name));
  }

  /** Whether an operation brings in something that the host has no cells for. */
  #needsCells(operation: Operation): boolean {
    if (!NAMING.includes(operation.op)) return false;
    const plan = new Plan(this.#program([...this.#done, operation]));
    return shape(plan) !== shape(this.#host.machine.plan);
  }

  /** A host that has done all that was done, and is going to do one operation more. */
  #replay(operation: Operation): void {
    const host = new SimulatedHost(this.#program([...this.#done, operation]), this.#design);
    const state = host.initial();
    while (host.actionOf(state, 0) < this.#done.length) {
      host.moves(state, this.#moves);
      host.take(state, this.#moves[0]!);
    }
    this.#host = host;
    this.#state = state;
  }

  #program(setup: readonly Operation[]): Program {
    return { ...this.#machine, name: 'session', setup, threads: {} };
  }
}

/** Equal for plans whose states have the same cells. */
function shape({ vmas, mappings }: Plan): string {
  return JSON.stringify([vmas, mappings]);
}
