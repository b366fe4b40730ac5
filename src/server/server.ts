/*
 * A vfio-user server: one device on one UNIX socket, one client at a time. Several servers live in one process, each
 * with its device; what a client does to one of them, the others do not notice (R10).
 */
import { EventEmitter } from 'node:events';
import {
  errnoName,
  QEMU_MAX_DATA_XFER_SIZE,
  QEMU_MAX_MSG_FDS,
  VFIO_USER_DEFAULT_MAX_DATA_XFER_SIZE,
  VFIO_USER_DEFAULT_MAX_DMA_MAPS,
} from '../abi/index.ts';
import { assert, attempt, type ContainerOptions, type VfioDevice, VfioError } from '../core/index.ts';
import { attachMemory, ClientFiles, RegionRegistry } from '../memory/index.ts';
import { openSys } from '../sys/index.ts';
import type { SysLayer, Watcher } from '../sys/sys-layer.ts';
import {
  ARRIVAL_GRACE_MS,
  CLOSE_TIMEOUT_MS,
  DEFAULT_REPLY_TIMEOUT_MS,
  DEFAULT_REQUEST_TIMEOUT_MS,
  KERNEL_MESSAGE_FDS,
  MAX_LOGGED_ERRORS,
  MAX_REFUSALS,
  MAX_REPLY_TIMEOUT_MS,
  MIN_TRANSFER_BYTES,
  NEGOTIATION_TIMEOUT_MS,
} from './limits.ts';
import { inheritedSocket, listenAt } from './listen.ts';
import { type Logger, silent } from './logger.ts';
import type { ServerLimits } from './negotiate.ts';
import { PeerRegistry } from './peers.ts';
import { Refusal } from './refusal.ts';
import { carryState, checkLayout, type ReplacedState, withPatience } from './replacement.ts';
import { Session } from './session.ts';
import type {
  DroppedEvent,
  HandlerErrorEvent,
  ProtocolErrorEvent,
  SessionContext,
  SessionObserver,
  StallEvent,
} from './session-context.ts';
import type { Trace } from './trace.ts';

/** How a server is set up. One of `socketPath` and `fd` is needed to listen. */
export interface ServerOptions {
  /** The socket is made here; a socket file that nobody listens on any more is replaced. */
  readonly socketPath?: string;
  /** A UNIX socket that is there already, listening or connected to the one client. The server's from now on. */
  readonly fd?: number;
  /** Default: the operating system. */
  readonly sys?: SysLayer;
  /** Default: says nothing. */
  readonly log?: Logger;
  /** Told of every message of every session, for people who look into a conversation: see trace.ts and `traceLine`. */
  readonly trace?: Trace;
  /** After activity, look for more for this long before sleeping. Default 0. */
  readonly busyPollUs?: number;
  /** The thread is there for this device: see `ConnectionOptions.dedicated`. Default false; true in a worker. */
  readonly dedicated?: boolean;
  /** What the clients' IOMMU allows beyond the defaults. */
  readonly container?: Omit<ContainerOptions, 'limit' | 'pageSizes'>;
  /** Default: the one that all servers of the thread share. null: see peers.ts. */
  readonly peers?: PeerRegistry | null;
  /** How long a DMA message to the client may go without an answer. Default 5000. */
  readonly requestTimeoutMs?: number;
  /**
   * How long a handler may take before its command is answered without it: a write as done, a read with EIO, others with
   * ETIMEDOUT. Default 3000; keep it below the client's patience, which for QEMU is x-msg-timeout, 5000.
   */
  readonly replyTimeoutMs?: number;
  /** How long a client may take to say VERSION. Default 10,000. */
  readonly negotiationTimeoutMs?: number;
  /** Largest region access. Default 1 MiB; at most 64 MiB, or QEMU refuses the server. */
  readonly maxTransferBytes?: number;
  /** Fds in one message. Default 16, and QEMU refuses a server that says more. */
  readonly maxMessageFds?: number;
  /** Mappings of one client. Default 65535. */
  readonly maxDmaMaps?: number;
}

