/*
 * How long the command that is being handled may still go unanswered. A client may send a million commands a second
 * that each take a moment, so the timer is not set and cleared for each: it is left running, and looks at the deadline
 * that holds when it fires.
 */

/** One deadline at a time, for one session. */
export class Patience {
  readonly #onOver: () => void;
  #deadlineMs = Number.POSITIVE_INFINITY;
  /** When the timer fires; infinite: there is none. */
  #firesMs = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  /** `onOver` is called once for each deadline that passes. */
  constructor(onOver: () => void) {
    this.#onOver = onOver;
  }

  /** Sets a deadline, unless an earlier one holds. */
  within(ms: number): void {
    this.#deadlineMs = Math.min(this.#deadlineMs, performance.now() + ms);
    if (this.#deadlineMs < this.#firesMs) this.#arm();
  }

  /** The command was answered: no deadline holds. */
  end(): void {
    this.#deadlineMs = Number.POSITIVE_INFINITY;
  }

  close(): void {
    this.end();
    clearTimeout(this.#timer);
    this.#firesMs = Number.POSITIVE_INFINITY;
  }

  #arm(): void {
    clearTimeout(this.#timer);
    this.#firesMs = this.#deadlineMs;
    const delayMs = Math.max(1, Math.ceil(this.#deadlineMs - performance.now()));
    this.#timer = setTimeout(() => this.#fire(), delayMs).unref();
  }

  #fire(): void {
    this.#firesMs = Number.POSITIVE_INFINITY;
    if (this.#deadlineMs === Number.POSITIVE_INFINITY) return;
    if (performance.now() < this.#deadlineMs) {
      this.#arm();
      return;
    }
    this.end();
    this.#onOver();
  }
}
