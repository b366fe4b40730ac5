/*
 * Region accesses whose handlers take time. Each is answered once: by its handler, or before that by the session, which
 * says here that the handler's result comes too late.
 */
import type { Background, WriteRange } from './background.ts';

/** The access that the session waits for. */
export interface SlowAccess {
  /** Of REGION_WRITE_MULTI, the write that takes time at this moment. */
  readonly range: WriteRange;
  readonly isWrite: boolean;
  /** Whether it waits for a write in the background, to the same bytes. */
  readonly queued: boolean;
  /** One of several writes in a message, which is answered after the last of them. */
  readonly isPart: boolean;
  /** Its handler goes on in the background. A write is answered with that, as done; unless it `isPart`. */
  detach(): void;
}

/** A read or a single write. */
export class SlowSingle implements SlowAccess {
  readonly range: WriteRange;
  readonly isWrite: boolean;
  readonly queued: boolean;
  readonly isPart: boolean = false;
  /** Whether the handler's result comes too late. */
  detached = false;
  readonly #onDetach: () => void;

  /** `onDetach` answers, and keeps what the handler still needs. */
  constructor(range: WriteRange, isWrite: boolean, queued: boolean, onDetach: () => void) {
    this.range = range;
    this.isWrite = isWrite;
    this.queued = queued;
    this.#onDetach = onDetach;
  }

  detach(): void {
    this.detached = true;
    this.#onDetach();
  }
}

/** Writes of one message. From the first that is detached on, none of them is waited for. */
export class SlowSeries implements SlowAccess {
  readonly isWrite: boolean = true;
  readonly isPart: boolean = true;
  range: WriteRange;
  queued = false;
  readonly #background: Background;
  readonly #onDetach: () => void;
  #eager = false;
  #goOn: ((errno: number) => void) | null = null;
  #result: Promise<number> | null = null;

  constructor(range: WriteRange, background: Background, onDetach: () => void) {
    this.range = range;
    this.#background = background;
    this.#onDetach = onDetach;
  }

  /** Waits for one write: for its errno, or 0 when it goes to the background. */
  wait(range: WriteRange, result: Promise<number>, queued: boolean): Promise<number> {
    this.range = range;
    this.queued = queued;
    this.#result = result;
    if (this.#eager || queued) {
      this.#toBackground();
      return Promise.resolve(0);
    }
    const detached = new Promise<number>((resolve) => {
      this.#goOn = resolve;
    });
    return Promise.race([result, detached]).finally(() => {
      this.#goOn = null;
    });
  }

  detach(): void {
    this.#eager = true;
    if (this.#goOn === null) return;
    this.#toBackground();
    this.#goOn(0);
  }

  #toBackground(): void {
    this.#background.addWrite(this.range, this.#result!);
    this.#onDetach();
  }
}
