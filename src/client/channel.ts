/*
 * Requests and replies over one connection. Requests are written straight into the send buffer, leave together when
 * the tick ends, and may be under way in any number up to the table's limit; replies are matched by message id. The
 * server's own commands (DMA_READ, DMA_WRITE) come on the same connection and go to the owner.
 *
 * Two steps make a request without an object for it: `begin` reserves the message and writes its header, the caller
 * writes the payload into `view`, and `submit` says how to read the reply. When `begin` returns -1, `refused()` is
 * the rejected promise to return.
 */
import {
  VFIO_USER_FLAG_ERROR,
  VFIO_USER_FLAG_NO_REPLY,
  VFIO_USER_FLAG_TYPE_COMMAND,
  VFIO_USER_FLAG_TYPE_MASK,
  VFIO_USER_FLAG_TYPE_REPLY,
  VFIO_USER_HEADER_SIZE,
  vfio_user_header,
  vfioUserCommandName,
} from '../abi/index.ts';
import { VfioError } from '../core/index.ts';
import type { Connection, SysLayer } from '../sys/sys-layer.ts';
import { ABSURD_MESSAGE_BYTES, CONGESTED_BYTES, PENDING_LIMIT } from './limits.ts';
import { Outbox } from './outbox.ts';
import { type Pending, PendingTable, type ReplyReader, readNothing } from './pending.ts';
import { endError, protocolError, replyError } from './reply-error.ts';

const HEADER = vfio_user_header.at;

/** A request times out after between 4 and 5 ticks of this many parts of the timeout. */
const TICKS_PER_TIMEOUT = 4;

export interface ChannelOptions {
  /** For messages: what the other end is called. */
  readonly address: string;
  /** 0: wait for ever. */
  readonly requestTimeoutMs: number;
  readonly maxMessageBytes: number;
  readonly sendBufferBytes: number;
  readonly maxMessageFds: number;
  readonly busyPollUs: number;
}

/** Who takes what is not a reply. */
export interface ChannelOwner {
  /** A command of the server lies at `start` in `connection.received`. Its reply goes to `outbox`. */
  onCommand(connection: Connection, start: number, size: number, outbox: Outbox): void;
  /** A command that is too large to be received; `header` is good during the call. */
  onOversizedCommand(header: DataView, outbox: Outbox): void;
  /** The connection ended by itself: the server went away or broke the protocol. Told once. */
  onClose(error: VfioError): void;
}

/** A reply as a copy, for requests that are rare. */
export interface Reply {
  readonly payload: Uint8Array;
  readonly view: DataView;
  /** They belong to whoever made the request. */
  readonly fds: readonly number[];
}

export interface RequestOptions {
  readonly fds?: readonly number[];
  /** Whether fds are expected in the reply. */
  readonly wantsFds?: boolean;
  /** For error messages: the subject of the request. */
  readonly about?: string;
}

export class Channel {
  readonly connection: Connection;
  readonly outbox: Outbox;
  /** Where `begin` says that the payload goes. */
  readonly view: DataView;
  readonly bytes: Uint8Array;

  readonly #owner: ChannelOwner;
  readonly #options: ChannelOptions;
  readonly #pending: PendingTable = new PendingTable();
  readonly #about: Map<number, string> = new Map();
  #latest: Pending | null = null;
  readonly #executor: (resolve: (value: unknown) => void, reject: (error: Error) => void) => void;
  #tick = 0;
  #timer: NodeJS.Timeout | null = null;
  #error: VfioError | null = null;
  #refusal: VfioError | null = null;
  #onRoom: (() => void)[] = [];

