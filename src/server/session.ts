/*
 * A session: one client's connection to one device, from accept() to the end. It takes the messages of the connection in
 * order, hands each to the part that knows it, and sees that every command is answered exactly once, or not at all when
 * the client wants no reply.
 *
 * One command at a time: while a handler's promise is pending, later commands wait in the queue; replies to our own DMA
 * messages do not, because the handler may be waiting for just them. Whatever a client sends, the worst that follows is
 * the end of its session (R10).
 *
 * But no client waits for ever. One without a twin socket may answer no DMA message before it has its reply, so a write
 * whose handler needs one is answered at once (posted) and its handler goes on in the background. Whatever else takes too
 * long is answered for the device (slow-commands.ts).
 */
import {
  ERRNO,
  VFIO_USER_FLAG_NO_REPLY,
  VFIO_USER_FLAG_TYPE_COMMAND,
  VFIO_USER_FLAG_TYPE_MASK,
  VFIO_USER_FLAG_TYPE_REPLY,
  VFIO_USER_HEADER_SIZE,
  VFIO_USER_REGION_READ,
  VFIO_USER_REGION_WRITE,
  VFIO_USER_REGION_WRITE_MULTI,
  VFIO_USER_VERSION,
  vfioUserCommandName,
} from '../abi/index.ts';
import {
  type AccessResult,
  type Container,
  type MaybePromise,
  type VfioDevice,
  VfioError,
} from '../core/index.ts';
import type { FileShares } from '../memory/index.ts';
import type { Connection, ConnectionHandler } from '../sys/sys-layer.ts';
import { Attachment } from './attachment.ts';
import { Background } from './background.ts';
import { CommandQueue } from './command-queue.ts';
import { connectionOptions } from './connection-options.ts';
import { ABSURD_MESSAGE_BYTES, CONGESTION_POLL_MS, SLICE_BYTES, TURN_MS } from './limits.ts';
import { Message, NO_FDS } from './message.ts';
import { encodeVersion, type Negotiated, negotiate, parseVersion } from './negotiate.ts';
import { Outbox } from './outbox.ts';
import { isRegionAccess, RegionAccess } from './region-access.ts';
import { MessageMemory } from './remote-memory.ts';
import { SessionReport } from './report.ts';
import type { SessionContext } from './session-context.ts';
import { SlowCommands } from './slow-commands.ts';
import { type TracedMessage, Tracer } from './trace.ts';
import { TwinSocket } from './twin-socket.ts';

/** Stands for the command of a message that takes the long way; no command has this number. */
const NOT_SHORT = -1;
/** The largest errno that Linux has. */
const MAX_ERRNO = 4095;

/** One client, one device. */
export class Session implements ConnectionHandler {
  /** Process at the other end (SO_PEERCRED); null if unknown. */
  readonly peerPid: number | null;
  /** What went wrong so far. */
  readonly report: SessionReport;
  /** Commands handled, refused ones included. */
  commands = 0;

  readonly #context: SessionContext;
  readonly #connection: Connection;
  readonly #received: DataView;
  readonly #receivedBytes: Uint8Array;
  readonly #outbox: Outbox;
  readonly #tracer: Tracer | null;
  readonly #queue: CommandQueue;
  readonly #shares: FileShares;
  readonly #access: RegionAccess;
  readonly #slow: SlowCommands;
  readonly #negotiationTimer: NodeJS.Timeout;
  #message: Message;
  #attachment: Attachment | null = null;
  #twin: TwinSocket | null = null;
  /** How many things later commands have to wait for: the device at work, a client that does not read. */
  #holds = 0;
  /** See `#decideReady`. */
  #ready = false;
  #slowed = false;
  #resting = false;
  #ended = false;

