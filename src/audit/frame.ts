/*
 * A function that is being run, and what is seen while it runs.
 */
import type { State } from './state.ts';
import type { Place } from './tokens.ts';
import type { FunctionUnit } from './units.ts';
import type { Value } from './value.ts';

/** A function that is being run, and who called it. */
export interface Frame {
  readonly unit: FunctionUnit;
  readonly id: number;
  readonly caller: Frame | null;
  readonly types: Map<string, string>;
}

export interface Result {
  readonly state: State;
  readonly value: Value;
}

/** Arithmetic on `vm_pgoff` that was seen, on any path. */
export interface Observation {
  readonly operator: string;
  readonly left: Value;
  readonly right: Value;
  readonly frame: Frame;
  readonly place: Place;
  readonly macro: string;
  /** Where that macro is defined. */
  readonly macroFile: string;
}

/** A call that empties page tables. */
export interface Zap {
  readonly name: string;
  readonly args: readonly Value[];
  readonly frame: Frame;
  readonly place: Place;
}

/** The name of a frame's variable in a state. */
export const localName = (name: string, frame: Frame): string => `local ${frame.id} ${name}`;
