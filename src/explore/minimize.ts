/*
 * Makes the moves of a random walk short: leaves out whole operations, then parts of ever smaller size, as long as the property still
 * breaks. The result is short, not proven to be the shortest.
 */
import type { Design } from '../sim/design.ts';
import { type Move, SimulatedHost } from '../sim/host.ts';
import { PROPERTIES, type Property } from '../sim/machine.ts';
import type { Program } from '../sim/program.ts';

/** What is to be made short. */
interface Breaking {
  readonly property: Property;
  readonly moves: readonly Move[];
  readonly stuck: boolean;
}

/** Moves that break the property, and which operation each is a part of. */
interface Run {
  readonly moves: readonly Move[];
  readonly operations: readonly number[];
}

/** Returns moves that break the same property. */
export function minimize(program: Program, design: Design, { property, moves, stuck }: Breaking): Move[] {
  const host = new SimulatedHost(program, design);
  const bit = 1 << PROPERTIES.indexOf(property);
  const tried = (candidate: readonly Move[]): Run | null => replayed(host, candidate, bit, stuck);
  const first = tried(moves);
  if (first === null) return [...moves];
  let best = first;
  for (let shorter: Run | null = best; shorter !== null; shorter = withoutPart(best, tried)) {
    best = shorter;
    best = withoutOperations(best, tried);
  }
  return [...best.moves];
}

type Try = (moves: readonly Move[]) => Run | null;

/** Leaves out one operation after the other, the latest first, until none can be. */
function withoutOperations(run: Run, tried: Try): Run {
  let best = run;
  for (let operation = Math.max(...run.operations); operation >= 0; operation--) {
    const rest = best.moves.filter((_, i) => best.operations[i] !== operation);
    if (rest.length === best.moves.length) continue;
    const shorter = tried(rest);
    if (shorter === null || shorter.moves.length >= best.moves.length) continue;
    best = shorter;
    // What is left is numbered anew.
    operation = Math.min(operation, Math.max(...best.operations) + 1);
  }
  return best;
}

/** Leaves out a part of the moves that is as large as possible; null if none can be. */
function withoutPart(run: Run, tried: Try): Run | null {
  const { moves } = run;
  for (let size = Math.ceil(moves.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let start = 0; start < moves.length; start += size) {
      const shorter = tried([...moves.slice(0, start), ...moves.slice(start + size)]);
      if (shorter !== null && shorter.moves.length < moves.length) return shorter;
    }
  }
  return null;
}

/** The moves that could be taken, up to the one that broke the property; null if it did not break. */
function replayed(host: SimulatedHost, moves: readonly Move[], bit: number, stuck: boolean): Run | null {
  const state = host.initial();
  const possible: Move[] = [];
  const run = { moves: [] as Move[], operations: [] as number[] };
  const current: number[] = [];
  let operations = 0;
  for (const move of moves) {
    const count = host.moves(state, possible);
    const at = possible.indexOf(move);
    if (at < 0 || at >= count) continue;
    const thread = host.threadOf(move);
    if (!host.busy(state, thread)) current[thread] = operations++;
    host.take(state, move);
    run.moves.push(move);
    run.operations.push(current[thread]!);
    if (!stuck && (host.machine.broken & bit) !== 0) return run;
  }
  if (!stuck || host.moves(state, possible) > 0) return null;
  return (host.stuck(state) & bit) !== 0 ? run : null;
}