/** What a server tells. No event is needed for it to work. */
export interface ServerEvents {
  /** A client attached (VERSION was agreed on). */
  session: [session: Session];
  /** The session is over; `errno` 0 when the client left by itself. */
  close: [reason: string, errno: number];
  /** A client was turned away. */
  refused: [reason: string];
  'protocol-error': [event: ProtocolErrorEvent];
  'handler-error': [event: HandlerErrorEvent];
  /** A posted write that could not be done. */
  dropped: [event: DroppedEvent];
  /** The client could not wait for a handler. */
  stall: [event: StallEvent];
}

const servedDevices = new WeakSet<VfioDevice>();

/** Serves one device. */
export class VfioUserServer extends EventEmitter<ServerEvents> implements SessionObserver {
  readonly #options: ServerOptions;
  readonly #sys: SysLayer;
  readonly #log: Logger;
  readonly #context: SessionContext;
  readonly #refusals: Set<Refusal> = new Set();
  /** Clients that came while there is one, by fd: a client that comes back may be faster than the end of its old session. */
  readonly #arrivals: Map<number, NodeJS.Timeout> = new Map();
  #detachMemory: (() => void) | null = null;
  #listenFd = -1;
  #watcher: Watcher | null = null;
  #session: Session | null = null;
  /** The device is still at work for a client that has left. */
  #busy: Promise<void> | null = null;
  #replacing = false;
  /** Clients turned away since the last session began. */
  #refused = 0;
  #state: 'new' | 'listening' | 'closed' = 'new';

