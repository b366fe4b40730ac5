/*
 * What every step needs: the plan, the design, where things lie, the core's states, and a place to report what broke.
 */
import type { Design } from './design.ts';
import type { Effect, KernelCall, KernelFacts } from './kernel.ts';
import { KernelStates } from './kernel-states.ts';
import { EFFECT, EFFECT_STEP, EFFECTS, kernelOf, Layout, type State, setKernel } from './layout.ts';
import { Plan } from './plan.ts';
import type { Program } from './program.ts';

/** What is checked: the rules, and that nothing is stuck or forgotten. */
export const PROPERTIES = [
  'R1',
  'R2',
  'R3',
  'R4',
  'R5',
  'R6',
  'R7',
  'R8',
  'deadlock',
  'leak',
  'progress',
] as const;
export type Property = (typeof PROPERTIES)[number];

/** A property that a step broke, and how. */
export interface Violation {
  readonly property: Property;
  readonly text: string;
}

/** What a step did to its thread: go on, do the step again, the operation is over; or the step to go to. */
export const NEXT = -1;
export const STAY = -2;
export const END = -3;

export type Role = 'lock' | 'unlock' | 'other';

/** One step: what cannot be interrupted. */
export interface Step {
  /** What it is about to do, for people. */
  label(state: State, thread: number): string;
  /** Bits of what it reads or writes. Two steps that share none can be done in either order. */
  readonly touches: number;
  /** Whether it can be done now; if not, the thread waits. */
  ready?(state: State, thread: number): boolean;
  /**
   * 'lock': it only takes a lock. 'unlock': it only lets locks go, and looks at nothing before it does. A function for a step that is now one
   * thing and now another.
   */
  readonly role?: Role | ((state: State, thread: number) => { readonly last: Role; readonly next: Role });
  /** It works off the thread's list of effects, and is left out when that is empty. */
  readonly worksOffEffects?: boolean;
  run(state: State, thread: number): number;
}

/** Bits of `touches` that there are; more things share them, which is only less precise. */
const BITS = 31;

/** The fixed part of a simulated host. */
export class Machine {
  readonly plan: Plan;
  readonly design: Design;
  readonly layout: Layout;
  readonly kernel: KernelStates;
  /** What broke in the last step; collected in words only while `explaining`. */
  readonly violations: Violation[] = [];
  /** The same as bits, by position in PROPERTIES. */
  broken = 0;
  explaining = false;
  /** How the last operation that ended did: 'ok', an errno, a signal, or what was read. */
  outcome = 'ok';
  readonly #bits: Map<string, number> = new Map();

  constructor(program: Program, design: Design) {
    this.plan = new Plan(program);
    this.design = design;
    this.layout = new Layout(this.plan);
    this.kernel = new KernelStates(this.plan, design);
  }

  /** Before a step: nothing is broken yet. */
  forget(): void {
    this.broken = 0;
    if (this.explaining) this.violations.length = 0;
  }

  /** A step broke a property. The text is made only when somebody reads it. */
  report(property: Property, text: () => string): void {
    this.broken |= 1 << PROPERTIES.indexOf(property);
    if (this.explaining) this.violations.push({ property, text: text() });
  }

  facts(state: State): KernelFacts {
    return this.kernel.facts(kernelOf(state));
  }

  /** Calls the core. Returns '0' or an errno; what the hardware must do now is the thread's list of effects. */
  call(state: State, thread: number, call: number): string {
    const { to, effects, result } = this.kernel.transition(kernelOf(state), call);
    setKernel(state, to);
    const at = this.layout.thread(thread);
    state[at + EFFECTS] = effects;
    state[at + EFFECT] = 0;
    state[at + EFFECT_STEP] = 0;
    return result;
  }

  effects(list: number): readonly Effect[] {
    return this.kernel.effects(list);
  }

  callNumber(call: KernelCall): number {
    return this.kernel.callNumber(call);
  }

  /** The bit of one thing, for `touches`. */
  bit(what: string): number {
    let bit = this.#bits.get(what);
    if (bit === undefined) {
      bit = this.#bits.size % BITS;
      this.#bits.set(what, bit);
    }
    return 1 << bit;
  }

  deviceName(device: number): string {
    return this.plan.devices[device]!.name;
  }

  /** 'BAR2 of gpu', for people. */
  regionName(device: number, index: number): string {
    const { name, kind } = this.plan.devices[device]!;
    return kind === 'pci' && index < 6 ? `BAR${index} of ${name}` : `region ${index} of ${name}`;
  }
}
