/*
 * Messages on their way out: written one after the other into the connection's send buffer, and sent together when
 * the tick ends. A program that issues a hundred reads at once makes one system call.
 */
import type { Connection } from '../sys/sys-layer.ts';

/** Collects messages for one connection. */
export class Outbox {
  readonly view: DataView;
  readonly bytes: Uint8Array;

  readonly #connection: Connection;
  readonly #sendNow: () => void;
  #used = 0;
  #scheduled = false;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.view = connection.sending;
    this.bytes = connection.sendingBytes;
    this.#sendNow = () => {
      this.#scheduled = false;
      this.flush();
    };
  }

  /**
   * Makes room for one message and returns where it starts. It must be complete before the next `reserve`, which may
   * send it. The caller keeps messages below the buffer's size.
   */
  reserve(size: number): number {
    if (this.#used + size > this.bytes.length) this.flush();
    const at = this.#used;
    this.#used = at + size;
    return at;
  }

  /** Ends the message that was reserved last after `size` bytes. */
  shorten(at: number, size: number): void {
    this.#used = at + size;
  }

  /**
   * Sends when the tick ends. After all promise continuations, that is: requests that are made by a hundred async
   * functions in turn still leave together.
   */
  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    process.nextTick(this.#sendNow);
  }

  /** Sends now, with fds on the first byte: then the buffer must hold one message only. */
  flush(fds?: readonly number[]): void {
    const length = this.take();
    if (length === 0) return;
    if (fds === undefined) this.#connection.send(length);
    else this.#connection.send(length, fds);
  }

  /** Hands over what is there, to be sent by the caller: what `onMessages` returns. */
  take(): number {
    const length = this.#used;
    this.#used = 0;
    return length;
  }
}
