/*
 * Where messages to the client are put together: replies, and the commands of our own DMA. They gather in the
 * connection's send buffer and leave in one send per batch of received messages; outside a batch, at once.
 */
import {
  VFIO_USER_FLAG_ERROR,
  VFIO_USER_FLAG_TYPE_COMMAND,
  VFIO_USER_FLAG_TYPE_REPLY,
  VFIO_USER_HEADER_SIZE,
} from '../abi/index.ts';
import type { Connection } from '../sys/sys-layer.ts';
import { CONGESTION_BYTES } from './limits.ts';
import type { Tracer } from './trace.ts';

/** The outgoing side of one connection. */
export class Outbox {
  /** The send buffer. Write bodies where `reply` and `command` say. */
  readonly view: DataView;
  readonly bytes: Uint8Array;

  readonly #connection: Connection;
  readonly #capacity: number;
  readonly #onCongestion: () => void;
  readonly #tracer: Tracer | null;
  #length = 0;
  #batching = false;
  /** A message with fds did not leave at once: copies of the fds wait with it. */
  #fdsWait = false;

  /** `onCongestion`: the client does not read as fast as it asks; be slower. */
  constructor(connection: Connection, tracer: Tracer | null, onCongestion: () => void = () => {}) {
    this.#connection = connection;
    this.#tracer = tracer;
    this.#onCongestion = onCongestion;
    this.view = connection.sending;
    this.bytes = connection.sendingBytes;
    this.#capacity = connection.sendingBytes.length;
  }

  /** Whether messages gather at this moment: commands are being handled. */
  get batching(): boolean {
    return this.#batching;
  }

  /** From now on messages gather until `endBatch`. */
  beginBatch(): void {
    this.#batching = true;
  }

  /** Ends the batch. The caller sends that many bytes, by returning them from `onMessages`. */
  endBatch(): number {
    const length = this.#length;
    this.#length = 0;
    this.#batching = false;
    return length;
  }

  /** Sends what has gathered. */
  flush(): void {
    if (this.#length === 0) return;
    const length = this.#length;
    this.#length = 0;
    this.#connection.send(length);
    if (this.congested) this.#onCongestion();
  }

  /** Whether much of what was sent, or any fd, waits for the client to read. */
  get congested(): boolean {
    const queuedBytes = this.#connection.queuedBytes;
    if (queuedBytes === 0) this.#fdsWait = false;
    return queuedBytes > CONGESTION_BYTES || this.#fdsWait;
  }

  /** Ends a batch that nobody returns from: what has gathered is sent here. */
  finishBatch(): void {
    this.#batching = false;
    this.flush();
  }

  /** Where the next message of at most `size` bytes will start. Nothing is sent before it is claimed. */
  room(size: number): number {
    if (this.#length + size > this.#capacity) this.flush();
    return this.#length;
  }

  /** Writes the header of a reply whose body has `bodyBytes` into the room at `start`, and counts the message in. */
  claimReply(start: number, id: number, command: number, bodyBytes: number): void {
    this.#header(start, id, command, bodyBytes, VFIO_USER_FLAG_TYPE_REPLY);
    this.#length = start + VFIO_USER_HEADER_SIZE + bodyBytes;
    if (this.#tracer !== null) this.#tracer.sent(this.bytes, start, VFIO_USER_HEADER_SIZE + bodyBytes, 0);
  }

  /** The same for a command of ours. */
  claimCommand(start: number, id: number, command: number, bodyBytes: number): void {
    this.#header(start, id, command, bodyBytes, VFIO_USER_FLAG_TYPE_COMMAND);
    this.#length = start + VFIO_USER_HEADER_SIZE + bodyBytes;
    if (this.#tracer !== null) this.#tracer.sent(this.bytes, start, VFIO_USER_HEADER_SIZE + bodyBytes, 0);
  }

  /** An error reply: the header alone. */
  error(id: number, command: number, errno: number): void {
    const start = this.room(VFIO_USER_HEADER_SIZE);
    this.#header(start, id, command, 0, VFIO_USER_FLAG_TYPE_REPLY | VFIO_USER_FLAG_ERROR);
    this.view.setUint32(start + 12, errno, true);
    this.#length = start + VFIO_USER_HEADER_SIZE;
    if (this.#tracer !== null) this.#tracer.sent(this.bytes, start, VFIO_USER_HEADER_SIZE, 0);
  }

  /** Sends a reply with fds, alone, because fds belong to the first byte of a send. The fds stay the caller's. */
  replyWithFds(id: number, command: number, body: Uint8Array, fds: readonly number[]): void {
    this.flush();
    this.#header(0, id, command, body.length, VFIO_USER_FLAG_TYPE_REPLY);
    this.bytes.set(body, VFIO_USER_HEADER_SIZE);
    if (this.#tracer !== null) {
      this.#tracer.sent(this.bytes, 0, VFIO_USER_HEADER_SIZE + body.length, fds.length);
    }
    this.#connection.send(VFIO_USER_HEADER_SIZE + body.length, fds);
    if (this.#connection.queuedBytes === 0) return;
    this.#fdsWait = true;
    this.#onCongestion();
  }

  /** After a message outside a batch: nobody else will send it. */
  settle(): void {
    if (!this.#batching) this.flush();
  }

  #header(start: number, id: number, command: number, bodyBytes: number, flags: number): void {
    const view = this.view;
    view.setUint16(start, id, true);
    view.setUint16(start + 2, command, true);
    view.setUint32(start + 4, VFIO_USER_HEADER_SIZE + bodyBytes, true);
    view.setUint32(start + 8, flags, true);
    view.setUint32(start + 12, 0, true);
  }
}
