/**
 * Waiting for the bits of an interrupt status register, for drivers whose interrupt says by such bits what is
 * done.
 */
import { VfioError } from '../core/index.ts';

interface Waiting {
  /** Bits that have to come, each at least once. */
  missing: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class IrqWaiter {
  readonly #timeoutMs: number;
  readonly #waiting: Set<Waiting> = new Set();
  #served = 0;
  #ended: Error | null = null;

  /** @param closed resolves when the device is gone: whoever waits then gets an error */
  constructor(closed: Promise<Error | null>, timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
    void closed.then((error) => this.fail(error ?? new VfioError('ENODEV', 'the device was closed')));
  }

  get served(): number {
    return this.#served;
  }

  /** Starts an operation and waits for the interrupt that ends it. ETIMEDOUT if none comes. */
  async during(bits: number, what: string, start: () => Promise<void>): Promise<void> {
    if (this.#ended !== null) throw this.#ended;
    let timer: NodeJS.Timeout | undefined;
    let waiting: Waiting | undefined;
    const done = new Promise<void>((resolve, reject) => {
      waiting = { missing: bits, resolve, reject };
      this.#waiting.add(waiting);
      timer = setTimeout(() => reject(this.#timeout(what)), this.#timeoutMs);
    });
    // The interrupt may come before the answer to the write that started the operation, or after it.
    try {
      await Promise.all([done, start()]);
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(waiting!);
    }
  }

  /** The interrupt came, with these bits. */
  fired(bits: number): void {
    this.#served += 1;
    for (const waiting of [...this.#waiting]) {
      waiting.missing &= ~bits;
      if (waiting.missing === 0) waiting.resolve();
    }
  }

  /** Nothing will come any more: everybody who waits, and whoever comes later, gets `error`. */
  fail(error: Error): void {
    this.#ended ??= error;
    for (const waiting of [...this.#waiting]) waiting.reject(error);
  }

  /** The driver lets go of the device. */
  end(): void {
    this.fail(new VfioError('ENODEV', 'the driver was closed; open it again'));
  }

  #timeout(what: string): VfioError {
    const message = `no interrupt ended ${what} within ${this.#timeoutMs} ms; is bus mastering still on?`;
    return new VfioError('ETIMEDOUT', message);
  }
}
