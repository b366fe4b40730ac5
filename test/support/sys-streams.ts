/*
 * What tests of connections need: messages to send, a handler that writes down what arrived, and waiting for the loop.
 */
import type { Connection, ConnectionHandler, ConnectionOptions, SysLayer } from '../../src/sys/sys-layer.ts';

export const HEADER = 16;

/** A message of `size` bytes: vfio-user's header (id, command 0, size), then a body that follows from the id. */
export function message(id: number, size: number = HEADER): Uint8Array {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, id, true);
  view.setUint32(4, size, true);
  for (let i = HEADER; i < size; i++) bytes[i] = (id * 7 + i) & 0xff;
  return bytes;
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** As `toEqual` on the arrays, which takes seconds for some hundred KiB. */
export function same(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0;
}

export interface Arrival {
  readonly id: number;
  readonly bytes: Uint8Array;
  readonly fds: readonly number[];
  readonly surplus: number;
  /** Which call of `onMessages` it came with. */
  readonly batch: number;
}

/** Writes down everything; replies with `reply` (bytes of `sending`) if that is set. */
export class Recorder implements ConnectionHandler {
  readonly arrivals: Arrival[] = [];
  readonly oversized: number[] = [];
  readonly ends: { reason: string; errno: number }[] = [];
  batches = 0;
  connection!: Connection;
  takes = true;
  reply: ((recorder: Recorder) => number) | null = null;

  onMessages(end: number): number {
    const { received, receivedBytes } = this.connection;
    this.batches++;
    for (let at = 0; at < end; ) {
      const size = received.getUint32(at + 4, true);
      const fds = this.takes ? this.connection.takeFds(at) : [];
      const surplus = this.connection.surplusFds(at);
      const bytes = receivedBytes.slice(at, at + size);
      this.arrivals.push({ id: received.getUint16(at, true), bytes, fds, surplus, batch: this.batches });
      at += size;
    }
    return this.reply === null ? 0 : this.reply(this);
  }

  onOversized(header: DataView): number {
    this.oversized.push(header.getUint32(4, true));
    return 0;
  }

  onClose(reason: string, errno: number): void {
    this.ends.push({ reason, errno });
  }

  get ids(): number[] {
    return this.arrivals.map((arrival) => arrival.id);
  }
}

export const LIMITS: ConnectionOptions = { maxMessageBytes: 4096, maxMessageFds: 8 };

export function record(sys: SysLayer, fd: number, options: Partial<ConnectionOptions> = {}): Recorder {
  const recorder = new Recorder();
  recorder.connection = sys.connection(fd, { ...LIMITS, ...options }, recorder);
  return recorder;
}

/** Sends raw bytes, whole messages or not. */
export function sendBytes(connection: Connection, bytes: Uint8Array, fds: readonly number[] = []): void {
  connection.sendingBytes.set(bytes);
  connection.send(bytes.length, fds);
}

/** Lets the loop turn a few times: what was sent has arrived, what was closed has been told. */
export async function turns(count = 4): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

const PATIENCE_MS = 10_000;

export async function until(condition: () => boolean, what = 'what the test waits for'): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`${what} did not come`);
    await turns(1);
  }
}
