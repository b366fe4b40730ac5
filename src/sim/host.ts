/*
 * The simulated host: a program under a design, and a scheduler that owns every step. Nothing happens unless somebody takes a move;
 * there is no clock and no chance in it, so the same moves always lead to the same state.
 */
import { VfioError } from '../core/index.ts';
import type { Design } from './design.ts';
import {
  ACTION,
  CLEARED,
  CONTENT,
  DONE,
  EFFECT,
  EFFECT_STEP,
  EFFECTS,
  FRAME,
  IN_FLIGHT,
  LIVE,
  OPERATION,
  STEP,
  type State,
  UNMAPPED,
} from './layout.ts';
import { END, Machine, NEXT, PROPERTIES, type Property, STAY, type Step, type Violation } from './machine.ts';
import { type CompiledOperation, compileOperation } from './operations.ts';
import type { Operation, Program } from './program.ts';
import { quiescent } from './quiescence.ts';

/** A thread may choose among so many operations. */
const CHOICES = 64;

/** A thread's number times CHOICES, plus which operation it begins if it may choose. */
export type Move = number;

interface CompiledAction {
  readonly choices: readonly number[];
  readonly times: number;
  readonly optional: boolean;
  /** Bits of all of its choices. */
  readonly touches: number;
}

/** What a move is about to do, for people. */
export interface MoveDescription {
  readonly thread: string;
  /** The operation that the step is part of. */
  readonly operation: Operation;
  readonly step: string;
}

/** A program under a design. The state is the caller's; this object only knows what moves do. */
export class SimulatedHost {
  readonly machine: Machine;
  readonly #operations: CompiledOperation[] = [];
  readonly #numbers: Map<string, number> = new Map();
  readonly #actions: readonly CompiledAction[][];
  /** By thread and action: bits of that action and all that follow. */
  readonly #later: (readonly number[])[];

