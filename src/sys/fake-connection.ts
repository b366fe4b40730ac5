/*
 * The framing of native/connection.cc once more, over FakeSocket: the same rules, written for tests rather than for speed.
 */
import { ERRNO, errnoName } from '../abi/errno.ts';
import {
  type ConnectionLimits,
  connectionLimits,
  HEADER_BYTES,
  MESSAGE_FDS_MAX,
} from './connection-options.ts';
import type { Description } from './fake-descriptor.ts';
import { dropReference, type FakeSocket } from './fake-socket.ts';
import { END_REASONS } from './native.ts';
import type { Connection, ConnectionHandler, ConnectionOptions } from './sys-layer.ts';

const SIZE_AT = 4;
const [PEER_CLOSED, , SEND_FAILED, BAD_SIZE, , QUEUE_FULL] = END_REASONS as [
  string,
  string,
  string,
  string,
  string,
  string,
];

/** What a connection needs of the table of fds. */
export interface FdTable {
  install(description: Description): number;
  description(fd: number): Description;
  close(fd: number): void;
}

interface Piece {
  bytes: Uint8Array;
  passed: readonly Description[];
}

interface MessageFds {
  start: number;
  fds: number[];
  surplus: number;
}

export class FakeConnection implements Connection {
  readonly fd: number;
  closed = false;
  readonly received: DataView;
  readonly receivedBytes: Uint8Array;
  readonly sending: DataView;
  readonly sendingBytes: Uint8Array;
  private readonly limits: ConnectionLimits;
  private readonly table: FdTable;
  private readonly socket: FakeSocket;
  private readonly handler: ConnectionHandler;
  private readonly onEnd: () => void;
  private readonly wake = (): void => this.schedule();
  private scheduled = false;
  private failure: { reason: string; errno: number } | null = null;
  private have = 0;
  private draining = 0;
  private held: MessageFds = { start: 0, fds: [], surplus: 0 };
  private batch: MessageFds[] = [];
  private readonly queue: Piece[] = [];
  private reading = true;

  constructor(
    table: FdTable,
    fd: number,
    socket: FakeSocket,
    options: ConnectionOptions,
    handler: ConnectionHandler,
    onEnd: () => void,
  ) {
    this.table = table;
    this.fd = fd;
    this.socket = socket;
    this.handler = handler;
    this.onEnd = onEnd;
    this.limits = connectionLimits(options);
    this.receivedBytes = new Uint8Array(this.limits.receiveBufferBytes);
    this.received = new DataView(this.receivedBytes.buffer);
    this.sendingBytes = new Uint8Array(this.limits.sendBufferBytes);
    this.sending = new DataView(this.sendingBytes.buffer);
    socket.watchers.add(this.wake);
    this.schedule();
  }

  get fdCount(): number {
    return this.batch.reduce((sum, each) => sum + each.fds.length, 0);
  }

  get queuedBytes(): number {
    return this.queue.reduce((sum, piece) => sum + piece.bytes.length, 0);
  }

  takeFds(start: number): number[] {
    return this.batch.filter((each) => each.start === start).flatMap((each) => each.fds.splice(0));
  }

  surplusFds(start: number): number {
    return this.batch.filter((each) => each.start === start).reduce((sum, each) => sum + each.surplus, 0);
  }

  send(length: number, fds: readonly number[] = []): void {
    if (this.closed || this.failure !== null || length === 0) return;
    if (fds.length > MESSAGE_FDS_MAX)
      throw new RangeError(`vfio: a message carries at most ${MESSAGE_FDS_MAX} fds`);
    let passed = fds.map((each) => this.table.description(each));
    const bytes = this.sendingBytes.subarray(0, length);
    let sent = this.queue.length === 0 ? this.socket.write(bytes, passed) : 0;
    if (sent < 0 && sent !== -ERRNO.EAGAIN) {
      this.fail(SEND_FAILED, -sent);
      return;
    }
    sent = Math.max(sent, 0);
    if (sent > 0) passed = [];
    if (sent === length) return;
    if (this.queuedBytes + length - sent > this.limits.sendQueueBytes) {
      this.fail(QUEUE_FULL, ERRNO.EAGAIN);
      return;
    }
    for (const each of passed) each.references++;
    this.queue.push({ bytes: bytes.slice(sent), passed });
  }

  setReading(on: boolean): void {
    this.reading = on;
    if (on) this.schedule();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.socket.watchers.delete(this.wake);
    for (const fd of this.held.fds.splice(0)) this.table.close(fd);
    for (const piece of this.queue.splice(0)) piece.passed.forEach(dropReference);
    this.table.close(this.fd);
    this.onEnd();
  }

