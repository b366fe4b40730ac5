/*
 * A vfio-user client that knows nothing but frames: it sends the bytes it is told to send over a real UNIX socket and
 * keeps what comes back. Requests are written by hand in the tests.
 */
import { type Connection, type ConnectionHandler, openSys, type SysLayer } from '../../src/sys/index.ts';
import { concat, read, text, u16, u32, u64 } from './bytes.ts';

export const NO_REPLY = 0x10;
export const REPLY = 1;
export const ERROR = 0x20;

/** A message as it came: a reply, or a command of the server. */
export interface Received {
  readonly id: number;
  readonly command: number;
  readonly flags: number;
  readonly errno: number;
  readonly body: Uint8Array;
  /** The receiver's to close. */
  readonly fds: readonly number[];
}

/** How the connection ended. */
export interface Ended {
  readonly reason: string;
  readonly errno: number;
}

/** A message with its header, by hand. */
export function message(command: number, id: number, body: Uint8Array, flags = 0, errno = 0): Uint8Array {
  return concat(u16(id), u16(command), u32(16 + body.length), u32(flags), u32(errno), body);
}

/** The payload of a VERSION request. */
export function version(json: string | null, major = 0, minor = 1): Uint8Array {
  return concat(u16(major), u16(minor), json === null ? new Uint8Array(0) : text(`${json}\0`));
}

export const CAPABILITIES =
  '{"capabilities":{"max_msg_fds":16,"max_data_xfer_size":1048576,"write_multiple":true}}';

/** Payload of REGION_READ and, with data, of REGION_WRITE. */
export function access(
  region: number,
  offset: number | bigint,
  count: number,
  data: Uint8Array = new Uint8Array(0),
): Uint8Array {
  return concat(u64(offset), u32(region), u32(count), data);
}

/** Payload of DMA_MAP. */
export function dmaMap(
  iova: number | bigint,
  size: number | bigint,
  options: { flags?: number; offset?: number | bigint; argsz?: number } = {},
): Uint8Array {
  const { flags = 3, offset = 0, argsz = 32 } = options;
  return concat(u32(argsz), u32(flags), u64(offset), u64(iova), u64(size));
}

/** Payload of DMA_UNMAP. */
export function dmaUnmap(iova: number | bigint, size: number | bigint, flags = 0, argsz = 24): Uint8Array {
  return concat(u32(argsz), u32(flags), u64(iova), u64(size));
}

/** Payload of SET_IRQS. */
export function setIrqs(
  flags: number,
  index: number,
  start: number,
  count: number,
  bools: Uint8Array = new Uint8Array(0),
): Uint8Array {
  return concat(u32(20 + bools.length), u32(flags), u32(index), u32(start), u32(count), bools);
}

interface Waiter {
  readonly id: number;
  readonly command: number;
  readonly resolve: (reply: Received) => void;
  readonly reject: (error: Error) => void;
}

/** One connection to a server. */
export class RawClient implements ConnectionHandler {
  readonly sys: SysLayer;
  /** Commands of the server that nobody has taken: see `command`. */
  readonly commands: Received[] = [];
  /** Replies that nobody waited for. */
  readonly strays: Received[] = [];
  readonly closed: Promise<Ended>;
  /** Called for each command of the server, before it is kept; true: it was taken. */
  onCommand: ((command: Received) => boolean) | null = null;

  readonly #connection: Connection;
  readonly #ended: PromiseWithResolvers<Ended>;
  #end: Ended | null = null;
  #waiters: Waiter[] = [];
  #commandWaiters: ((command: Received) => void)[] = [];
  #nextId = 1;

