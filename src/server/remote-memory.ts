/*
 * Client memory that came without an fd: DMA_READ and DMA_WRITE, the commands that go from server to client.
 *
 * They leave on the twin socket if there is one, else among the replies on the main socket. A few are under way at
 * once and the others wait in line, so that a slow client costs its own device time and nobody memory.
 *
 * A client without a twin socket may serve none of them while it waits for a reply (QEMU's vCPU waits under the lock
 * that serving them needs). So what a handler asks for leaves when its command is settled, and what the client unmaps or
 * resets away is given up instead of waited for.
 *
 * The first QEMU with vfio-user lays these messages out with a 32-bit count and pads the reply to the same size, so
 * nothing tells its reply from a right one whose first bytes are zero. Such a client is therefore refused when it
 * shows (EPROTO), never guessed at.
 */
import {
  ERRNO,
  readU64,
  VFIO_USER_DMA_READ,
  VFIO_USER_DMA_WRITE,
  VFIO_USER_FLAG_ERROR,
  VFIO_USER_HEADER_SIZE,
  writeU64,
} from '../abi/index.ts';
import type { DmaFaultReason } from '../core/index.ts';
import type { RemoteMemory } from '../memory/index.ts';
import {
  MAX_GIVEN_UP_REQUESTS,
  MAX_OUTSTANDING_BYTES,
  MAX_OUTSTANDING_REQUESTS,
  MAX_WAITING_REQUESTS,
} from './limits.ts';
import type { Outbox } from './outbox.ts';

/** Address and count, both u64. */
const ACCESS_BYTES = 16;
const ID_MASK = 0xffff;

interface Request {
  readonly command: number;
  readonly iova: number;
  readonly bytes: Uint8Array;
  readonly at: number;
  readonly length: number;
  readonly resolve: (result: number | DmaFaultReason) => void;
  /** The command whose handler asked for it before it returned; -1: nobody knows. */
  readonly askedBy: number;
  id: number;
  deadlineMs: number;
}

/** The commands that come through the same socket as the answers to these messages. */
export interface SharedSocket {
  /** Number of the command that is being handled at this moment; -1: none, this is other code of the device. */
  currentCommand(): number;
  /** A message is under way that no command's handler is known to have asked for. */
  onRequest(): void;
}

/** What a session needs to know about its DMA messages. */
export interface RemoteMemoryOptions {
  /** Largest count of one message: what both sides take. */
  readonly maxTransferBytes: number;
  readonly timeoutMs: number;
  /** Told what is wrong with the client's answers. */
  readonly complain: (text: string) => void;
  /** null: they go through a twin socket, and the client serves them at any time. */
  readonly shared: SharedSocket | null;
}

/** The client's memory by messages, for one session. */
export class MessageMemory implements RemoteMemory {
  readonly maxTransferBytes: number;

  readonly #outbox: Outbox;
  readonly #timeoutMs: number;
  readonly #complain: (text: string) => void;
  readonly #shared: SharedSocket | null;
  /** Ids of messages that were given up and not answered yet. */
  readonly #givenUp: Set<number> = new Set();
  readonly #outstanding: Request[] = [];
  readonly #waiting: Request[] = [];
  /** Those of `#outstanding` that a device asked for which was replaced: no command waits for them. */
  readonly #disowned: Set<Request> = new Set();
  #outstandingBytes = 0;
  #nextId = 0;
  #timer: NodeJS.Timeout | null = null;
  #refusal: DmaFaultReason | null = null;
  #closed = false;

  constructor(outbox: Outbox, options: RemoteMemoryOptions) {
    this.#outbox = outbox;
    this.maxTransferBytes = options.maxTransferBytes;
    this.#timeoutMs = options.timeoutMs;
    this.#complain = options.complain;
    this.#shared = options.shared;
  }

  /** Whether the session ended. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Requests of the present device without an answer, those in line included. */
  get pending(): number {
    return this.#outstanding.length - this.#disowned.size + this.#waiting.length;
  }

  read(iova: number, target: Uint8Array, at: number, length: number): Promise<number | DmaFaultReason> {
    return this.#request(VFIO_USER_DMA_READ, iova, target, at, length);
  }

  write(iova: number, source: Uint8Array, at: number, length: number): Promise<number | DmaFaultReason> {
    return this.#request(VFIO_USER_DMA_WRITE, iova, source, at, length);
  }

