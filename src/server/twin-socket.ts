/*
 * The second socket of a session, for the commands that go from server to client. With it neither side has to tell
 * commands from replies, and a client can answer DMA messages in a thread of its own.
 */
import {
  ERRNO,
  VFIO_USER_FLAG_NO_REPLY,
  VFIO_USER_FLAG_TYPE_MASK,
  VFIO_USER_FLAG_TYPE_REPLY,
} from '../abi/index.ts';
import type { Connection, ConnectionHandler, ConnectionOptions, SysLayer } from '../sys/sys-layer.ts';
import { Outbox } from './outbox.ts';
import type { Tracer } from './trace.ts';

/** Who hears what comes through. */
export interface TwinSocketListener {
  onReply(view: DataView, bytes: Uint8Array, at: number, size: number): void;
  onOversizedReply(header: DataView): void;
  onClose(reason: string, errno: number): void;
}

/** Our end of the twin socket. Only replies are expected here; a command is refused with EINVAL. */
export class TwinSocket implements ConnectionHandler {
  readonly outbox: Outbox;
  /** The client's end, to be sent with the VERSION reply; ours until `sent`. */
  readonly clientFd: number;

  readonly #sys: SysLayer;
  readonly #connection: Connection;
  readonly #listener: TwinSocketListener;
  readonly #tracer: Tracer | null;
  #clientFdOpen = true;

  constructor(
    sys: SysLayer,
    options: ConnectionOptions,
    tracer: Tracer | null,
    listener: TwinSocketListener,
  ) {
    const [ourFd, clientFd] = sys.socketpair();
    this.#tracer = tracer;
    this.#sys = sys;
    this.#listener = listener;
    this.clientFd = clientFd;
    try {
      this.#connection = sys.connection(ourFd, options, this);
    } catch (error) {
      sys.close(ourFd);
      sys.close(clientFd);
      throw error;
    }
    this.outbox = new Outbox(this.#connection, tracer);
  }

  /** The client's end is on its way: ours of it is closed. */
  sent(): void {
    if (this.#clientFdOpen) this.#sys.close(this.clientFd);
    this.#clientFdOpen = false;
  }

  close(): void {
    this.sent();
    this.#connection.close();
  }

  onMessages(end: number): number {
    const view = this.#connection.received;
    this.outbox.beginBatch();
    for (let at = 0; at < end; ) {
      const size = view.getUint32(at + 4, true);
      if (this.#tracer !== null) this.#tracer.received(this.#connection.receivedBytes, at, size, 0);
      if (isReply(view, at)) this.#listener.onReply(view, this.#connection.receivedBytes, at, size);
      else this.#refuse(view, at);
      at += size;
    }
    return this.outbox.endBatch();
  }

  onOversized(header: DataView): number {
    this.outbox.beginBatch();
    this.#tracer?.receivedHeader(header);
    if (isReply(header, 0)) this.#listener.onOversizedReply(header);
    else this.#refuse(header, 0);
    return this.outbox.endBatch();
  }

  onClose(reason: string, errno: number): void {
    this.#listener.onClose(`twin socket: ${reason}`, errno);
  }

  #refuse(view: DataView, at: number): void {
    if ((view.getUint32(at + 8, true) & VFIO_USER_FLAG_NO_REPLY) !== 0) return;
    this.outbox.error(view.getUint16(at, true), view.getUint16(at + 2, true), ERRNO.EINVAL);
  }
}

function isReply(view: DataView, at: number): boolean {
  return (view.getUint32(at + 8, true) & VFIO_USER_FLAG_TYPE_MASK) === VFIO_USER_FLAG_TYPE_REPLY;
}