  /** Over a connected socket, whose fd it owns. */
  constructor(fd: number, sys: SysLayer = openSys()) {
    this.sys = sys;
    this.#ended = withResolvers<Ended>();
    this.closed = this.#ended.promise;
    this.#connection = sys.connection(
      fd,
      { maxMessageBytes: (2 << 20) + 64, maxMessageFds: 253, readWhileBlocked: true },
      this,
    );
  }

  static connect(path: string, sys: SysLayer = openSys()): RawClient {
    return new RawClient(sys.connect(path), sys);
  }

  /** Connects and agrees on the version. */
  static async open(path: string, json: string = CAPABILITIES): Promise<RawClient> {
    const client = RawClient.connect(path);
    await client.request(1, version(json));
    return client;
  }

  /** Sends bytes as they are, in one send. */
  send(bytes: Uint8Array, fds: readonly number[] = []): void {
    this.#connection.sendingBytes.set(bytes);
    this.#connection.send(bytes.length, fds);
  }

  /** Sends a command and waits for its reply; throws `Refused` when that is an error. */
  async request(command: number, body: Uint8Array, fds: readonly number[] = []): Promise<Received> {
    const reply = await this.ask(command, body, fds);
    if ((reply.flags & ERROR) !== 0) throw new Error(`command ${command}: errno ${reply.errno}`);
    return reply;
  }

  /** Sends a command and waits for its reply, error or not. Rejects when the connection ends before. */
  ask(command: number, body: Uint8Array, fds: readonly number[] = [], flags = 0): Promise<Received> {
    const id = this.#nextId++ & 0xffff;
    const reply = this.reply(id, command);
    this.send(message(command, id, body, flags), fds);
    return reply;
  }

  /** The errno of the reply: 0 for success. */
  async errno(command: number, body: Uint8Array, fds: readonly number[] = []): Promise<number> {
    const reply = await this.ask(command, body, fds);
    return (reply.flags & ERROR) !== 0 ? reply.errno : 0;
  }

  /** Sends a command that wants no reply. */
  post(command: number, body: Uint8Array, fds: readonly number[] = []): void {
    this.send(message(command, this.#nextId++ & 0xffff, body, NO_REPLY), fds);
  }

  /** The next reply with that id. */
  reply(id: number, command: number): Promise<Received> {
    if (this.#end !== null) return Promise.reject(new Error(`closed: ${this.#end.reason}`));
    return new Promise((resolve, reject) => this.#waiters.push({ id, command, resolve, reject }));
  }

  /** The next command of the server. */
  command(): Promise<Received> {
    const first = this.commands.shift();
    if (first !== undefined) return Promise.resolve(first);
    return new Promise((resolve) => this.#commandWaiters.push(resolve));
  }

  /** Answers a command of the server. */
  answer(command: Received, body: Uint8Array, errno = 0): void {
    const flags = errno === 0 ? REPLY : REPLY | ERROR;
    this.send(message(command.command, command.id, body, flags, errno));
  }

  close(): void {
    this.#connection.close();
    this.#over({ reason: 'closed here', errno: 0 });
  }

  onMessages(end: number): number {
    const bytes = this.#connection.receivedBytes;
    for (let at = 0; at < end; ) {
      const size = read(bytes, at + 4, 4);
      this.#take({
        id: read(bytes, at, 2),
        command: read(bytes, at + 2, 2),
        flags: read(bytes, at + 8, 4),
        errno: read(bytes, at + 12, 4),
        body: bytes.slice(at + 16, at + size),
        fds: this.#connection.takeFds(at),
      });
      at += size;
    }
    return 0;
  }

  onOversized(): number {
    throw new Error('the server sent a message larger than any');
  }

  onClose(reason: string, errno: number): void {
    this.#over({ reason, errno });
  }

  #take(received: Received): void {
    if ((received.flags & 0xf) !== REPLY) {
      if (this.onCommand?.(received)) return;
      const waiter = this.#commandWaiters.shift();
      if (waiter === undefined) this.commands.push(received);
      else waiter(received);
      return;
    }
    const index = this.#waiters.findIndex(
      ({ id, command }) => id === received.id && command === received.command,
    );
    if (index < 0) this.strays.push(received);
    else this.#waiters.splice(index, 1)[0]!.resolve(received);
  }

  #over(end: Ended): void {
    if (this.#end !== null) return;
    this.#end = end;
    this.#ended.resolve(end);
    for (const waiter of this.#waiters.splice(0)) waiter.reject(new Error(`closed: ${end.reason}`));
  }
}

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
}

function withResolvers<T>(): PromiseWithResolvers<T> {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