  /**
   * Takes over the connected socket `fd`.
   * @param after the device is still at work for the client before: commands wait until it is done
   */
  constructor(fd: number, context: SessionContext, peerPid: number | null, after: Promise<void> | null) {
    const { device, sys, limits } = context;
    this.#context = context;
    this.report = new SessionReport(context, context.log, context.observer);
    this.peerPid = peerPid;
    this.#connection = sys.connection(fd, connectionOptions(context), this);
    this.#received = this.#connection.received;
    this.#receivedBytes = this.#connection.receivedBytes;
    this.#tracer = this.#newTracer('main');
    this.#outbox = new Outbox(this.#connection, this.#tracer, () => this.#slowDown());
    this.#message = new Message(sys, this.#outbox);
    this.#shares = context.files.newShares();
    this.#queue = new CommandQueue(sys, this.#shares.fds);
    const { report } = this;
    const background = new Background({
      dropped: ({ regionIndex, offset, count }, errno) => report.dropped(regionIndex, offset, count, errno),
      threw: (_range, error) => report.handlerFailed('a posted REGION_WRITE', error),
      changed: () => this.#decideReady(),
    });
    this.#access = new RegionAccess(
      device,
      this.#outbox,
      background,
      limits.maxTransferBytes,
      (regionIndex, offset, count, errno) => report.dropped(regionIndex, offset, count, errno),
    );
    this.#slow = this.#slowCommands(this.#access, background);
    this.#negotiationTimer = setTimeout(() => {
      this.end(`no VERSION for ${context.negotiationTimeoutMs} ms`, ERRNO.ETIMEDOUT);
    }, context.negotiationTimeoutMs).unref();
    if (after !== null) this.#slow.waitFor(after, () => this.#refuseBusy());
  }

  /** The client's IOMMU; null before VERSION and after the end. */
  get container(): Container | null {
    return this.#attachment?.container ?? null;
  }

  /** @internal Whether VERSION was agreed on. */
  get attached(): boolean {
    return this.#attachment !== null;
  }

  /** @internal Resolves when no handler of the device is at work; null: that is so now. */
  busy(): Promise<void> | null {
    return this.#slow.busy();
  }

  /** @internal What the device is at. */
  get slow(): SlowCommands {
    return this.#slow;
  }

  /** @internal The device is about to be replaced: it reaches no memory of the client any more, its late answers nobody. */
  cutOff(errors: unknown[]): void {
    this.#slow.abandon(errors);
    this.#attachment?.cutOff(errors);
  }

  /** @internal The context's device has taken the place of `old`: the client goes on with it. */
  replaceDevice(old: VfioDevice, errors: unknown[]): void {
    this.#access.replaceDevice(this.#context.device);
    this.#attachment?.replaceDevice(old, errors);
  }

  /** Ends the session: the client is cut off, everything of it is freed, the device keeps its state. */
  end(reason: string, errno: number): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#ready = false;
    clearTimeout(this.#negotiationTimer);
    this.#outbox.flush();
    this.#connection.close();
    this.#twin?.close();
    this.#message.dropFds();
    this.#queue.clear();
    const errors: unknown[] = [];
    this.#attachment?.close(errors);
    this.#attachment = null;
    for (const error of errors) this.report.handlerFailed('the end of the session', error);
    this.#context.observer.ended(reason, errno, this.#slow.close());
  }

  onMessages(end: number): number {
    this.#outbox.beginBatch();
    const at = this.#serve(0, Math.min(end, SLICE_BYTES));
    if (at < end) this.#serveOn(at, end);
    this.#attachment?.remote.sendAsked();
    return this.#outbox.endBatch();
  }

  onOversized(header: DataView): number {
    const sizeBytes = header.getUint32(4, true);
    if (sizeBytes > ABSURD_MESSAGE_BYTES) {
      this.end(`a message claims ${sizeBytes} bytes; this is not vfio-user`, ERRNO.EPROTO);
      return 0;
    }
    this.#outbox.beginBatch();
    this.#tracer?.receivedHeader(header);
    const type = header.getUint32(8, true) & VFIO_USER_FLAG_TYPE_MASK;
    if (this.#attachment !== null && this.#twin === null && type === VFIO_USER_FLAG_TYPE_REPLY) {
      this.#attachment.remote.onOversizedReply(header);
    } else {
      const bytes = new Uint8Array(VFIO_USER_HEADER_SIZE);
      for (let i = 0; i < bytes.length; i++) bytes[i] = header.getUint8(i);
      this.#command(new DataView(bytes.buffer), bytes, 0, NO_FDS);
    }
    this.#attachment?.remote.sendAsked();
    return this.#outbox.endBatch();
  }

  onClose(reason: string, errno: number): void {
    this.end(reason, errno);
  }

  /** Serves the rest of a batch, or puts it off when it takes long: a client sends thousands of messages at once. */
  #serveOn(from: number, end: number): void {
    const until = performance.now() + TURN_MS;
    for (let at = from; at < end; ) {
      at = this.#serve(at, Math.min(end, at + SLICE_BYTES));
      if (at < end && performance.now() > until) this.#rest();
    }
  }

  /**
   * Serves messages from `from` on until `end`, or past the first that does not take the short way or throws; returns where
   * to go on.
   */
  #serve(from: number, end: number): number {
    const view = this.#received;
    const access = this.#access;
    let at = from;
    try {
      while (at < end) {
        if (this.#ended) return end;
        const size = view.getUint32(at + 4, true);
        const flags = view.getUint32(at + 8, true);
        const short = this.#ready && (flags & ~VFIO_USER_FLAG_NO_REPLY) === 0;
        const noReply = flags !== 0;
        switch (short ? view.getUint16(at + 2, true) : NOT_SHORT) {
          case VFIO_USER_REGION_WRITE:
            this.#accessed(access.write(view, at, size, noReply), at);
            break;
          case VFIO_USER_REGION_READ:
            this.#accessed(access.read(view, at, size, noReply), at);
            break;
          case VFIO_USER_REGION_WRITE_MULTI:
            this.#accessed(access.writeMulti(view, at, size, noReply), at);
            break;
          default:
            this.#receive(at, flags);
            return at + size;
        }
        at += size;
      }
      return at;
    } catch (error) {
      // Only a region access of the short way throws, by a handler of the device: answer it, and serve the next ones.
      this.commands += 1;
      this.#message.set(view, this.#receivedBytes, at, NO_FDS);
      this.#threw(error);
      return at + view.getUint32(at + 4, true);
    }
  }

  #accessed(result: AccessResult, at: number): void {
    this.commands += 1;
    if (result === 0) return;
    this.#message.set(this.#received, this.#receivedBytes, at, NO_FDS);
    this.#settle(result, this.commands - 1);
  }

  /** Any message that does not take the short way. */
  #receive(at: number, flags: number): void {
    const view = this.#received;
    const type = flags & VFIO_USER_FLAG_TYPE_MASK;
    if (type === VFIO_USER_FLAG_TYPE_REPLY) {
      this.#traceReceived(at, 0);
      this.#reply(at);
      return;
    }
    const connection = this.#connection;
    const fds = connection.fdCount === 0 ? NO_FDS : connection.takeFds(at);
    const surplus = connection.fdCount === 0 ? 0 : connection.surplusFds(at);
    this.#traceReceived(at, fds.length + surplus);
    if (type === VFIO_USER_FLAG_TYPE_COMMAND && surplus === 0) {
      this.#command(view, this.#receivedBytes, at, fds);
      return;
    }
    // Not through #message: a command that takes time may still need it.
    for (const fd of fds) this.#context.sys.discard(fd);
    const { maxMessageFds } = this.#context.limits;
    const what = surplus > 0 ? `it came with more than ${maxMessageFds} fds` : `its type is ${type}`;
    const command = view.getUint16(at + 2, true);
    this.report.refused(command, ERRNO.EINVAL, what);
    if ((flags & VFIO_USER_FLAG_NO_REPLY) === 0) {
      this.#outbox.error(view.getUint16(at, true), command, ERRNO.EINVAL);
    }
    if (this.#attachment === null) this.end(`no VERSION: ${what}`, ERRNO.EINVAL);
  }

  /** A reply on the main socket: to a DMA message of ours, unless those go through the twin socket. */
  #reply(at: number): void {
    const view = this.#received;
    if (this.#attachment === null || this.#twin !== null) {
      this.report.complain(
        `a reply with id ${view.getUint16(at, true)} on a socket without our commands: dropped`,
      );
      return;
    }
    const size = view.getUint32(at + 4, true);
    try {
      this.#attachment.remote.onReply(view, this.#receivedBytes, at, size);
    } catch (error) {
      this.report.handlerFailed('a DMA message', error);
    }
  }

  /** A command: now, or when nothing holds any more. `fds` are ours. */
  #command(view: DataView, bytes: Uint8Array, at: number, fds: readonly number[]): void {
    if (this.#holds === 0) {
      this.#run(view, bytes, at, fds);
      return;
    }
    const end = Math.min(at + view.getUint32(at + 4, true), bytes.length);
    if (this.#queue.push(bytes.slice(at, end), fds)) return;
    this.end(`too many commands behind ${vfioUserCommandName(this.#message.command)}`, ERRNO.ENOBUFS);
  }

  #run(view: DataView, bytes: Uint8Array, at: number, fds: readonly number[]): void {
    const message = this.#message;
    message.set(view, bytes, at, fds);
    try {
      if (message.at + message.size > bytes.length) {
        this.#refuse(ERRNO.EINVAL, `it has ${message.size} bytes, more than a message may have`);
      } else this.#settle(this.#handle(message), this.commands);
    } catch (error) {
      this.#threw(error);
    }
    this.commands += 1;
    message.dropFds();
  }

  #handle(message: Message): MaybePromise<number> {
    if (this.#attachment === null) return this.#negotiate(message);
    const handler = this.#attachment.handlers[message.command];
    if (handler !== undefined) return handler(message);
    const again =
      message.command === VFIO_USER_VERSION ? 'VERSION was agreed on already' : 'it is not supported';
    throw new VfioError('EINVAL', again);
  }

  #negotiate(message: Message): number {
    if (message.command !== VFIO_USER_VERSION) throw new VfioError('EINVAL', 'it came before VERSION');
    const payload = message.bytes.subarray(message.body, message.at + message.size);
    const reply = negotiate(parseVersion(payload), this.#context.limits);
    this.#attach(reply.negotiated);
    const twin = this.#twin;
    message.replyWithFds(encodeVersion(reply), twin === null ? NO_FDS : [twin.clientFd]);
    twin?.sent();
    return 0;
  }

  #attach(negotiated: Negotiated): void {
    const context = this.#context;
    if (negotiated.twinSocket) this.#twin = this.#openTwin();
    const remote = new MessageMemory(this.#twin?.outbox ?? this.#outbox, {
      maxTransferBytes: Math.min(negotiated.clientTransferBytes, context.limits.maxTransferBytes),
      timeoutMs: context.requestTimeoutMs,
      complain: (text) => this.report.complain(text),
      shared:
        this.#twin !== null
          ? null
          : {
              currentCommand: () => (this.#outbox.batching ? this.commands : -1),
              onRequest: () => this.#slow.dmaUnderWay(),
            },
    });
    this.#attachment = new Attachment(context, negotiated, this.#access, remote, this.#shares, this.peerPid);
    clearTimeout(this.#negotiationTimer);
    this.#decideReady();
    try {
      this.#attachment.open();
    } catch (error) {
      this.#attachment.close([]);
      this.#attachment = null;
      throw error;
    }
    context.observer.opened();
  }

  #openTwin(): TwinSocket {
    return new TwinSocket(this.#context.sys, connectionOptions(this.#context), this.#newTracer('twin'), {
      onReply: (view, bytes, at, size) => this.#attachment?.remote.onReply(view, bytes, at, size),
      onOversizedReply: (header) => this.#attachment?.remote.onOversizedReply(header),
      onClose: (reason, errno) => this.end(reason, errno),
    });
  }

  #newTracer(socket: TracedMessage['socket']): Tracer | null {
    const { trace } = this.#context;
    if (trace === null) return null;
    return new Tracer(trace, this.#context, socket, (error) => this.report.handlerFailed('a trace', error));
  }

  #traceReceived(at: number, fds: number): void {
    if (this.#tracer === null) return;
    this.#tracer.received(this.#receivedBytes, at, this.#received.getUint32(at + 4, true), fds);
  }

  /** `number` is the command's, as DMA requests know it. */
  #settle(result: MaybePromise<number>, number: number): void {
    if (typeof result !== 'number') this.#slow.take(this.#message, result, number);
    else if (result !== 0) this.#refuse(result, 'it is malformed or out of range');
  }

  #slowCommands(access: RegionAccess, background: Background): SlowCommands {
    return new SlowCommands({
      access,
      background,
      report: this.report,
      replyTimeoutMs: this.#context.replyTimeoutMs,
      sharedDma: () => (this.#twin === null ? (this.#attachment?.remote ?? null) : null),
      hold: () => this.#hold(),
      letGo: (answer) => this.#letGo(answer),
      refuse: (errno, text) => this.#refuse(errno, text),
      threw: (error) => this.#threw(error),
      leaveMessage: () => {
        this.#message = new Message(this.#context.sys, this.#outbox);
      },
      end: (reason, errno) => this.end(reason, errno),
    });
  }

  /** The device is not done with its last client and perhaps never will be. */
  #refuseBusy(): void {
    const first = this.#queue.shift();
    if (first !== undefined) {
      this.#message.set(new DataView(first.bytes.buffer), first.bytes, 0, first.fds);
      this.#message.fail(ERRNO.EBUSY);
    }
    this.end('the device is still at work for the client before', ERRNO.EBUSY);
  }

  /** Commands wait until the client has read most of what it asked for. */
  async #slowDown(): Promise<void> {
    if (this.#slowed) return;
    this.#slowed = true;
    this.#hold();
    for (let look = 0; this.#outbox.congested && !this.#ended; look++) {
      const ms = CONGESTION_POLL_MS[look] ?? CONGESTION_POLL_MS.at(-1);
      await new Promise((resolve) => setTimeout(resolve, ms).unref());
    }
    this.#slowed = false;
    this.#letGo(() => {});
  }

  /** The others get their turn: what is left waits in the queue, and what is not read yet in the socket. */
  #rest(): void {
    if (this.#resting || this.#ended) return;
    this.#resting = true;
    this.#hold();
    this.#connection.setReading(false);
    setImmediate(() => {
      this.#resting = false;
      this.#letGo(() => {});
    });
  }

  /** Region accesses take the short way if a client is attached, nothing holds, nobody traces and no write is in the background. */
  #decideReady(): void {
    const free = this.#holds === 0 && this.#slow.backgroundSize === 0 && this.#tracer === null;
    this.#ready = free && this.#attachment !== null;
  }

  #hold(): void {
    this.#holds += 1;
    this.#ready = false;
  }

  /** One hold less. With the last, the commands that came meanwhile are next. */
  #letGo(answer: () => void): void {
    this.#holds -= 1;
    if (this.#ended) return;
    this.#outbox.beginBatch();
    answer();
    const until = performance.now() + TURN_MS;
    while (this.#holds === 0 && !this.#ended) {
      const next = this.#queue.shift();
      if (next === undefined) break;
      const { bytes } = next;
      this.#run(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), bytes, 0, next.fds);
      if (this.#queue.length > 0 && performance.now() > until) this.#rest();
    }
    // A command that takes its time may wait for replies that come through this socket.
    if (!this.#resting) this.#connection.setReading(true);
    this.#decideReady();
    this.#attachment?.remote.sendAsked();
    this.#outbox.finishBatch();
  }

  /** Answers the present command with an error. */
  #refuse(errno: number, text: string): void {
    const { command } = this.#message;
    let answered = errno;
    if (!(Number.isInteger(errno) && errno > 0 && errno <= MAX_ERRNO)) {
      this.report.handlerFailed(vfioUserCommandName(command), new TypeError(`${errno} is no errno`));
      answered = ERRNO.EIO;
      // A refused access is a guest's mistake more often than a client's: no more than an errno.
    } else if (errno === ERRNO.EINVAL || !isRegionAccess(command)) this.report.refused(command, errno, text);
    this.#message.fail(answered);
    if (this.#attachment === null) this.end(`${vfioUserCommandName(command)} refused: ${text}`, answered);
  }

  /** Answers the present command after something threw. */
  #threw(error: unknown): void {
    if (this.#ended) return;
    if (error instanceof VfioError) {
      this.#refuse(error.errno, error.message);
      return;
    }
    this.report.handlerFailed(vfioUserCommandName(this.#message.command), error);
    this.#message.fail(ERRNO.EIO);
    if (this.#attachment === null) this.end('VERSION failed', ERRNO.EIO);
  }
}
