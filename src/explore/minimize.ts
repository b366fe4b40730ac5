/*
 * Makes the moves of a random walk short: leaves out one part after the other, in ever smaller pieces, as long as the property still
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

/** Returns moves that break the same property. */
export function minimize(program: Program, design: Design, { property, moves, stuck }: Breaking): Move[] {
  const host = new SimulatedHost(program, design);
  const bit = 1 << PROPERTIES.indexOf(property);
  let best = replayed(host, moves, bit, stuck) ?? [...moves];
  for (let size = Math.ceil(best.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let start = 0; start < best.length; ) {
      const shorter = replayed(host, [...best.slice(0, start), ...best.slice(start + size)], bit, stuck);
      if (shorter !== null && shorter.length < best.length) best = shorter;
      else start += size;
    }
  }
  return best;
}

/** The moves that could be taken, up to the one that broke the property; null if it did not break. */
function replayed(host: SimulatedHost, moves: readonly Move[], bit: number, stuck: boolean): Move[] | null {
  const state = host.initial();
  const possible: Move[] = [];
  const taken: Move[] = [];
  for (const move of moves) {
    const count = host.moves(state, possible);
    if (possible.indexOf(move) < 0 || possible.indexOf(move) >= count) continue;
    host.take(state, move);
    taken.push(move);
    if (!stuck && (host.machine.broken & bit) !== 0) return taken;
  }
  if (!stuck || host.moves(state, possible) > 0) return null;
  return (host.stuck(state) & bit) !== 0 ? taken : null;
}
