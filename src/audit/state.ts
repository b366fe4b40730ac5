/*
 * One path through a handler: what the variables hold, what was decided on the way, what was written to `vm_pgoff` and
 * what was mapped. A state that branches is copied.
 */
import type { Ast } from './parser.ts';
import type { Place } from './tokens.ts';
import type { FunctionUnit } from './units.ts';
import { PGOFF, type Value } from './value.ts';

/** A condition that this path took. `value` is truthy or not. */
export interface Fact {
  readonly value: Value;
  readonly truth: boolean;
}

/** A statement that stored something in `vm_pgoff`. */
export interface Write {
  readonly unit: FunctionUnit;
  readonly expression: Ast;
  readonly place: Place;
  readonly value: Value;
}

/** A call that put pages into a page table. */
export interface Mapping {
  readonly name: string;
  /** What the pages' numbers were computed from. */
  readonly pages: Value;
  /** The call's value, to know where it failed. */
  readonly result: Value;
  readonly place: Place;
  /** Whether another handler made it, that this one calls. */
  readonly isDelegated: boolean;
}

/** A call through a pointer that hands the VMA to another handler. */
export interface Delegation {
  readonly name: string;
  readonly place: Place;
}

export class State {
  readonly variables: Map<string, Value>;
  readonly memory: Map<string, Value>;
  readonly facts: Map<string, Fact>;
  pgoff: Value = PGOFF;
  write: Write | null = null;
  mappings: readonly Mapping[] = [];
  delegations: readonly Delegation[] = [];

  constructor(from?: State) {
    this.variables = new Map(from?.variables);
    this.memory = new Map(from?.memory);
    this.facts = new Map(from?.facts);
    if (from === undefined) return;
    this.pgoff = from.pgoff;
    this.write = from.write;
    this.mappings = from.mappings;
    this.delegations = from.delegations;
  }

  fork(): State {
    return new State(this);
  }

  /** Equal for states that go on in the same way. */
  signature(): string {
    const parts = [this.outcome()];
    for (const [key, value] of this.variables) parts.push(key, value.key);
    for (const [key, value] of this.memory) parts.push(key, value.key);
    for (const [key, { truth }] of this.facts) parts.push(key, String(truth));
    return parts.join('|');
  }

  /** What the verdicts read, without how it came about. */
  outcome(): string {
    const mapped = this.mappings.map(({ name, pages }) => name + pages.key).join();
    const ops = this.memory.get('field:vm_ops(vma:)')?.key ?? '';
    return `${this.pgoff.key}|${mapped}|${ops}|${this.delegations.map(({ name }) => name).join()}`;
  }
}

const MOST_STATES = 96;

/** Drops equal states; beyond a limit, states with the same outcome become one that knows only what all of them knew. */
export function mergeStates(states: readonly State[]): State[] {
  if (states.length < 2) return [...states];
  const distinct = new Map<string, State>();
  for (const state of states) distinct.set(state.signature(), state);
  if (distinct.size <= MOST_STATES) return [...distinct.values()];
  const merged = new Map<string, State>();
  for (const state of distinct.values()) {
    const outcome = state.outcome();
    const before = merged.get(outcome);
    if (before === undefined) {
      merged.set(outcome, state.fork());
      continue;
    }
    for (const [key, fact] of before.facts) {
      if (state.facts.get(key)?.truth !== fact.truth) before.facts.delete(key);
    }
    for (const [key, value] of before.variables) {
      if (state.variables.get(key)?.key !== value.key) before.variables.delete(key);
    }
  }
  return [...merged.values()].slice(0, MOST_STATES);
}
