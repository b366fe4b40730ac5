/*
 * Listeners of interrupts, by index and vector. Several may listen to one vector; the first wires it, the last unwires
 * it. What a wire is belongs to the backing: an eventfd with a watcher, or a callback in the same process.
 *
 * An index with VFIO_IRQ_INFO_NORESIZE cannot take more vectors once some are wired, so there all are wired at once.
 * Changes of one index happen one after the other, whatever order their callers await them in.
 */
import { VFIO_IRQ_INFO_NORESIZE } from '../abi/index.ts';
import { VfioError } from '../core/index.ts';
import type { InterruptListener, IrqInfo } from './device-handle.ts';
import { LISTENERS_PER_VECTOR_MAX } from './limits.ts';

/** What a backing does for the table. */
export interface InterruptPort<Wire> {
  info(index: number): Promise<IrqInfo>;
  /** Makes a wire that calls `signal` with the number of interrupts since the last call. */
  open(signal: InterruptListener): Wire;
  wire(index: number, start: number, wires: readonly (Wire | null)[]): Promise<void>;
  /** Unwires every vector of the index. */
  disable(index: number): Promise<void>;
  /** Ends a wire that is not wired any more, or never was. */
  close(wire: Wire): void;
}

interface Entry {
  readonly call: InterruptListener;
}

interface Vector<Wire> {
  readonly wire: Wire;
  readonly listeners: Set<Entry>;
  /** Signalled while nobody listened: right after wiring, when the device had something waiting. */
  missed: number;
}

interface Index<Wire> {
  readonly vectors: Map<number, Vector<Wire>>;
  /** The last change that was asked for. */
  last: Promise<unknown>;
}

export class Interrupts<Wire> {
  readonly #port: InterruptPort<Wire>;
  readonly #indexes: Map<number, Index<Wire>> = new Map();
  #closed = false;

  constructor(port: InterruptPort<Wire>) {
    this.#port = port;
  }

  /** Adds a listener; resolves to its unsubscribe, which may be called twice. */
  on(index: number, vector: number, listener: InterruptListener): Promise<() => Promise<void>> {
    return this.#inTurn(index, async (table) => {
      const wired = table.vectors.get(vector) ?? (await this.#wire(index, vector, table));
      if (wired.listeners.size >= LISTENERS_PER_VECTOR_MAX) {
        const message = `vector ${vector} of index ${index} has ${LISTENERS_PER_VECTOR_MAX} listeners; unsubscribe some`;
        throw new VfioError('ENOSPC', message);
      }
      const entry = { call: listener };
      wired.listeners.add(entry);
      tellMissed(wired, entry);
      return () => this.#inTurn(index, () => this.#off(index, vector, table, wired, entry));
    });
  }

  /** Ends every wire here, without a word to the device: for a device that is being left, or gone. */
  close(): void {
    this.#closed = true;
    for (const { vectors } of this.#indexes.values()) {
      for (const { wire, listeners } of vectors.values()) {
        listeners.clear();
        this.#port.close(wire);
      }
      vectors.clear();
    }
  }

  /** Runs `change` when the earlier changes of this index are done. */
  #inTurn<T>(index: number, change: (table: Index<Wire>) => Promise<T>): Promise<T> {
    let table = this.#indexes.get(index);
    if (table === undefined) {
      table = { vectors: new Map(), last: Promise.resolve() };
      this.#indexes.set(index, table);
    }
    const done = table.last.then(() => change(table));
    table.last = done.catch(() => undefined);
    return done;
  }

  async #wire(index: number, vector: number, table: Index<Wire>): Promise<Vector<Wire>> {
    const info = await this.#port.info(index);
    if (!(Number.isInteger(vector) && vector >= 0 && vector < info.count)) {
      throw new VfioError('EINVAL', `index ${index} has ${info.count} vectors; there is no vector ${vector}`);
    }
    const all = (info.flags & VFIO_IRQ_INFO_NORESIZE) !== 0;
    const start = all ? 0 : vector;
    const made: Vector<Wire>[] = [];
    for (let i = 0; i < (all ? info.count : 1); i++) made.push(this.#open());
    try {
      await this.#port.wire(
        index,
        start,
        made.map(({ wire }) => wire),
      );
      if (this.#closed) throw new VfioError('EBADF', 'the device was closed; open it again');
    } catch (error) {
      for (const { wire } of made) this.#port.close(wire);
      throw error;
    }
    for (const [i, wired] of made.entries()) table.vectors.set(start + i, wired);
    return table.vectors.get(vector)!;
  }

  #open(): Vector<Wire> {
    const wire = this.#port.open((count) => {
      if (vector.listeners.size === 0) vector.missed += count;
      for (const listener of [...vector.listeners]) listener.call(count);
    });
    const vector: Vector<Wire> = { wire, listeners: new Set(), missed: 0 };
    return vector;
  }

  async #off(
    index: number,
    vector: number,
    table: Index<Wire>,
    wired: Vector<Wire>,
    entry: Entry,
  ): Promise<void> {
    if (!wired.listeners.delete(entry) || this.#closed) return;
    const used = [...table.vectors.values()].some(({ listeners }) => listeners.size > 0);
    if (!used) {
      const ended = [...table.vectors.values()];
      table.vectors.clear();
      try {
        await this.#port.disable(index);
      } finally {
        for (const { wire } of ended) this.#port.close(wire);
      }
      return;
    }
    const { flags } = await this.#port.info(index);
    if (wired.listeners.size > 0 || (flags & VFIO_IRQ_INFO_NORESIZE) !== 0) return;
    table.vectors.delete(vector);
    try {
      await this.#port.wire(index, vector, [null]);
    } finally {
      this.#port.close(wired.wire);
    }
  }
}

/** Gives a first listener what was signalled before it was there, in the same way as later signals: not at once. */
function tellMissed(vector: Vector<unknown>, entry: Entry): void {
  const { missed } = vector;
  vector.missed = 0;
  if (missed === 0) return;
  queueMicrotask(() => {
    if (vector.listeners.has(entry)) entry.call(missed);
  });
}
