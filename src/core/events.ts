/*
 * A typed emitter for the device's notifier (R6). It differs from node:events in what matters for revocation:
 * every listener is told even when one of them throws, a listener may unsubscribe itself or others while it
 * is being told, and the number of listeners has a limit.
 */
import { VfioError } from './error.ts';

/**
 * Listeners per event. Every IOMMU mapping of device memory listens to its device, and a client may make
 * 65535 of them (type1's dma_entry_limit); four such clients fit.
 */
export const LISTENER_LIMIT: number = 4 * 65_536;

/** Wraps a listener, so that the same function subscribed twice is two subscriptions. */
interface Entry {
  readonly listener: (event: never) => void;
}

/** `Events` maps each event's name to what its listeners are told. */
export class Emitter<Events extends object> {
  readonly #entries: Map<keyof Events, Set<Entry>> = new Map();
  readonly #limit: number;

  constructor(limit: number = LISTENER_LIMIT) {
    this.#limit = limit;
  }

  /**
   * Adds a listener and returns its unsubscribe, which may be called twice. ENOSPC when there are too many.
   */
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): () => void {
    let entries = this.#entries.get(name);
    if (entries === undefined) {
      entries = new Set();
      this.#entries.set(name, entries);
    }
    if (entries.size >= this.#limit) {
      throw new VfioError('ENOSPC', `'${String(name)}' has ${this.#limit} listeners; unsubscribe some first`);
    }
    const entry: Entry = { listener };
    entries.add(entry);
    return () => entries.delete(entry);
  }

  /**
   * Tells every listener in the order of subscription, and collects what they throw into `errors`. Who
   * unsubscribes meanwhile is not told any more; who subscribes meanwhile is told from the next event on.
   */
  emit<Name extends keyof Events>(name: Name, event: Events[Name], errors: unknown[]): void {
    const entries = this.#entries.get(name);
    if (entries === undefined) return;
    for (const entry of [...entries]) {
      if (!entries.has(entry)) continue;
      const listener = entry.listener as (event: Events[Name]) => void;
      attempt(() => listener(event), errors);
    }
  }

  /** How many listeners `name` has, for leak tests. */
  count(name: keyof Events): number {
    return this.#entries.get(name)?.size ?? 0;
  }

  /** Forgets all listeners: nothing will be emitted any more. */
  clear(): void {
    for (const entries of this.#entries.values()) entries.clear();
  }
}

/** Runs `step` and keeps what it throws, so that the steps after it still run. */
export function attempt(step: () => void, errors: unknown[]): void {
  try {
    step();
  } catch (error) {
    errors.push(error);
  }
}

/** Throws what `attempt` collected: the listeners are host code, so this is the host's mistake. */
export function rethrow(errors: readonly unknown[], during: string): void {
  if (errors.length === 0) return;
  throw new AggregateError(
    errors,
    `vfio: ${errors.length} listener(s) threw during ${during}; the rest was done`,
  );
}
