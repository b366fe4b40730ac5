/*
 * What a process can have only so much of (open files, mappings) and what peers make it hold: shared out such that no
 * peer can take it all.
 *
 * A peer may hold as much as it leaves to the others: alone half of the budget, the next one half of the rest, and so on.
 * So whoever comes always gets something, nobody has to know how many peers there will be, and the sum never reaches
 * the budget.
 */
import type { SysLayer } from '../sys/sys-layer.ts';

/** Which part of the process's open files peers may hold; the other half is for sockets, regions and Node itself. */
const PEER_FDS_PART = 0.5;

/** Something that peers share. */
export interface Budget {
  readonly limit: number;
  /** Changes what all peers hold by `change`; returns it. */
  add(change: number): number;
}

/** A budget of this thread. */
export class LocalBudget implements Budget {
  readonly limit: number;
  #used = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  add(change: number): number {
    this.#used += change;
    return this.#used;
  }
}

/** The open files of the process: one count for all its threads. */
export function fdBudget(sys: SysLayer): Budget {
  return {
    limit: Math.floor(sys.maxOpenFiles() * PEER_FDS_PART),
    add: (change) => sys.countPeerFds(change),
  };
}

/** One peer's part of a budget. It outlives the peer if what it counts does. */
export class Share {
  readonly #budget: Budget;
  #held = 0;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  get held(): number {
    return this.#held;
  }

  /** One more, or false: then the peer holds as much as is left for all others. */
  take(): boolean {
    if (this.#held >= this.#budget.limit - this.#budget.add(0)) return false;
    this.#held += 1;
    this.#budget.add(1);
    return true;
  }

  /** One less. */
  give(): void {
    this.#held -= 1;
    this.#budget.add(-1);
  }
}

/** What a session's files may use up. */
export interface FileShares {
  readonly fds: Share;
  readonly windows: Share;
}