  constructor(device: VfioDevice, options: ServerOptions) {
    super();
    const { socketPath, fd } = options;
    assert((socketPath === undefined) !== (fd === undefined), 'a server needs either a socketPath or an fd');
    this.#options = options;
    this.#sys = options.sys ?? openSys();
    this.#log = options.log ?? silent;
    const sys = this.#sys;
    this.#context = {
      device,
      sys,
      log: this.#log,
      limits: checkedLimits(options),
      container: options.container ?? {},
      files: ClientFiles.of(sys),
      registry: RegionRegistry.of(sys),
      peers: options.peers === undefined ? PeerRegistry.shared : options.peers,
      requestTimeoutMs: options.requestTimeoutMs ?? DEFAULT_REQUEST_TIMEOUT_MS,
      replyTimeoutMs: checkedReplyTimeout(options),
      negotiationTimeoutMs: options.negotiationTimeoutMs ?? NEGOTIATION_TIMEOUT_MS,
      busyPollUs: options.busyPollUs ?? 0,
      dedicated: options.dedicated ?? false,
      observer: this,
      trace: options.trace ?? null,
    };
  }

  /** The instance that is served now: see `replaceDevice`. */
  get device(): VfioDevice {
    return this.#context.device;
  }

  /** The client's session, from its connection on; null when there is none. */
  get session(): Session | null {
    return this.#session;
  }

  /** Starts to serve. Rejects with EADDRINUSE if another server has the socket, ENODEV if the device was released. */
  async listen(): Promise<void> {
    assert(this.#state === 'new', 'a server listens once; make another one');
    assert(!servedDevices.has(this.device), `${this.device.name} has a server already; close that first`);
    servedDevices.add(this.device);
    try {
      this.#detachMemory = attachMemory(this.device, this.#sys, {
        onLost: (region) =>
          this.#log('warn', `${this.device.name}: the client took away memory of ${region.name}`),
      });
      const { socketPath, fd } = this.#options;
      this.#listenFd =
        socketPath === undefined ? inheritedSocket(this.#sys, fd!) : listenAt(this.#sys, socketPath);
      this.#watcher = this.#sys.watch(this.#listenFd, () => this.#onReadable());
      this.#state = 'listening';
    } catch (error) {
      await this.close();
      throw error;
    }
    this.#log(
      'info',
      `${this.device.name}: listening on ${this.#options.socketPath ?? `fd ${this.#listenFd}`}`,
    );
  }

  /**
   * Serves `next` instead of the present device, under the client that is attached: its session, the memory that it maps,
   * its interrupts, its DMA mappings and what it wrote to config space stay. It sees a reset, or nothing where both classes
   * override `saveState`. The old device may finish its command for a second; then it is cut off, told `closed`, and
   * released.
   *
   * The old device goes on, and `next` stays the caller's, when this rejects: LayoutError, `next` is another device in the
   * eyes of a client; EINVAL, `saveState` or `restoreState` threw; ENODEV, the old device or `next` was released, or the
   * server closed.
   */
  async replaceDevice(next: VfioDevice): Promise<ReplacedState> {
    assert(!this.#replacing, 'a replacement is under way; await it first');
    assert(!servedDevices.has(next), `${next.name} is served already; make a new instance`);
    this.#assertReplaceable(next);
    checkLayout(this.device, next);
    this.#replacing = true;
    try {
      await withPatience(() => this.#session?.slow.awaitReplacement() ?? this.#busy ?? this.device.resetting);
      this.#assertReplaceable(next);
      return this.#replace(next);
    } finally {
      this.#replacing = false;
      this.#session?.slow.goOn();
    }
  }

  /** Ends the session and the socket. The device is left to its owner. A second call does nothing. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#stopListening();
    for (const fd of [...this.#arrivals.keys()]) this.#sys.close(this.#leaveArrivals(fd));
    for (const refusal of [...this.#refusals]) refusal.close();
    this.#session?.end('the server was closed', 0);
    await this.#deviceDone();
    this.#detachMemory?.();
    this.#detachMemory = null;
    servedDevices.delete(this.device);
  }

  /** @internal */
  opened(): void {
    const session = this.#session!;
    this.#refused = 0;
    this.#log('info', `${this.device.name}: client attached (pid ${session.peerPid ?? 'unknown'})`);
    this.emit('session', session);
  }

  /** @internal */
  protocolError(event: ProtocolErrorEvent): void {
    this.emit('protocol-error', event);
  }

  /** @internal */
  handlerError(event: HandlerErrorEvent): void {
    this.emit('handler-error', event);
  }

  /** @internal */
  dropped(event: DroppedEvent): void {
    this.emit('dropped', event);
  }

  /** @internal */
  stalled(event: StallEvent): void {
    this.emit('stall', event);
  }

  /** @internal */
  ended(reason: string, errno: number, busy: Promise<void> | null): void {
    this.#session = null;
    this.#busy = busy;
    void busy?.then(() => {
      if (this.#busy === busy) this.#busy = null;
    });
    const why = errno === 0 ? reason : `${reason} (${errnoName(errno)})`;
    this.#log(errno === 0 ? 'info' : 'warn', `${this.device.name}: session ended: ${why}`);
    this.emit('close', reason, errno);
    const next = this.#arrivals.keys().next();
    if (!next.done && this.#state === 'listening') this.#begin(this.#leaveArrivals(next.value));
  }

  #assertReplaceable(next: VfioDevice): void {
    if (this.#state !== 'listening') {
      throw new VfioError('ENODEV', `${this.device.name} is not served; listen first`);
    }
    for (const device of [this.device, next]) {
      if (!device.released) continue;
      throw new VfioError('ENODEV', `${device.name} was released, which is final; serve a new device`);
    }
  }

  /** All at once: between two messages of the client, which may be another one by now. */
  #replace(next: VfioDevice): ReplacedState {
    const old = this.device;
    const session = this.#session;
    const state = carryState(old, next);
    const errors: unknown[] = [];
    session?.cutOff(errors);
    attempt(() => {
      next.takeOver(old, { carried: state === 'carried', attached: session?.attached ?? false });
    }, errors);
    this.#context.device = next;
    this.#busy = null;
    servedDevices.delete(old);
    servedDevices.add(next);
    session?.replaceDevice(old, errors);
    for (const error of errors) this.handlerError({ during: 'the replacement of the device', error });
    this.#log('info', `${next.name}: a new instance took over (${state})`);
    return state;
  }

  /** Waits until the device is done with its last command, but not for ever: its memory goes next. */
  async #deviceDone(): Promise<void> {
    if (this.#busy === null) return;
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_TIMEOUT_MS);
    });
    await Promise.race([this.#busy, patience]);
    clearTimeout(timer);
  }

  #stopListening(): void {
    this.#watcher?.close();
    this.#watcher = null;
    if (this.#listenFd < 0) return;
    const { socketPath } = this.#options;
    if (socketPath !== undefined) this.#sys.unlink(socketPath);
    this.#sys.close(this.#listenFd);
    this.#listenFd = -1;
  }

  /** A client waits. One at a time: the fd may be blocking, and the watcher tells again if there are more. */
  #onReadable(): void {
    let fd: number;
    try {
      fd = this.#sys.accept(this.#listenFd);
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      if (error.code === 'EINVAL' && this.#options.fd !== undefined) this.#serveConnected();
      else this.#log('error', `${this.device.name}: a client could not be accepted: ${error.message}`);
      return;
    }
    if (fd < 0) return;
    if (this.#session === null) this.#begin(fd);
    else this.#arrive(fd);
  }

  /** The fd that we were given is no listener but the client's connection itself. */
  #serveConnected(): void {
    this.#watcher?.close();
    this.#watcher = null;
    const fd = this.#listenFd;
    this.#listenFd = -1;
    this.#begin(fd);
  }

  #begin(fd: number): void {
    try {
      this.#session = new Session(fd, this.#context, this.#pidOf(fd), this.#busy);
    } catch (error) {
      // No room for its buffers: the client goes, the server stays.
      this.#sys.close(fd);
      this.#log('error', `${this.device.name}: a client could not be served: ${(error as Error).message}`);
    }
  }

  #pidOf(fd: number): number | null {
    try {
      const { pid } = this.#sys.peerCredentials(fd);
      return pid > 0 ? pid : null;
    } catch {
      return null;
    }
  }

  /** There is a client already: either it is about to be gone, or the new one is refused. */
  #arrive(fd: number): void {
    if (this.#arrivals.size + this.#refusals.size >= MAX_REFUSALS) {
      this.#sys.close(fd);
      this.#tellRefused('too many clients at once');
      return;
    }
    const timer = setTimeout(() => {
      const refusal = new Refusal(this.#leaveArrivals(fd), this.#sys, () => this.#refusals.delete(refusal));
      this.#refusals.add(refusal);
      this.#tellRefused(`${this.device.name} has a client already`);
    }, ARRIVAL_GRACE_MS);
    this.#arrivals.set(fd, timer);
  }

  #leaveArrivals(fd: number): number {
    clearTimeout(this.#arrivals.get(fd));
    this.#arrivals.delete(fd);
    return fd;
  }

  #tellRefused(reason: string): void {
    this.#refused += 1;
    if (this.#refused <= MAX_LOGGED_ERRORS) this.#log('warn', `client refused: ${reason}`);
    this.emit('refused', reason);
  }
}

