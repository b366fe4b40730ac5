/*
 * Handlers that go on after their command was answered: writes that were posted because they take time, and reads that
 * took too long. Their number has a limit, and the session's end, its resets and the next client wait for them.
 *
 * What stays of the order of writes: two that touch the same bytes of a region are handled one after the other, so
 * that a doorbell is never entered twice. Writes to other registers may overtake one that is here, as on hardware that
 * is at work.
 */
import { ERRNO } from '../abi/index.ts';
import { VfioError } from '../core/index.ts';
import { MAX_BACKGROUND_HANDLERS } from './limits.ts';

/** Which bytes a write is about. */
export interface WriteRange {
  readonly regionIndex: number;
  readonly offset: number;
  readonly count: number;
}

/** Told what became of a posted write that failed. */
export interface BackgroundListener {
  dropped(range: WriteRange, errno: number): void;
  threw(range: WriteRange, error: unknown): void;
  /** The first came, or the last is gone. */
  changed(): void;
}

interface Entry {
  readonly range: WriteRange | null;
  readonly done: Promise<void>;
}

/** The handlers of one session that nobody waits for any more. */
export class Background {
  /** How many there are. */
  size = 0;

  readonly #listener: BackgroundListener;
  readonly #entries: Set<Entry> = new Set();
  #waiters: (() => void)[] = [];

  constructor(listener: BackgroundListener) {
    this.#listener = listener;
  }

  /** Whether no further write is taken. */
  get full(): boolean {
    return this.size >= MAX_BACKGROUND_HANDLERS;
  }

  /** Takes over a write that was answered as done; what its handler still says goes to the listener. */
  addWrite(range: WriteRange, result: Promise<number>): void {
    const done = result.then(
      (errno) => {
        if (errno !== 0 && this.#entries.has(entry)) this.#listener.dropped(range, errno);
      },
      (error: unknown) => {
        if (!this.#entries.has(entry)) return;
        if (error instanceof VfioError) this.#listener.dropped(range, error.errno);
        else this.#listener.threw(range, error);
      },
    );
    const entry: Entry = { range, done };
    this.#add(entry);
  }

  /** Takes over any other handler. `done` never rejects. */
  add(done: Promise<void>): void {
    this.#add({ range: null, done });
  }

  /** Resolves when every write to any of these bytes is done; null: there is none. */
  overlapping(regionIndex: number, offset: number, count: number): Promise<unknown> | null {
    const found: Promise<void>[] = [];
    for (const { range, done } of [...this.#entries].reverse()) {
      if (range === null || range.regionIndex !== regionIndex) continue;
      if (range.offset >= offset + count || offset >= range.offset + range.count) continue;
      found.push(done);
      // Earlier ones that overlap are waited for by this one.
      if (range.offset <= offset && offset + count <= range.offset + range.count) break;
    }
    return found.length === 0 ? null : Promise.all(found);
  }

  /** Resolves when there are none; null: that is so now. */
  idle(): Promise<void> | null {
    if (this.size === 0) return null;
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /**
   * They are of a device that was replaced: nobody waits for them any more, nor hears what they say. Returns what tells the
   * listener of each write that it was dropped.
   */
  forget(): (() => void)[] {
    if (this.size === 0) return [];
    const writes = [...this.#entries].flatMap(({ range }) => range ?? []);
    this.#entries.clear();
    this.#emptied();
    return writes.map((range) => () => this.#listener.dropped(range, ERRNO.EIO));
  }

  #add(entry: Entry): void {
    this.#entries.add(entry);
    this.size += 1;
    if (this.size === 1) this.#listener.changed();
    void entry.done.then(() => {
      if (!this.#entries.delete(entry)) return;
      this.size -= 1;
      if (this.size === 0) this.#emptied();
    });
  }

  #emptied(): void {
    this.size = 0;
    this.#listener.changed();
    for (const resolve of this.#waiters.splice(0)) resolve();
  }
}
