/**
 * The chip's interrupt request, for a bus that may carry it as a level (INTx) or as messages (MSI).
 *
 * A level needs no thought: it is up as long as there is a cause. A message is sent once and can be lost in the driver: it
 * reads a cause, serves it, and goes. So this holds: after each access that served something, and after each event,
 * a cause that is pending was announced after the driver last asked for causes. A driver that loops until there are
 * none gets at most one message too many a round; one that serves a single cause, or gives up its loop half way as
 * Linux's does after 512 rounds, is called again.
 */

export class InterruptRequest {
  readonly #raise: () => void;
  readonly #lower: () => void;
  #asserted = false;
  /** A message was sent since the driver asked for causes. */
  #announced = false;

  constructor(raise: () => void, lower: () => void) {
    this.#raise = raise;
    this.#lower = lower;
  }

  /** After an access that may have changed something, and after an event: whether there is a cause. */
  update(pending: boolean): void {
    if (!pending) {
      if (!this.#asserted) return;
      this.#asserted = false;
      this.#announced = false;
      this.#lower();
      return;
    }
    if (this.#asserted && this.#announced) return;
    this.#asserted = true;
    this.#announced = true;
    this.#raise();
  }

  /** The driver asked for causes: what is pending after its next step needs a message of its own. */
  asked(): void {
    this.#announced = false;
  }
}
