/*
 * Shows a session's conversation, message by message, to whoever the server's owner names. Without a trace nothing of
 * this exists but a null check for each message that is sent; region accesses that come in take a short way that has not
 * even that, because a session with a trace never takes it.
 */

/** One message, as it went over the socket. */
export interface TracedMessage {
  /** When: ms since the epoch, with fractions. */
  readonly timeMs: number;
  /** The device's name. */
  readonly device: string;
  readonly sender: 'client' | 'server';
  readonly socket: 'main' | 'twin';
  /** Header and body; good until the call returns. Of a message that is larger than any may be, the header alone. */
  readonly bytes: Uint8Array;
  /** How many fds came with it. */
  readonly fds: number;
}

/** Told of each message in order: the client's when they come in, the server's when they are put together. */
export type Trace = (message: TracedMessage) => void;

/** Whose messages are shown: the present instance of the device, which may be replaced. */
export interface Traced {
  readonly device: { readonly name: string };
}

/** Hands the messages of one connection to a trace. */
export class Tracer {
  readonly #traced: Traced;
  readonly #socket: TracedMessage['socket'];
  readonly #onError: (error: unknown) => void;
  #trace: Trace | null;

  /** `onError` is told what the trace throws; then it is not called again. */
  constructor(
    trace: Trace,
    traced: Traced,
    socket: TracedMessage['socket'],
    onError: (error: unknown) => void,
  ) {
    this.#trace = trace;
    this.#traced = traced;
    this.#socket = socket;
    this.#onError = onError;
  }

  received(bytes: Uint8Array, start: number, size: number, fds: number): void {
    this.#tell('client', bytes.subarray(start, start + size), fds);
  }

  /** Of a message that is larger than any may be. */
  receivedHeader(header: DataView): void {
    this.#tell('client', new Uint8Array(header.buffer, header.byteOffset, header.byteLength), 0);
  }

  sent(bytes: Uint8Array, start: number, size: number, fds: number): void {
    this.#tell('server', bytes.subarray(start, start + size), fds);
  }

  #tell(sender: TracedMessage['sender'], bytes: Uint8Array, fds: number): void {
    if (this.#trace === null) return;
    const timeMs = performance.timeOrigin + performance.now();
    try {
      this.#trace({ timeMs, device: this.#traced.device.name, sender, socket: this.#socket, bytes, fds });
    } catch (error) {
      this.#trace = null;
      this.#onError(error);
    }
  }
}