  /** Owns `fd`. */
  constructor(sys: SysLayer, fd: number, options: ChannelOptions, owner: ChannelOwner) {
    this.#owner = owner;
    this.#options = options;
    this.#executor = (resolve, reject) => {
      this.#latest!.resolve = resolve;
      this.#latest!.reject = reject;
    };
    const { maxMessageBytes, maxMessageFds, sendBufferBytes, busyPollUs } = options;
    // Two batches may be on their way into the queue when it is found to be congested.
    const sendQueueBytes = CONGESTED_BYTES + 2 * sendBufferBytes;
    this.connection = sys.connection(
      fd,
      { maxMessageBytes, maxMessageFds, sendBufferBytes, sendQueueBytes, busyPollUs, readWhileBlocked: true },
      {
        onMessages: (end) => this.#onMessages(end),
        onOversized: (header) => this.#onOversized(header),
        onClose: (reason, errno) => this.fail(endError(options.address, reason, errno)),
      },
    );
    this.outbox = new Outbox(this.connection);
    this.view = this.outbox.view;
    this.bytes = this.outbox.bytes;
  }

  /** Why no request can be made any more, or null. */
  get error(): VfioError | null {
    return this.#error;
  }

  /** Requests without a reply. */
  get pendingCount(): number {
    return this.#pending.count;
  }

  /** Whether the server does not read what it is sent. */
  get congested(): boolean {
    return this.connection.queuedBytes > CONGESTED_BYTES;
  }

  /**
   * Begins a request with `payloadBytes` of payload and returns where in `view` they go; -1 if it is refused. Until
   * `submit`, nothing else may be begun.
   */
  begin(command: number, payloadBytes: number): number {
    if (this.#error !== null || this.congested) return this.#refuse();
    const pending = this.#pending.take();
    if (pending === null) return this.#refuse();
    this.#latest = pending;
    pending.command = command;
    pending.tick = this.#tick;
    return this.#writeHeader(pending.id, command, payloadBytes, VFIO_USER_FLAG_TYPE_COMMAND);
  }

  /** Begins a command that nobody answers; `submitPosted` sends it. -1 if it is refused. */
  beginPosted(command: number, payloadBytes: number): number {
    if (this.#error !== null || this.congested) return this.#refuse();
    return this.#writeHeader(0, command, payloadBytes, VFIO_USER_FLAG_NO_REPLY);
  }

  /**
   * Sends what was begun, at the latest when the tick ends. `region`, `offset` and `count` are for the reader and for
   * messages; data of the reply goes to `target` from `targetAt` on.
   */
  submit<T>(
    read: ReplyReader,
    region: number,
    offset: number,
    count: number,
    target: Uint8Array | null = null,
    targetAt = 0,
  ): Promise<T> {
    const pending = this.#latest!;
    pending.read = read;
    pending.region = region;
    pending.offset = offset;
    pending.count = count;
    pending.target = target;
    pending.targetAt = targetAt;
    pending.wantsFds = false;
    const promise = new Promise(this.#executor) as Promise<T>;
    this.#latest = null;
    this.outbox.schedule();
    if (this.#timer === null) this.#startTimer();
    return promise;
  }

  submitPosted(): void {
    this.outbox.schedule();
  }

  /** The rejection for a `begin` that returned -1. */
  refused(): Promise<never> {
    return Promise.reject(this.refusal());
  }

  /** The error for a `begin` that returned -1. */
  refusal(): VfioError {
    return this.#refusal ?? new VfioError('EAGAIN', `${this.#options.address}: try again`);
  }

  /** A request that is rare: payload and reply are copies. With fds it is sent at once, in a message of its own. */
  request(command: number, payload: Uint8Array, options: RequestOptions = {}): Promise<Reply> {
    const { fds, wantsFds = false, about = '' } = options;
    if (payload.length + VFIO_USER_HEADER_SIZE > this.bytes.length) {
      const message = `${vfioUserCommandName(command)} with ${payload.length} bytes is larger than the send buffer; send less`;
      return Promise.reject(new VfioError('EMSGSIZE', message));
    }
    if (fds !== undefined && fds.length > 0) this.outbox.flush();
    const at = this.begin(command, payload.length);
    if (at < 0) return this.refused();
    const pending = this.#latest!;
    this.bytes.set(payload, at);
    if (about !== '') this.#about.set(pending.id, about);
    const reply = this.submit<Reply>(readCopy, 0, 0, 0);
    pending.wantsFds = wantsFds;
    if (fds !== undefined && fds.length > 0) this.outbox.flush(fds);
    return reply;
  }

  /** Resolves when the server has read enough that large transfers may go on. */
  room(): Promise<void> {
    if (!this.congested || this.#error !== null) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onRoom.push(resolve);
    });
  }

  /** Ends the connection; requests that wait are rejected with `error`. A second call does nothing. */
  close(error: VfioError): void {
    if (this.#error !== null) return;
    this.#error = error;
    this.connection.close();
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#pending.drain((pending) => pending.reject(error));
    this.#about.clear();
    this.#wakeWaiting();
  }

  /** Ends the connection because the server broke the protocol, and tells the owner. */
  fail(error: VfioError): void {
    if (this.#error !== null) return;
    this.close(error);
    this.#owner.onClose(error);
  }

  #writeHeader(id: number, command: number, payloadBytes: number, flags: number): number {
    const size = VFIO_USER_HEADER_SIZE + payloadBytes;
    const at = this.outbox.reserve(size);
    const view = this.view;
    view.setUint16(at + HEADER.msg_id, id, true);
    view.setUint16(at + HEADER.cmd, command, true);
    view.setUint32(at + HEADER.msg_size, size, true);
    view.setUint32(at + HEADER.flags, flags, true);
    view.setUint32(at + HEADER.error_no, 0, true);
    return at + VFIO_USER_HEADER_SIZE;
  }

  #refuse(): -1 {
    const { address } = this.#options;
    if (this.#error !== null) this.#refusal = this.#error;
    else if (this.congested) {
      const message = `${address} does not read what it is sent; await a request before making more`;
      this.#refusal = new VfioError('EAGAIN', message);
    } else {
      const message = `${PENDING_LIMIT} requests to ${address} are waiting for replies; await some of them first`;
      this.#refusal = new VfioError('EBUSY', message);
    }
    return -1;
  }

  #onMessages(end: number): number {
    const { received } = this.connection;
    for (let start = 0; start < end && this.#error === null; ) {
      const size = received.getUint32(start + HEADER.msg_size, true);
      const flags = received.getUint32(start + HEADER.flags, true);
      const type = flags & VFIO_USER_FLAG_TYPE_MASK;
      if (type === VFIO_USER_FLAG_TYPE_REPLY) this.#onReply(received, start, size, flags);
      else if (type === VFIO_USER_FLAG_TYPE_COMMAND) {
        this.#owner.onCommand(this.connection, start, size, this.outbox);
      } else this.fail(protocolError(`a message of type ${type}`));
      start += size;
    }
    this.#wakeWaiting();
    return this.outbox.take();
  }

  #onReply(received: DataView, start: number, size: number, flags: number): void {
    const pending = this.#match(received, start);
    if (pending === null) return;
    const about = this.#describe(pending);
    if (!pending.abandoned) {
      try {
        pending.resolve(this.#readReply(pending, received, start, size, flags, about));
      } catch (error) {
        pending.reject(error as Error);
      }
    }
    this.#pending.release(pending);
  }

  #readReply(
    pending: Pending,
    received: DataView,
    start: number,
    size: number,
    flags: number,
    about: string,
  ): unknown {
    if ((flags & VFIO_USER_FLAG_ERROR) !== 0) {
      const subject = about === '' && pending.count > 0 ? describeAccess(pending) : about;
      throw replyError(pending.command, received.getUint32(start + HEADER.error_no, true), subject);
    }
    const { connection } = this;
    pending.fds = NO_FDS;
    if (connection.fdCount > 0) {
      if (connection.surplusFds(start) > 0) {
        throw protocolError(`more fds than we said that we take (${this.#options.maxMessageFds})`);
      }
      if (pending.wantsFds) pending.fds = connection.takeFds(start);
    }
    const at = start + VFIO_USER_HEADER_SIZE;
    return pending.read(received, connection.receivedBytes, at, size - VFIO_USER_HEADER_SIZE, pending);
  }

  /** The request that a reply belongs to; null ends the connection, because then nothing can be trusted any more. */
  #match(header: DataView, start: number): Pending | null {
    const id = header.getUint16(start + HEADER.msg_id, true);
    const command = header.getUint16(start + HEADER.cmd, true);
    const pending = this.#pending.find(id);
    if (pending !== null && pending.command === command) return pending;
    const name = vfioUserCommandName(command);
    this.fail(
      protocolError(
        pending === null ? `a reply to no request (${name})` : `${name} in a reply to another command`,
      ),
    );
    return null;
  }

  /** What a request was about, in words that cost nothing unless somebody gave some. */
  #describe(pending: Pending): string {
    if (this.#about.size === 0) return '';
    const about = this.#about.get(pending.id) ?? '';
    this.#about.delete(pending.id);
    return about;
  }

  #onOversized(header: DataView): number {
    const size = header.getUint32(HEADER.msg_size, true);
    if (size > ABSURD_MESSAGE_BYTES) {
      const message = `${this.#options.address} does not speak vfio-user: a message claims ${size} bytes; check the address`;
      this.fail(new VfioError('EPROTO', message));
      return 0;
    }
    const flags = header.getUint32(HEADER.flags, true);
    if ((flags & VFIO_USER_FLAG_TYPE_MASK) === VFIO_USER_FLAG_TYPE_COMMAND) {
      this.#owner.onOversizedCommand(header, this.outbox);
      return this.outbox.take();
    }
    const pending = this.#match(header, 0);
    if (pending !== null) {
      this.#describe(pending);
      if (!pending.abandoned) pending.reject(protocolError(`a reply of ${size} bytes`));
      this.#pending.release(pending);
    }
    return this.outbox.take();
  }

  #wakeWaiting(): void {
    if (this.#onRoom.length === 0 || (this.#error === null && this.congested)) return;
    const waiting = this.#onRoom;
    this.#onRoom = [];
    for (const resolve of waiting) resolve();
  }

  #startTimer(): void {
    const { requestTimeoutMs } = this.#options;
    if (requestTimeoutMs === 0) return;
    this.#timer = setTimeout(() => this.#onTick(), requestTimeoutMs / TICKS_PER_TIMEOUT);
    this.#timer.unref();
  }

  #onTick(): void {
    this.#timer = null;
    this.#tick++;
    const { requestTimeoutMs, address } = this.#options;
    this.#pending.expire(this.#tick - TICKS_PER_TIMEOUT, (pending) => {
      const name = vfioUserCommandName(pending.command);
      const message = `${name}: ${address} has not answered for ${requestTimeoutMs} ms; it hangs or is overloaded`;
      pending.reject(new VfioError('ETIMEDOUT', message));
    });
    if (this.#pending.count > 0) this.#startTimer();
    // A server that reads but does not answer: nobody else would wake a large transfer that waits for room.
    this.#wakeWaiting();
  }
}

const NO_FDS: readonly number[] = [];

function readCopy(view: DataView, bytes: Uint8Array, at: number, length: number, pending: Pending): Reply {
  const payload = bytes.slice(at, at + length);
  void view;
  return { payload, view: new DataView(payload.buffer), fds: pending.fds };
}

function describeAccess(pending: Pending): string {
  return `region ${pending.region}, offset 0x${pending.offset.toString(16)}, ${pending.count} bytes`;
}

export { readNothing };