  /** A client that serves nothing while it waits for DMA_UNMAP's reply would never serve these. */
  unmapped(iova: number, size: number): void {
    if (this.#shared === null) return;
    this.#giveUp(
      (request) => request.iova < iova + size && iova < request.iova + request.length,
      'mapping is being removed',
    );
  }

  /** Sends what handlers asked for: the batch of their commands ends. */
  sendAsked(): void {
    if (this.#waiting.length > 0) this.#sendWaiting();
  }

  /** Whether the handler of that command asked for DMA that is not under way yet. */
  askedBy(command: number): boolean {
    return this.#waiting.some((request) => request.askedBy === command);
  }

  /** Refuses what the handler of that command asked for; returns how many requests. */
  refuse(command: number, reason: DmaFaultReason): number {
    return this.#giveUp((request) => request.askedBy === command && request.id < 0, reason);
  }

  /** Gives up everything and refuses whatever is asked for, until it is called with null. */
  refuseAll(reason: DmaFaultReason | null): void {
    this.#refusal = reason;
    if (reason !== null) this.#giveUp(() => true, reason);
  }

  /** The device is replaced: what it asked for and was not sent never is; what is under way may be answered. */
  disown(reason: DmaFaultReason): void {
    this.#refusal = null;
    for (const request of this.#waiting.splice(0)) request.resolve(reason);
    for (const request of this.#outstanding) this.#disowned.add(request);
  }

  /** Takes a reply that came on the socket that our commands leave on. One that nobody waits for is dropped. */
  onReply(view: DataView, bytes: Uint8Array, at: number, size: number): void {
    const request = this.#take(view.getUint16(at, true), view.getUint16(at + 2, true));
    if (request === null) {
      if (this.#givenUp.delete(view.getUint16(at, true))) return;
      this.#complain(`a reply with id ${view.getUint16(at, true)} that no request waits for: dropped`);
      return;
    }
    request.resolve(this.#accept(request, view, bytes, at, size));
    this.#sendWaiting();
  }

  /** A reply that is larger than any message may be: its body was never stored. */
  onOversizedReply(header: DataView): void {
    const request = this.#take(header.getUint16(0, true), header.getUint16(2, true));
    if (request === null) {
      this.#givenUp.delete(header.getUint16(0, true));
      return;
    }
    this.#complain(`a reply of ${header.getUint32(4, true)} bytes to a request for ${request.length}`);
    request.resolve(ERRNO.EMSGSIZE);
    this.#sendWaiting();
  }

  /** The session ended: whoever waits is told ENOTCONN. */
  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const requests = [...this.#outstanding.splice(0), ...this.#waiting.splice(0)];
    for (const request of requests) request.resolve(ERRNO.ENOTCONN);
  }

  #request(
    command: number,
    iova: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): Promise<number | DmaFaultReason> {
    if (this.#closed) return Promise.resolve(ERRNO.ENOTCONN);
    if (this.#refusal !== null) return Promise.resolve(this.#refusal);
    if (length > this.maxTransferBytes) return Promise.resolve(ERRNO.EMSGSIZE);
    if (this.#waiting.length >= MAX_WAITING_REQUESTS) return Promise.resolve(ERRNO.EAGAIN);
    const askedBy = this.#shared?.currentCommand() ?? -1;
    return new Promise((resolve) => {
      this.#waiting.push({ command, iova, bytes, at, length, resolve, askedBy, id: -1, deadlineMs: 0 });
      if (askedBy >= 0) return;
      this.#sendWaiting();
      this.#shared?.onRequest();
    });
  }

  /** Ends requests for `reason`, sent or not. A late answer is dropped without a word. */
  #giveUp(which: (request: Request) => boolean, reason: DmaFaultReason): number {
    const given = [...this.#outstanding, ...this.#waiting].filter(which);
    for (const request of given) {
      const line = this.#waiting.indexOf(request);
      if (line >= 0) this.#waiting.splice(line, 1);
      else if (this.#take(request.id, request.command) !== null) this.#forget(request.id);
      request.resolve(reason);
    }
    if (given.length > 0) this.#sendWaiting();
    return given.length;
  }

  #forget(id: number): void {
    this.#givenUp.add(id);
    if (this.#givenUp.size <= MAX_GIVEN_UP_REQUESTS) return;
    const [oldest] = this.#givenUp;
    this.#givenUp.delete(oldest!);
  }

  #sendWaiting(): void {
    for (let next = this.#waiting[0]; next !== undefined && this.#hasRoom(next); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#send(next);
    }
  }

  #hasRoom({ length }: Request): boolean {
    if (this.#outstanding.length >= MAX_OUTSTANDING_REQUESTS) return false;
    return this.#outstandingBytes === 0 || this.#outstandingBytes + length <= MAX_OUTSTANDING_BYTES;
  }

  #send(request: Request): void {
    const { command, iova, length } = request;
    if (!fits(request)) {
      request.resolve(ERRNO.EFAULT);
      return;
    }
    const dataBytes = command === VFIO_USER_DMA_WRITE ? length : 0;
    const start = this.#outbox.room(VFIO_USER_HEADER_SIZE + ACCESS_BYTES + dataBytes);
    const body = start + VFIO_USER_HEADER_SIZE;
    writeU64(this.#outbox.view, body, iova);
    writeU64(this.#outbox.view, body + 8, length);
    if (dataBytes > 0) {
      this.#outbox.bytes.set(request.bytes.subarray(request.at, request.at + length), body + ACCESS_BYTES);
    }
    request.id = this.#freeId();
    request.deadlineMs = performance.now() + this.#timeoutMs;
    this.#outstanding.push(request);
    this.#outstandingBytes += length;
    this.#outbox.claimCommand(start, request.id, command, ACCESS_BYTES + dataBytes);
    this.#outbox.settle();
    this.#timer ??= this.#wakeAt(request.deadlineMs);
  }

  /** Ids go round; one whose answer may still come is passed over. */
  #freeId(): number {
    do this.#nextId = (this.#nextId + 1) & ID_MASK;
    while (
      this.#givenUp.has(this.#nextId) ||
      this.#outstanding.some((request) => request.id === this.#nextId)
    );
    return this.#nextId;
  }

  #take(id: number, command: number): Request | null {
    const index = this.#outstanding.findIndex((request) => request.id === id && request.command === command);
    if (index < 0) return null;
    const [request] = this.#outstanding.splice(index, 1);
    this.#outstandingBytes -= request!.length;
    this.#disowned.delete(request!);
    return request!;
  }

  #accept(request: Request, view: DataView, bytes: Uint8Array, at: number, size: number): number {
    if ((view.getUint32(at + 8, true) & VFIO_USER_FLAG_ERROR) !== 0) {
      return view.getUint32(at + 12, true) || ERRNO.EIO;
    }
    const dataBytes = request.command === VFIO_USER_DMA_READ ? request.length : 0;
    const body = at + VFIO_USER_HEADER_SIZE;
    if (size !== VFIO_USER_HEADER_SIZE + ACCESS_BYTES + dataBytes) {
      this.#complain(`a reply of ${size} bytes to a request for ${request.length}: refused`);
      return ERRNO.EPROTO;
    }
    if (readU64(view, body) !== request.iova || readU64(view, body + 8) !== request.length) {
      this.#complain(
        'a reply with another address or count than asked for (32-bit counts are not spoken here)',
      );
      return ERRNO.EPROTO;
    }
    if (!fits(request)) return ERRNO.EFAULT;
    const from = body + ACCESS_BYTES;
    if (dataBytes > 0) request.bytes.set(bytes.subarray(from, from + dataBytes), request.at);
    return 0;
  }

  #wakeAt(deadlineMs: number): NodeJS.Timeout {
    const timer = setTimeout(() => this.#expire(), Math.max(0, deadlineMs - performance.now()));
    return timer.unref();
  }

  /** Ends what took too long; then those in line too, for this client does not answer. */
  #expire(): void {
    this.#timer = null;
    const nowMs = performance.now();
    const late = this.#outstanding.filter((request) => request.deadlineMs <= nowMs);
    for (const request of late) this.#take(request.id, request.command);
    if (late.length > 0) {
      this.#complain(`${late.length} DMA messages without an answer for ${this.#timeoutMs} ms: given up`);
      late.push(...this.#waiting.splice(0));
    }
    const next = this.#outstanding[0];
    if (next !== undefined) this.#timer = this.#wakeAt(next.deadlineMs);
    for (const request of late) request.resolve(ERRNO.ETIMEDOUT);
  }
}

/** A device's buffer may be gone by the time it is needed: a window whose memory was unmapped has length 0. */
function fits({ bytes, at, length }: Request): boolean {
  return at + length <= bytes.length;
}
