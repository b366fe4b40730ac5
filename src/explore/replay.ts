/*
 * Takes moves that may not be possible: those of a file, or of another design. A move is a thread's number and a choice, so what it
 * does depends on the design; where a design has fewer steps, a thread is done before its moves are.
 */
import { VfioError } from '../core/index.ts';
import type { Design } from '../sim/design.ts';
import { type Move, SimulatedHost } from '../sim/host.ts';
import type { State } from '../sim/layout.ts';
import type { Program } from '../sim/program.ts';
import { type Trace, trace } from './trace.ts';

/** How far moves went. */
export interface PossibleReplay {
  /** What the moves did, up to the first that is not possible. */
  readonly trace: Trace;
  /** Why the next move is not possible; null if all were. */
  readonly refusal: string | null;
}

/** Takes all moves. EINVAL names the first that is not possible, and why. */
export function replay(program: Program, design: Design, moves: readonly Move[]): Trace {
  const { trace, refusal } = replayPossible(program, design, moves);
  if (refusal !== null) throw new VfioError('EINVAL', `${refusal}; make the trace again with \`search\``);
  return trace;
}

/**
 * Takes moves up to the first that is not possible. Ending there is the only honest thing: to leave out a move and go on would be
 * an interleaving that nobody asked for.
 */
export function replayPossible(program: Program, design: Design, moves: readonly Move[]): PossibleReplay {
  const host = new SimulatedHost(program, design);
  const state = host.initial();
  const possible: Move[] = [];
  for (const [i, move] of moves.entries()) {
    const count = host.moves(state, possible);
    if (!possible.slice(0, count).includes(move)) {
      const refusal = `move ${i + 1} of ${moves.length} (${move}) is not possible under ${design.name}: ${reason(host, state, move)}`;
      return { trace: trace(program, design, moves.slice(0, i)), refusal };
    }
    host.take(state, move);
  }
  return { trace: trace(program, design, moves), refusal: null };
}

function reason(host: SimulatedHost, state: State, move: Move): string {
  const { threads } = host.machine.plan;
  const thread = host.threadOf(move);
  if (!Number.isInteger(move) || threads[thread] === undefined)
    return `a move is a whole number that stands for one of ${threads.length} threads`;
  const { name } = threads[thread];
  if (host.done(state, thread)) return `${name} has done all that it had to do; this design has no such step`;
  if (thread > 0 && !host.done(state, 0)) return `${name} cannot begin before the setup is done`;
  const own: Move[] = [];
  if (host.movesOf(state, thread, own, 0) > 0)
    return `${name} has no such choice here; this design has no such step`;
  if (host.busy(state, thread)) return `${name} waits: it ${host.describe(state, move).step}`;
  return `${name} can begin nothing now, and has to wait`;
}
