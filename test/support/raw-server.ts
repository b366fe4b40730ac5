/*
 * A vfio-user server that knows nothing but frames: it keeps the messages that come and sends the bytes it is told to
 * send, over a real socket. Replies are written by hand in the tests, so they can be as wrong as a test needs.
 */
import { SocketDevice } from '../../src/client/index.ts';
import { type OpenOptions, socketOptions } from '../../src/client/options.ts';
import { type Connection, type ConnectionHandler, openSys, type SysLayer } from '../../src/sys/index.ts';
import { type Bytes, concat, read, text, u16, u32, u64 } from './bytes.ts';
import { ERROR, message, REPLY, type Received } from './raw-client.ts';

/** Payload of a VERSION reply. */
export function versionReply(json: string | null, major = 0, minor = 0): Bytes {
  return concat(u16(major), u16(minor), json === null ? new Uint8Array(0) : text(`${json}\0`));
}

/** Payload of a GET_INFO reply: PCI with reset, unless said otherwise. */
export function infoReply(flags = 3, regions = 10, irqs = 5): Bytes {
  return concat(u32(16), u32(flags), u32(regions), u32(irqs));
}

/** Fixed part of a GET_REGION_INFO reply. */
export function regionReply(
  index: number,
  size: number | bigint,
  options: { argsz?: number; flags?: number; capOffset?: number; offset?: number | bigint } = {},
): Bytes {
  const { argsz = 32, flags = 3, capOffset = 0, offset = 0 } = options;
  return concat(u32(argsz), u32(flags), u32(index), u32(capOffset), u64(size), u64(offset));
}

/** The default answer to VERSION. */
export const SERVER_CAPABILITIES =
  '{"capabilities":{"max_msg_fds":8,"max_data_xfer_size":1048576,"write_multiple":true}}';

export interface ScriptOptions extends OpenOptions {
  /** JSON of the VERSION reply; null: none. */
  readonly version?: string | null;
  readonly minor?: number;
  readonly info?: Bytes;
}

/** One connection to a client. */
export class RawServer implements ConnectionHandler {
  readonly sys: SysLayer;
  /** How many messages came with each read of the socket. */
  readonly batches: number[] = [];
  /** Called for each message before it is kept; true: it was taken. */
  onMessage: ((message: Received) => boolean) | null = null;
  ended = false;

  readonly #connection: Connection;
  readonly #kept: Received[] = [];
  #waiting: ((message: Received) => void)[] = [];

  /** Owns `fd`. */
  constructor(fd: number, sys: SysLayer) {
    this.sys = sys;
    this.#connection = sys.connection(fd, { maxMessageBytes: 4 << 20, maxMessageFds: 253 }, this);
  }

  /** A client and the server it is connected to, after VERSION and GET_INFO. */
  static async open(options: ScriptOptions = {}): Promise<{ device: SocketDevice; server: RawServer }> {
    const { device, server } = RawServer.begin(options);
    const { version = SERVER_CAPABILITIES, minor = 0, info = infoReply() } = options;
    server.reply(await server.next(1), versionReply(version, 0, minor));
    server.reply(await server.next(4), info);
    return { device: await device, server };
  }

  /** The same before VERSION. */
  static begin(options: OpenOptions = {}): { device: Promise<SocketDevice>; server: RawServer } {
    const sys = options.sys ?? openSys();
    const [ours, theirs] = sys.socketpair();
    const server = new RawServer(theirs, sys);
    const device = SocketDevice.open(ours, 'unix:/raw.sock', socketOptions({ sys, ...options }));
    device.catch(() => undefined); // a test awaits it
    return { device, server };
  }

  /** The next message, which must be this command if one is given. */
  async next(command?: number): Promise<Received> {
    const kept = this.#kept.shift();
    const message = kept ?? (await new Promise<Received>((resolve) => this.#waiting.push(resolve)));
    if (command !== undefined && message.command !== command) {
      throw new Error(`command ${message.command} came instead of ${command}`);
    }
    return message;
  }

  /** Messages that came and that nobody has taken. */
  get kept(): readonly Received[] {
    return this.#kept;
  }

  reply(to: Received, body: Uint8Array = new Uint8Array(0), fds: readonly number[] = []): void {
    this.send(message(to.command, to.id, body, REPLY), fds);
  }

  replyError(to: Received, errno: number): void {
    this.send(message(to.command, to.id, new Uint8Array(0), REPLY | ERROR, errno));
  }

  /** Sends a command to the client and waits for what comes back. */
  async ask(command: number, id: number, body: Uint8Array, flags = 0): Promise<Received> {
    this.send(message(command, id, body, flags));
    const reply = await this.next(command);
    if (reply.id !== id || (reply.flags & 0xf) !== REPLY) throw new Error('that is no reply to the command');
    return reply;
  }

  /** Sends bytes as they are, in one send. */
  send(bytes: Uint8Array, fds: readonly number[] = []): void {
    this.#connection.sendingBytes.set(bytes);
    this.#connection.send(bytes.length, fds);
  }

  close(): void {
    this.#connection.close();
  }

  onMessages(end: number): number {
    const bytes = this.#connection.receivedBytes;
    let count = 0;
    for (let at = 0; at < end; count++) {
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
    this.batches.push(count);
    return 0;
  }

  onOversized(): number {
    throw new Error('the client sent a message larger than any');
  }

  onClose(): void {
    this.ended = true;
  }

  #take(received: Received): void {
    if (this.onMessage?.(received)) return;
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#kept.push(received);
    else waiting(received);
  }
}
