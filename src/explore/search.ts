/*
 * Exhaustive search, breadth first: every state that any interleaving leads to, once. So the first trace that breaks a property is
 * also a shortest one.
 *
 * Reduction: where the next step of a thread, in the middle of its operation, shares nothing with anything that the other threads may
 * still do, only that step is tried; doing it earlier or later makes no difference to anybody. That keeps every broken property but
 * not the shortest trace to it, so what is found that way is looked for once more without, no deeper than it was found.
 *
 * A step that is taken alone might put the others off for ever if it is part of a circle. The only operation that can go in one is a
 * load or store whose fault leads to nothing, and the circle is all of it: if it shares nothing with the others, they find what they
 * find before it begins.
 */
import type { Design } from '../sim/design.ts';
import { type Move, propertiesIn, SimulatedHost } from '../sim/host.ts';
import type { State } from '../sim/layout.ts';
import { PROPERTIES, type Property } from '../sim/machine.ts';
import type { Program } from '../sim/program.ts';
import { Frontier } from './frontier.ts';
import { StateSet } from './state-set.ts';

/** How far to go. */
export interface SearchOptions {
  /** Steps from the beginning; all if not given. */
  readonly depth?: number;
  /** States to visit at most; then the result is not complete. */
  readonly stateLimit?: number;
  /** Whether to leave out interleavings that make no difference; true unless said otherwise. */
  readonly reduce?: boolean;
  /** Stop as soon as anything is broken; its trace may then not be the shortest. */
  readonly stopAtFirst?: boolean;
  /** Called now and then. Return true to stop early. */
  readonly onProgress?: (progress: SearchProgress) => boolean | undefined;
}

export interface SearchProgress {
  readonly states: number;
  readonly transitions: number;
  /** States that are found and not expanded. */
  readonly frontier: number;
  readonly depth: number;
  readonly sizeBytes: number;
}

/** A property that some interleaving breaks, and the moves of a shortest one. */
export interface Finding {
  readonly property: Property;
  readonly moves: readonly Move[];
  /** After all moves nothing can move. */
  readonly stuck: boolean;
}

export interface SearchResult {
  readonly program: string;
  readonly design: string;
  /** Distinct states. */
  readonly states: number;
  readonly transitions: number;
  /** Distinct states of the core's objects among them. */
  readonly coreStates: number;
  /** Steps of the longest shortest path. */
  readonly depth: number;
  /** Every interleaving was tried. */
  readonly complete: boolean;
  readonly findings: readonly Finding[];
}

/** Calls of `onProgress` are so many expanded states apart. */
const PROGRESS_EVERY = 16_384;

/** Tries every interleaving of a program under a design. */
export function search(program: Program, design: Design, options: SearchOptions = {}): SearchResult {
  const first = new Search(program, design, options).run();
  if (options.reduce === false || options.stopAtFirst || first.findings.length === 0) return first;
  const depth = Math.max(...first.findings.map(({ moves }) => moves.length));
  const wanted = first.findings.map(({ property }) => property);
  const again = new Search(program, design, { ...options, reduce: false, depth, wanted }).run();
  const findings = first.findings.map(
    (found) => again.findings.find(({ property }) => property === found.property) ?? found,
  );
  return { ...first, findings };
}

class Search {
  readonly #host: SimulatedHost;
  readonly #options: SearchOptions & { readonly wanted?: readonly Property[] };
  readonly #seen: StateSet = new StateSet();
  readonly #frontier: Frontier;
  readonly #findings: Map<Property, Finding> = new Map();
  readonly #reduce: boolean;
  #known = 0;
  #transitions = 0;

  constructor(
    program: Program,
    design: Design,
    options: SearchOptions & { readonly wanted?: readonly Property[] },
  ) {
    this.#host = new SimulatedHost(program, design);
    this.#options = options;
    this.#reduce = options.reduce ?? true;
    this.#frontier = new Frontier(this.#host.machine.layout.size);
  }

  run(): SearchResult {
    const host = this.#host;
    const {
      depth: depthLimit = Infinity,
      stateLimit = Infinity,
      stopAtFirst,
      onProgress,
      wanted,
    } = this.#options;
    const state: State = host.initial();
    const next: State = host.initial();
    const moves: Move[] = [];
    const words = new Uint32Array(next.buffer);
    this.#frontier.push(state, this.#seen.add(words, -1, 0));
    let depth = 0;
    let levelEnd = 1;
    let expanded = 0;
    let complete = true;
    while (this.#frontier.length > 0) {
      if (expanded === levelEnd) {
        depth++;
        levelEnd = this.#seen.size;
      }
      if (depth >= depthLimit || this.#seen.size >= stateLimit) {
        complete = false;
        break;
      }
      if (wanted?.every((property) => this.#findings.has(property))) break;
      if (stopAtFirst && this.#findings.size > 0) {
        complete = false;
        break;
      }
      const number = this.#frontier.shift(state);
      expanded++;
      const count = this.#movesOf(state, moves);
      if (count === 0 && host.stuck(state) !== 0) this.#note(number, null);
      for (let i = 0; i < count; i++) {
        next.set(state);
        host.take(next, moves[i]!);
        this.#transitions++;
        if ((host.machine.broken & ~this.#known) !== 0) this.#note(number, moves[i]!);
        const added = this.#seen.add(words, number, moves[i]!);
        if (added >= 0) this.#frontier.push(next, added);
      }
      if (expanded % PROGRESS_EVERY === 0 && onProgress?.(this.#progress(depth))) {
        complete = false;
        break;
      }
    }
    const { plan, design, kernel } = host.machine;
    return {
      program: plan.program.name,
      design: design.name,
      states: this.#seen.size,
      transitions: this.#transitions,
      coreStates: kernel.size,
      depth,
      complete,
      findings: PROPERTIES.flatMap((property) => this.#findings.get(property) ?? []),
    };
  }

  /** The moves to try from a state. */
  #movesOf(state: State, moves: Move[]): number {
    const host = this.#host;
    if (!this.#reduce || !host.done(state, 0)) return host.moves(state, moves);
    for (let thread = 1; thread < host.threadCount; thread++) {
      if (host.busy(state, thread) && host.urgent(state, thread))
        return host.movesOf(state, thread, moves, 0);
    }
    for (let thread = 1; thread < host.threadCount; thread++) {
      if (!host.busy(state, thread)) continue;
      const touches = host.nextTouches(state, thread);
      let others = 0;
      for (let other = 1; other < host.threadCount; other++)
        if (other !== thread) others |= host.remainingTouches(state, other);
      if ((touches & others) !== 0) continue;
      const count = host.movesOf(state, thread, moves, 0);
      if (count > 0) return count;
    }
    return host.moves(state, moves);
  }

  #note(state: number, move: Move | null): void {
    const { broken } = this.#host.machine;
    const path = this.#seen.path(state);
    const moves = move === null ? path : [...path, move];
    for (const property of propertiesIn(broken)) {
      if (!this.#findings.has(property))
        this.#findings.set(property, { property, moves, stuck: move === null });
    }
    this.#known |= broken;
  }

  #progress(depth: number): SearchProgress {
    return {
      states: this.#seen.size,
      transitions: this.#transitions,
      frontier: this.#frontier.length,
      depth,
      sizeBytes: this.#seen.sizeBytes + this.#frontier.sizeBytes,
    };
  }
}
