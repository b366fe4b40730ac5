/*
 * Every state that the core's objects can be in, found as it is needed. A state is made once by calling the real objects, and from
 * then on it is a number: which number a call leads to, and what it asks of the hardware. So the checker walks through millions of
 * states of the host, and all of them are decided by the code in src/core as it is.
 */
import { VfioError } from '../core/index.ts';
import type { Design } from './design.ts';
import { type Effect, Kernel, type KernelCall, type KernelFacts } from './kernel.ts';
import type { Plan } from './plan.ts';

/** Where a call leads. */
export interface Transition {
  /** Number of the state after it. */
  readonly to: number;
  /** Number of the list of effects. */
  readonly effects: number;
  /** '0' or an errno name. */
  readonly result: string;
}

interface Known extends KernelFacts {
  readonly key: string;
  /** How it was first reached: from this state by this call. */
  readonly from: number;
  readonly call: number;
  readonly transitions: (Transition | undefined)[];
}

/** A program that needs more is too large to be tried out whole. */
const STATE_LIMIT = 200_000;

/** The states of one design and plan. */
export class KernelStates {
  readonly #plan: Plan;
  readonly #design: Design;
  readonly #calls: KernelCall[] = [];
  readonly #callNumbers: Map<string, number> = new Map();
  readonly #states: Known[] = [];
  readonly #byKey: Map<string, number> = new Map();
  readonly #lists: Effect[][] = [[]];
  readonly #listNumbers: Map<string, number> = new Map([['[]', 0]]);
  /** Objects that are in state `#liveState`, to go on with. */
  #live: Kernel;
  #liveState = 0;

  constructor(plan: Plan, design: Design) {
    this.#plan = plan;
    this.#design = design;
    this.#live = new Kernel(plan, design);
    this.#intern(this.#live, -1, -1);
  }

  /** How many are known. */
  get size(): number {
    return this.#states.length;
  }

  /** The calls that have a number, in its order. */
  get calls(): readonly KernelCall[] {
    return this.#calls;
  }

  /** The number of a call, for `transition`. */
  callNumber(call: KernelCall): number {
    const key = JSON.stringify(call);
    const known = this.#callNumbers.get(key);
    if (known !== undefined) return known;
    this.#calls.push(call);
    this.#callNumbers.set(key, this.#calls.length - 1);
    return this.#calls.length - 1;
  }

  facts(state: number): KernelFacts {
    return this.#states[state]!;
  }

  effects(list: number): readonly Effect[] {
    return this.#lists[list]!;
  }

  transition(state: number, call: number): Transition {
    const known = this.#states[state]!.transitions[call];
    return known ?? this.#explore(state, call);
  }

  /** Real objects in this state, to look at. */
  objects(state: number): Kernel {
    const kernel = new Kernel(this.#plan, this.#design);
    for (const call of this.#path(state)) kernel.call(this.#calls[call]!);
    return kernel;
  }

  #explore(state: number, call: number): Transition {
    const kernel = this.#liveState === state ? this.#live : this.objects(state);
    const result = kernel.call(this.#calls[call]!);
    const effects = this.#listNumber(kernel.effects);
    const to = this.#intern(kernel, state, call);
    this.#live = kernel;
    this.#liveState = to;
    const transition: Transition = { to, effects, result };
    this.#states[state]!.transitions[call] = transition;
    return transition;
  }

  #intern(kernel: Kernel, from: number, call: number): number {
    const key = kernel.key();
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    if (this.#states.length === STATE_LIMIT)
      throw new VfioError(
        'ENOSPC',
        `the core has more than ${STATE_LIMIT} states under this program; make it smaller`,
      );
    this.#states.push({ key, from, call, transitions: [], ...kernel.facts() });
    this.#byKey.set(key, this.#states.length - 1);
    return this.#states.length - 1;
  }

  #path(state: number): number[] {
    const path: number[] = [];
    for (let at = state; this.#states[at]!.from >= 0; at = this.#states[at]!.from)
      path.push(this.#states[at]!.call);
    return path.reverse();
  }

  #listNumber(effects: readonly Effect[]): number {
    const key = JSON.stringify(effects);
    const known = this.#listNumbers.get(key);
    if (known !== undefined) return known;
    this.#lists.push([...effects]);
    this.#listNumbers.set(key, this.#lists.length - 1);
    return this.#lists.length - 1;
  }
}
