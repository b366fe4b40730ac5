/*
 * QEMU's monitor for programs (QMP): one JSON object a line over a UNIX socket, commands one at a time, events in between.
 * https://www.qemu.org/docs/master/interop/qmp-spec.html
 */
import { connect, type Socket } from 'node:net';
import { createInterface, type Interface } from 'node:readline';
import { VfioError } from '../core/index.ts';

/** Something happened in QEMU: RESET, SHUTDOWN, DEVICE_DELETED. */
export interface QmpEvent {
  readonly event: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

interface Answer {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

interface EventWaiter {
  readonly wanted: (event: QmpEvent) => boolean;
  readonly resolve: (event: QmpEvent | null) => void;
}

const CONNECT_TRIES = 100;
const CONNECT_PAUSE_MS = 50;
/** Events that nobody asked for yet; the oldest go first. */
const MAX_KEPT_EVENTS = 1000;

/** A connection to one QEMU. */
export class Qmp {
  readonly #socket: Socket;
  readonly #lines: Interface;
  readonly #answers: Answer[] = [];
  readonly #events: QmpEvent[] = [];
  readonly #waiters: EventWaiter[] = [];
  #ended = false;

  /** Connects as soon as QEMU has made the socket. ECONNREFUSED if it does not within 5 s. */
  static async open(path: string): Promise<Qmp> {
    const qmp = new Qmp(await connectPatiently(path));
    await qmp.execute('qmp_capabilities');
    return qmp;
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#lines = createInterface({ input: socket });
    this.#lines.on('line', (line) => this.#take(line));
    // QEMU is gone, which 'close' tells. readline passes the socket's errors on.
    socket.on('error', () => {});
    this.#lines.on('error', () => {});
    socket.on('close', () => this.#end());
  }

  /** Runs a command and resolves to what it returns. EIO with QEMU's words when it refuses, EPIPE when QEMU is gone. */
  execute(command: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    if (this.#ended) return Promise.reject(gone(command));
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    return new Promise((resolve, reject) => this.#answers.push({ resolve, reject })).catch((error: Error) => {
      throw error instanceof VfioError ? error : new VfioError('EIO', `${command}: ${error.message}`);
    });
  }

  /** The first event, kept or still to come, that `wanted` accepts; null once QEMU is gone. */
  event(wanted: (event: QmpEvent) => boolean): Promise<QmpEvent | null> {
    const kept = this.#events.findIndex(wanted);
    if (kept >= 0) return Promise.resolve(this.#events.splice(kept, 1)[0]!);
    if (this.#ended) return Promise.resolve(null);
    return new Promise((resolve) => this.#waiters.push({ wanted, resolve }));
  }

  close(): void {
    this.#lines.close();
    this.#socket.destroy();
  }

  #take(line: string): void {
    const message = JSON.parse(line) as {
      readonly return?: unknown;
      readonly error?: { readonly desc: string };
      readonly event?: string;
    };
    if (message.event !== undefined) this.#keep(message as QmpEvent);
    else if (message.error !== undefined) this.#answers.shift()?.reject(new Error(message.error.desc));
    else if ('return' in message) this.#answers.shift()?.resolve(message.return);
  }

  #keep(event: QmpEvent): void {
    const waiter = this.#waiters.findIndex(({ wanted }) => wanted(event));
    if (waiter >= 0) {
      this.#waiters.splice(waiter, 1)[0]!.resolve(event);
      return;
    }
    this.#events.push(event);
    if (this.#events.length > MAX_KEPT_EVENTS) this.#events.shift();
  }

  #end(): void {
    this.#ended = true;
    for (const { reject } of this.#answers.splice(0)) reject(gone('a command'));
    for (const { resolve } of this.#waiters.splice(0)) resolve(null);
  }
}

function gone(command: string): VfioError {
  return new VfioError('EPIPE', `QEMU ended before it answered ${command}. Its last output says why`);
}

/** QEMU makes its sockets some time after it was started. */
export async function connectPatiently(path: string): Promise<Socket> {
  for (let tries = 1; ; tries++) {
    try {
      return await connectOnce(path);
    } catch (error) {
      if (tries === CONNECT_TRIES) {
        throw new VfioError('ECONNREFUSED', `${path}: ${(error as Error).message}. Is QEMU running?`);
      }
      await new Promise((resolve) => setTimeout(resolve, CONNECT_PAUSE_MS));
    }
  }
}

function connectOnce(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}