  /** EINVAL: the program names something that it does not have. */
  constructor(program: Program, design: Design) {
    this.machine = new Machine(program, design);
    this.#actions = this.machine.plan.threads.map(({ actions }) =>
      actions.map((action) => {
        const optional = 'any' in action;
        const offered = optional ? action.any : [action];
        if (offered.length > CHOICES)
          throw new VfioError(
            'ENOSPC',
            `a thread chooses among ${CHOICES} operations at most, not ${offered.length}`,
          );
        const choices = offered.map((each) => this.#compile(each));
        const touches = choices.reduce((bits, each) => bits | this.#operations[each]!.touches, 0);
        return { choices, touches, times: optional ? action.times : 1, optional };
      }),
    );
    this.#later = this.#actions.map((actions) => {
      const later = [0];
      for (const action of [...actions].reverse()) later.unshift(later[0]! | action.touches);
      return later;
    });
  }

  /** The setup goes on with this, too. EINVAL: it names something that the program does not have, and is left out. */
  append(operation: Operation): void {
    const number = this.#compile(operation);
    const { touches } = this.#operations[number]!;
    this.#actions[0]!.push({ choices: [number], times: 1, optional: false, touches });
    this.#later[0] = [...this.#later[0]!.map((bits) => bits | touches), 0];
  }

  /** The state before anything has happened: nothing is open, all memory is cleared. */
  initial(): State {
    const { plan, layout } = this.machine;
    const state = new Uint16Array(layout.size);
    for (const [i, device] of plan.devices.entries()) {
      for (const [region, { dma }] of device.regions.entries())
        state[layout.consent(i, region)] = dma === 'allow' ? 1 : 0;
      for (let page = 0; page < device.pageCount; page++) state[layout.page(i, page) + CONTENT] = CLEARED;
      if (device.isMemory) state[layout.device(i) + LIVE] = 1;
    }
    for (const [vma, { pages }] of plan.vmas.entries())
      for (let page = 0; page < pages; page++) state[layout.vmaPage(vma, page)] = UNMAPPED;
    return state;
  }

  /** The moves that are possible, into `out` from its start; returns how many. */
  moves(state: State, out: Move[]): number {
    let count = 0;
    const threads = this.#actions.length;
    // Nobody starts before the setup is done.
    const end = this.done(state, 0) ? threads : 1;
    for (let thread = 0; thread < end; thread++) count = this.movesOf(state, thread, out, count);
    return count;
  }

  /** As `moves` for one thread, appended at `count`. */
  movesOf(state: State, thread: number, out: Move[], count: number): number {
    const at = this.machine.layout.thread(thread);
    const operation = state[at + OPERATION]!;
    if (operation !== 0) {
      const step = this.#operations[operation - 1]!.steps[state[at + STEP]!]!;
      if (step.ready?.(state, thread) ?? true) out[count++] = thread * CHOICES;
      return count;
    }
    const action = this.#actions[thread]![state[at + ACTION]!];
    if (action === undefined) return count;
    for (let choice = 0; choice < action.choices.length; choice++) {
      const compiled = this.#operations[action.choices[choice]!]!;
      const possible = compiled.possible(state);
      if (!possible && action.optional) continue;
      if (possible && !(compiled.steps[0]!.ready?.(state, thread) ?? true)) continue;
      out[count++] = thread * CHOICES + choice;
    }
    return count;
  }

  /** The thread that makes a move. */
  threadOf(move: Move): number {
    return Math.floor(move / CHOICES);
  }

  /** The kind of operation that a move chooses to begin; null if it goes on with one, or has no choice. */
  begins(state: State, move: Move): Operation['op'] | null {
    const thread = this.threadOf(move);
    if (this.busy(state, thread)) return null;
    const action = this.#actions[thread]![state[this.machine.layout.thread(thread) + ACTION]!]!;
    return action.optional ? this.#operations[action.choices[move % CHOICES]!]!.operation.op : null;
  }

  /** Which action of its list a thread is in or comes to next. */
  actionOf(state: State, thread: number): number {
    return state[this.machine.layout.thread(thread) + ACTION]!;
  }

  /** Whether a thread has done all that it had to do. */
  done(state: State, thread: number): boolean {
    return state[this.machine.layout.thread(thread) + ACTION]! >= this.#actions[thread]!.length;
  }

  /** Whether a thread is in the middle of an operation. */
  busy(state: State, thread: number): boolean {
    return state[this.machine.layout.thread(thread) + OPERATION] !== 0;
  }

  /** Takes a move: changes `state`, and leaves in `machine.broken` what that broke. */
  take(state: State, move: Move): void {
    const { machine } = this;
    machine.forget();
    const thread = this.threadOf(move);
    const at = machine.layout.thread(thread);
    if (state[at + OPERATION] === 0) {
      const action = this.#actions[thread]![state[at + ACTION]!]!;
      const number = action.choices[move % CHOICES]!;
      if (!this.#operations[number]!.possible(state)) {
        machine.outcome = 'refused';
        state[at + ACTION]!++;
        return;
      }
      state[at + OPERATION] = number + 1;
      state[at + STEP] = 0;
    }
    const { steps } = this.#operations[state[at + OPERATION]! - 1]!;
    const next = steps[state[at + STEP]!]!.run(state, thread);
    if (next === STAY) return;
    if (next !== END) state[at + STEP] = next === NEXT ? state[at + STEP]! + 1 : next;
    this.#skipEmpty(state, thread);
    if (next === END || state[at + STEP]! >= steps.length) this.#end(state, thread);
  }

  /** What a move is about to do. */
  describe(state: State, move: Move): MoveDescription {
    const { layout, plan } = this.machine;
    const thread = this.threadOf(move);
    const at = layout.thread(thread);
    const running = state[at + OPERATION]!;
    const number =
      running > 0 ? running - 1 : this.#actions[thread]![state[at + ACTION]!]!.choices[move % CHOICES]!;
    const { operation, steps, possible } = this.#operations[number]!;
    const { name } = plan.threads[thread]!;
    if (running === 0 && !possible(state))
      return { thread: name, operation, step: 'cannot do that, and goes on' };
    return {
      thread: name,
      operation,
      step: steps[running > 0 ? state[at + STEP]! : 0]!.label(state, thread),
    };
  }

  /** Nothing can move: says what that breaks, in words while `machine.explaining`. */
  stuck(state: State): number {
    const { machine } = this;
    machine.forget();
    for (let thread = 0; thread < this.#actions.length; thread++) {
      if (!this.busy(state, thread)) continue;
      const at = machine.layout.thread(thread);
      const { operation, steps } = this.#operations[state[at + OPERATION]! - 1]!;
      const { name } = machine.plan.threads[thread]!;
      const waits = (): string =>
        `${name} waits for ever: it ${steps[state[at + STEP]!]!.label(state, thread)}`;
      machine.report('deadlock', waits);
      if (['read', 'write', 'dmaRead', 'dmaWrite'].includes(operation.op)) machine.report('progress', waits);
    }
    return machine.broken;
  }

  /** What the last move broke. */
  get violations(): readonly Violation[] {
    return this.machine.violations;
  }

  /**
   * Whether nothing is lost if a thread, in the middle of its operation, does its next step before anybody else does anything.
   * Letting a lock go may as well happen at once, since nobody else could do what needs the lock. And the step after taking a
   * lock may as well follow at once, since whatever others do in between could have been done before the lock was taken; unless
   * it takes another lock, because then somebody else may take that one first. What is judged of locks (`mustTranslate`, a fault
   * that leads to nothing) is judged only while nobody has them, so to take one later hides nothing; and what is judged at the end
   * of an operation, when nobody is in one, is judged again at the end of whoever is last.
   */
  urgent(state: State, thread: number): boolean {
    const at = this.machine.layout.thread(thread);
    const { steps } = this.#operations[state[at + OPERATION]! - 1]!;
    const number = state[at + STEP]!;
    const step = steps[number]!;
    const { role } = step;
    if (typeof role === 'function') {
      const { last, next } = role(state, thread);
      return (
        next === 'unlock' || (last === 'lock' && next !== 'lock' && (step.ready?.(state, thread) ?? true))
      );
    }
    if (role === 'unlock') return true;
    return role !== 'lock' && steps[number - 1]?.role === 'lock' && (step.ready?.(state, thread) ?? true);
  }

  /** Bits of what a thread's next move touches; a thread between operations may begin any of its choices. */
  nextTouches(state: State, thread: number): number {
    const at = this.machine.layout.thread(thread);
    const operation = state[at + OPERATION]!;
    if (operation !== 0) return this.#operations[operation - 1]!.steps[state[at + STEP]!]!.touches;
    return this.#actions[thread]![state[at + ACTION]!]?.touches ?? 0;
  }

  /** Bits of all that a thread may still touch. */
  remainingTouches(state: State, thread: number): number {
    const at = this.machine.layout.thread(thread);
    const operation = state[at + OPERATION]!;
    const current = operation === 0 ? 0 : this.#operations[operation - 1]!.touches;
    return current | this.#later[thread]![Math.min(state[at + ACTION]!, this.#later[thread]!.length - 1)]!;
  }

  get threadCount(): number {
    return this.#actions.length;
  }

  /** A step that works off effects has nothing to do when the list is empty, and is no step then. */
  #skipEmpty(state: State, thread: number): void {
    const at = this.machine.layout.thread(thread);
    const { steps } = this.#operations[state[at + OPERATION]! - 1]!;
    const step: Step | undefined = steps[state[at + STEP]!];
    if (step?.worksOffEffects && state[at + EFFECTS] === 0) state[at + STEP]!++;
  }

  #end(state: State, thread: number): void {
    const at = this.machine.layout.thread(thread);
    const action = this.#actions[thread]![state[at + ACTION]!]!;
    for (const cell of [OPERATION, STEP, EFFECTS, EFFECT, EFFECT_STEP, FRAME, IN_FLIGHT])
      state[at + cell] = 0;
    state[at + DONE]!++;
    if (state[at + DONE]! >= action.times) {
      state[at + DONE] = 0;
      state[at + ACTION]!++;
    }
    quiescent(this.machine, state);
  }

  #compile(operation: Operation): number {
    const key = JSON.stringify(operation);
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const number = this.#operations.push(compileOperation(this.machine, operation)) - 1;
    this.#numbers.set(key, number);
    return number;
  }
}

/** The properties in a set of bits, as `Machine.broken` has them. */
export function propertiesIn(bits: number): Property[] {
  return PROPERTIES.filter((_, i) => (bits & (1 << i)) !== 0);
}
