/*
 * Interrupts that arrived, by vector, and those who wait for them. Each is given to one waiter, in order; what nobody
 * has waited for yet is there for the next who does.
 *
 * INTx is a level and masks itself when it fires. The guest's end of interrupt lets it through again, after the test has
 * served the device, as its handler would. A device that still asserts then fires at once.
 */
import type { DeviceHandle } from '../client/index.ts';
import { VfioError } from '../core/index.ts';
import type { InterruptChoice } from './interrupt-mechanism.ts';
import { realClearTimeout, realSetTimeout } from './real-timers.ts';

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

interface Vector {
  arrived: number;
  taken: number;
  readonly waiters: Waiter[];
}

/** One vector's waiters: a test that has more has lost count of them. */
const WAITERS_MAX = 64;

export class InterruptCounter {
  readonly choice: InterruptChoice;
  readonly #handle: DeviceHandle;
  readonly #vectors: Vector[];
  /** An INTx was given to a waiter, and its end has not been told. */
  #inService = false;

  constructor(handle: DeviceHandle, choice: InterruptChoice) {
    this.#handle = handle;
    this.choice = choice;
    this.#vectors = Array.from({ length: choice.vectors }, () => ({ arrived: 0, taken: 0, waiters: [] }));
  }

  /** Wires every vector. */
  async listen(): Promise<void> {
    const { index } = this.choice;
    if (index === null) return;
    for (const [number, vector] of this.#vectors.entries()) {
      await this.#handle.onInterrupt(index, number, (count) => {
        vector.arrived += count;
        this.#give(vector);
      });
    }
  }

  /** Interrupts on all vectors. */
  get arrived(): number {
    return this.#vectors.reduce((sum, vector) => sum + vector.arrived, 0);
  }

  arrivedOn(vector: number): number {
    return this.#of(vector).arrived;
  }

  /** How many on `vector` nobody has waited for yet. */
  unclaimed(vector: number): number {
    const { arrived, taken } = this.#of(vector);
    return arrived - taken;
  }

  /** Resolves at the next interrupt that was not waited for; after `timeoutMs` rejects with what `explain` says. */
  async next(vector: number, timeoutMs: number, explain: () => string): Promise<void> {
    const wanted = this.#of(vector);
    if (this.#inService) await this.endOfInterrupt();
    if (wanted.waiters.length >= WAITERS_MAX) {
      throw new VfioError(
        'EBUSY',
        `${WAITERS_MAX} waits for vector ${vector} are open; await some of them first`,
      );
    }
    await new Promise<void>((resolve, reject) => {
      const timer = realSetTimeout(() => {
        wanted.waiters.splice(wanted.waiters.indexOf(waiter), 1);
        reject(new VfioError('ETIMEDOUT', explain()));
      }, timeoutMs);
      const waiter: Waiter = {
        resolve: () => {
          realClearTimeout(timer);
          resolve();
        },
        reject: (error) => {
          realClearTimeout(timer);
          reject(error);
        },
      };
      wanted.waiters.push(waiter);
      this.#give(wanted);
    });
  }

  /** Lets INTx through again. Does nothing for messages. */
  async endOfInterrupt(): Promise<void> {
    this.#inService = false;
    if (this.choice.mechanism === 'intx') await this.#handle.unmask(this.choice.index!);
  }

  /** The client leaves: nobody waits any more. */
  close(): void {
    const error = new VfioError('EBADF', 'the device under test was closed; await its interrupts before');
    for (const { waiters } of this.#vectors) {
      for (const waiter of waiters.splice(0)) waiter.reject(error);
    }
  }

  #give(vector: Vector): void {
    while (vector.taken < vector.arrived) {
      const waiter = vector.waiters.shift();
      if (waiter === undefined) return;
      vector.taken += 1;
      this.#inService = this.choice.mechanism === 'intx';
      waiter.resolve();
    }
  }

  #of(vector: number): Vector {
    const found = this.#vectors[vector];
    if (found !== undefined) return found;
    const { mechanism, vectors } = this.choice;
    const has = mechanism === 'none' ? 'no interrupts' : `${vectors} ${mechanism} vector(s), from 0`;
    throw new VfioError(
      'EINVAL',
      `there is no vector ${vector}: the test listens to ${has}; see option vectors`,
    );
  }
}
