/*
 * Accesses to regions of a device in this process, one after the other: while a device takes its time with an access,
 * later ones wait, as they do in a server's session. A device that answers at once is answered for at once.
 */
import { ERRNO } from '../abi/index.ts';
import { type AccessResult, type VfioDevice, VfioError } from '../core/index.ts';
import type { RegisterWrite } from './device-handle.ts';
import { PENDING_LIMIT } from './limits.ts';
import { type RegisterWidth, readValue, writeValue } from './register-value.ts';
import { errnoError } from './reply-error.ts';

export class InProcessAccess {
  readonly #device: VfioDevice;
  /** Why nothing can be accessed any more, or null. */
  readonly #error: () => VfioError | null;
  /** Resolves when all that was begun is done; null: it is. */
  #tail: Promise<void> | null = null;
  #waiting = 0;
  /** Rejects what a device has not answered yet. */
  readonly #unanswered: Set<(error: VfioError) => void> = new Set();
  /** Buffers of registers that are not in use: a device may keep one until it has answered. */
  readonly #spare: DataView[] = [];

  constructor(device: VfioDevice, error: () => VfioError | null) {
    this.#device = device;
    this.#error = error;
  }

  async readRegister(index: number, offset: number, widthBytes: RegisterWidth): Promise<number | bigint> {
    const view = this.#spare.pop() ?? new DataView(new ArrayBuffer(8));
    try {
      await this.#access(index, offset, widthBytes, view, false);
      return readValue(view, 0, widthBytes);
    } finally {
      this.#spare.push(view);
    }
  }

  async writeRegister(
    index: number,
    offset: number,
    widthBytes: RegisterWidth,
    value: number | bigint,
  ): Promise<void> {
    const view = this.#spare.pop() ?? new DataView(new ArrayBuffer(8));
    try {
      writeValue(view, 0, widthBytes, value);
      await this.#access(index, offset, widthBytes, view, true);
    } finally {
      this.#spare.push(view);
    }
  }

  async read(index: number, offset: number, target: Uint8Array): Promise<void> {
    const view = new DataView(target.buffer, target.byteOffset, target.length);
    await this.#access(index, offset, target.length, view, false);
  }

  async write(index: number, offset: number, source: Uint8Array): Promise<void> {
    const view = new DataView(source.buffer, source.byteOffset, source.length);
    await this.#access(index, offset, source.length, view, true);
  }

  /** Nobody is told of errors, but the handle must be usable. */
  post(index: number, offset: number, source: Uint8Array): void {
    const error = this.#error();
    if (error !== null) throw error;
    void this.write(index, offset, source.slice()).catch(() => undefined);
  }

  async writeMulti(writes: readonly RegisterWrite[]): Promise<void> {
    const done = writes.map((each) =>
      this.writeRegister(each.index, each.offset, each.widthBytes, each.value),
    );
    await Promise.all(done);
  }

  /** The client leaves: nobody waits any more for what the device has not answered. */
  abandon(error: VfioError): void {
    for (const reject of this.#unanswered) reject(error);
    this.#unanswered.clear();
  }

  /** Runs `work` when all accesses that were begun before are done, and makes later ones wait for it. */
  inOrder<T>(work: () => T | Promise<T>): Promise<T> {
    const error = this.#error();
    if (error !== null) return Promise.reject(error);
    if (this.#tail === null) {
      try {
        const result = work();
        if (!(result instanceof Promise)) return Promise.resolve(result);
        this.#follow(result);
        return this.#answer(result);
      } catch (thrown) {
        return Promise.reject(thrown);
      }
    }
    if (this.#waiting >= PENDING_LIMIT) {
      const message = `${PENDING_LIMIT} accesses wait for ${this.#device.name}; await some of them first`;
      return Promise.reject(new VfioError('EBUSY', message));
    }
    this.#waiting++;
    const result = this.#tail.then(() => {
      this.#waiting--;
      const late = this.#error();
      if (late !== null) throw late;
      return work();
    });
    this.#follow(result);
    return this.#answer(result);
  }

  /** The answer to something that takes time, or the error of a client that leaves before. */
  #answer<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#unanswered.add(reject);
      work.then(resolve, reject).finally(() => this.#unanswered.delete(reject));
    });
  }

  #follow(work: Promise<unknown>): void {
    const tail: Promise<void> = work.then(ignore, ignore).then(() => {
      if (this.#tail === tail) this.#tail = null;
    });
    this.#tail = tail;
  }

  async #access(index: number, offset: number, count: number, view: DataView, write: boolean): Promise<void> {
    const error = this.#error();
    if (error !== null) throw error;
    if (!Number.isSafeInteger(offset) || offset < 0) {
      throw new VfioError('EINVAL', `region ${index}, offset ${offset}: use a whole number from 0`);
    }
    let errno: number;
    if (this.#tail === null) {
      const result = this.#start(index, offset, count, view, write);
      if (result instanceof Promise) {
        this.#follow(result);
        errno = await this.#answer(result);
      } else errno = result;
    } else errno = await this.inOrder(() => this.#start(index, offset, count, view, write));
    if (errno !== 0) throw this.#explain(errno, index, offset, count, write);
  }

  #start(index: number, offset: number, count: number, view: DataView, write: boolean): AccessResult {
    const region = this.#device.region(index);
    return write ? region.write(offset, count, view, 0) : region.read(offset, count, view, 0);
  }

  #explain(errno: number, index: number, offset: number, count: number, write: boolean): VfioError {
    const region = this.#device.region(index);
    const what = `${write ? 'write of' : 'read of'} ${count} bytes at 0x${offset.toString(16)} of ${region.name}`;
    const reason = errno === ERRNO.EIO ? this.#device.accessible(region) : null;
    if (reason !== null) return errnoError(errno, `${what}: ${reason}`);
    if (errno !== ERRNO.EINVAL) return errnoError(errno, `${what} failed`);
    return errnoError(errno, `${what}: it has ${region.sizeBytes} bytes, and its flags may forbid this`);
  }
}

function ignore(): void {}