function checkedReplyTimeout({ replyTimeoutMs = DEFAULT_REPLY_TIMEOUT_MS }: ServerOptions): number {
  assert(
    replyTimeoutMs >= 1 && replyTimeoutMs <= MAX_REPLY_TIMEOUT_MS,
    `replyTimeoutMs ${replyTimeoutMs}; use 1 to ${MAX_REPLY_TIMEOUT_MS}, below 5000 for QEMU`,
  );
  return replyTimeoutMs;
}

function checkedLimits(options: ServerOptions): ServerLimits {
  const maxTransferBytes = options.maxTransferBytes ?? VFIO_USER_DEFAULT_MAX_DATA_XFER_SIZE;
  const maxMessageFds = options.maxMessageFds ?? QEMU_MAX_MSG_FDS;
  const maxDmaMaps = options.maxDmaMaps ?? VFIO_USER_DEFAULT_MAX_DMA_MAPS;
  assert(
    maxTransferBytes >= MIN_TRANSFER_BYTES && maxTransferBytes <= QEMU_MAX_DATA_XFER_SIZE,
    `maxTransferBytes ${maxTransferBytes}; use ${MIN_TRANSFER_BYTES} to ${QEMU_MAX_DATA_XFER_SIZE}`,
  );
  assert(
    maxMessageFds >= 1 && maxMessageFds <= KERNEL_MESSAGE_FDS,
    `maxMessageFds ${maxMessageFds}; use 1 to ${KERNEL_MESSAGE_FDS}`,
  );
  assert(
    maxDmaMaps >= 1 && maxDmaMaps <= VFIO_USER_DEFAULT_MAX_DMA_MAPS,
    `maxDmaMaps ${maxDmaMaps}; use 1 to 65535`,
  );
  return { maxTransferBytes, maxMessageFds, maxDmaMaps };
}