  ref(): void {}

  unref(): void {}

  private schedule(): void {
    if (this.scheduled || this.closed) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      if (!this.closed) this.turn();
    });
  }

  private turn(): void {
    this.flush();
    if (this.failure !== null) {
      this.endAndTell(this.failure.reason, this.failure.errno);
      return;
    }
    const mayRead = this.reading && (this.queue.length === 0 || this.limits.readWhileBlocked);
    if (!mayRead || !this.socket.readable) return;
    this.schedule();
    this.receive();
  }

  private flush(): void {
    while (this.failure === null) {
      const piece = this.queue[0];
      if (piece === undefined) return;
      const sent = this.socket.write(piece.bytes, piece.passed);
      if (sent === -ERRNO.EAGAIN) return;
      if (sent < 0) {
        this.fail(SEND_FAILED, -sent);
        return;
      }
      piece.passed.forEach(dropReference);
      piece.passed = [];
      piece.bytes = piece.bytes.subarray(sent);
      if (piece.bytes.length === 0) this.queue.shift();
    }
  }

  private receive(): void {
    const count = this.socket.read(this.receivedBytes, this.have);
    const fresh = this.socket.arrived.map((each) => {
      const fd = this.table.install(each);
      each.references--;
      return fd;
    });
    if (count === 0) {
      this.endAndTell(PEER_CLOSED, 0);
    } else if (count > 0) {
      this.have += count;
      this.deliver(fresh);
    }
    for (const fd of fresh) this.table.close(fd);
  }

  /** `fresh` came with the bytes at the end: what is taken out of it here has found its message. */
  private deliver(fresh: number[]): void {
    while (!this.closed) {
      const part = Math.min(this.draining, this.have);
      this.draining -= part;
      this.dropFront(part);
      if (part > 0 && this.have === 0) return;
      const { end, last, bad } = this.complete();
      if (end > 0) {
        this.deliverMessages(end, last, fresh);
        if (this.closed) return;
        this.dropFront(end);
        if (this.have === 0) return;
      }
      if (bad === null) {
        this.assign(this.held, fresh.splice(0));
        return;
      }
      if (bad < HEADER_BYTES) {
        this.endAndTell(BAD_SIZE, ERRNO.EPROTO);
        return;
      }
      for (const fd of this.held.fds.splice(0)) this.table.close(fd);
      this.held.surplus = 0;
      this.draining = bad;
      this.tell(() => this.handler.onOversized(new DataView(this.received.buffer, 0, HEADER_BYTES)));
    }
  }

  private complete(): { end: number; last: number; bad: number | null } {
    let end = 0;
    let last = 0;
    while (this.have - end >= HEADER_BYTES) {
      const size = this.received.getUint32(end + SIZE_AT, true);
      if (size < HEADER_BYTES || size > this.limits.maxMessageBytes) return { end, last, bad: size };
      if (size > this.have - end) break;
      last = end;
      end += size;
    }
    return { end, last, bad: null };
  }

  private deliverMessages(end: number, last: number, fresh: number[]): void {
    const first = this.held;
    this.held = { start: 0, fds: [], surplus: 0 };
    const owner = last === 0 ? first : { start: last, fds: [], surplus: 0 };
    if (end === this.have) this.assign(owner, fresh.splice(0));
    this.batch = owner === first ? [first] : [first, owner];
    const batch = this.batch;
    try {
      this.tell(() => this.handler.onMessages(end));
    } finally {
      for (const fd of batch.flatMap((each) => each.fds)) this.table.close(fd);
      this.batch = [];
    }
  }

  private assign(message: MessageFds, fds: number[]): void {
    for (const fd of fds) {
      if (message.fds.length < this.limits.maxMessageFds) {
        message.fds.push(fd);
      } else {
        this.table.close(fd);
        message.surplus++;
      }
    }
  }

  private tell(handler: () => number): void {
    let length = 0;
    try {
      length = handler();
    } catch (error) {
      // as the live layer does: the exception is the program's, the stream goes on
      queueMicrotask(() => {
        throw error;
      });
    }
    if (length > 0) this.send(length);
  }

  private dropFront(length: number): void {
    this.receivedBytes.copyWithin(0, length, this.have);
    this.have -= length;
  }

  private fail(reason: string, errno: number): void {
    this.failure ??= { reason, errno };
    this.schedule();
  }

  private endAndTell(reason: string, errno: number): void {
    this.close();
    this.handler.onClose(errno === 0 ? reason : `${reason} (${errnoName(errno)})`, errno);
  }
}
