/*
 * A server in a thread of its own: a device that computes, or that must answer while the main thread is busy. The
 * device's module is loaded in the worker, so device and server run together there, on the worker's own loop; the parent
 * hears when clients come and go.
 */
import { EventEmitter } from 'node:events';
import { Worker } from 'node:worker_threads';
import { type DeviceKind, VfioError } from '../core/index.ts';
import { DeviceSetupError } from './device-setup-error.ts';
import { moduleUrl } from './load-module.ts';
import { type Logger, silent } from './logger.ts';
import type { Trace } from './trace.ts';
import type {
  FromWorker,
  ToWorker,
  WorkerFailure,
  WorkerServerOptions,
  WorkerStart,
} from './worker-messages.ts';

/** How a worker's device and server are set up. All but `log` and `trace` must be cloneable (structured clone). */
export interface WorkerOptions extends WorkerServerOptions {
  /** Default: the module's default export, a class derived from VfioDevice or a function that makes a device. */
  readonly exportName?: string;
  /** What that is called with. */
  readonly deviceOptions?: unknown;
  readonly log?: Logger;
  /** As `ServerOptions.trace`; called in this thread. */
  readonly trace?: Trace;
}

/** What a server in a worker tells; as `ServerEvents`, where that can cross threads. */
export interface WorkerServerEvents {
  session: [peerPid: number | null];
  close: [reason: string, errno: number];
  refused: [reason: string];
  /** The worker ended; `error` is what it died of, null after `close`. */
  exit: [error: Error | null];
}

/** A server that runs in a worker. Made by `serveInWorker`. */
export class WorkerServer extends EventEmitter<WorkerServerEvents> {
  readonly #worker: Worker;
  readonly #log: Logger;
  readonly #trace: Trace | null;
  readonly #exited: Promise<void>;
  #error: Error | null = null;
  /** Nobody has this object before it is known. */
  #kind: DeviceKind | null = null;

  /** @internal */
  constructor(worker: Worker, log: Logger, trace: Trace | null) {
    super();
    this.#trace = trace;
    this.#worker = worker;
    this.#log = log;
    worker.on('message', (message: FromWorker) => this.#onMessage(message));
    worker.on('error', (error: Error) => {
      this.#error = error;
      this.#log('error', `server in a worker died: ${error.stack ?? error.message}`);
    });
    this.#exited = new Promise((resolve) => {
      worker.once('exit', () => {
        resolve();
        this.emit('exit', this.#error);
      });
    });
  }

  /** What clients take the device for. */
  get kind(): DeviceKind {
    return this.#kind!;
  }

  /** Ends the session, the socket, the device and the worker. */
  async close(): Promise<void> {
    this.#worker.postMessage({ type: 'close' } satisfies ToWorker);
    await this.#exited;
  }

  #onMessage(message: FromWorker): void {
    switch (message.type) {
      case 'ready':
        this.#kind = message.kind;
        break;
      case 'log':
        this.#log(message.level, message.message);
        break;
      case 'trace':
        this.#trace?.(message.message);
        break;
      case 'session':
        this.emit('session', message.peerPid);
        break;
      case 'close':
        this.emit('close', message.reason, message.errno);
        break;
      case 'refused':
        this.emit('refused', message.reason);
    }
  }
}

/**
 * Starts a worker that makes the device of `module` (URL or path) and serves it. Resolves when it listens; rejects with what
 * making or listening failed with.
 */
export async function serveInWorker(module: string | URL, options: WorkerOptions): Promise<WorkerServer> {
  const { exportName, deviceOptions, log = silent, trace = null, ...server } = options;
  const start: WorkerStart = {
    module: moduleUrl(module),
    server,
    deviceOptions,
    traced: trace !== null,
    ...(exportName === undefined ? {} : { exportName }),
  };
  const worker = startWorker(start);
  const workerServer = new WorkerServer(worker, log, trace);
  await new Promise<void>((resolve, reject) => {
    worker.on('message', (message: FromWorker) => {
      if (message.type === 'ready') resolve();
      if (message.type === 'failed') reject(revived(message.failure));
    });
    workerServer.once('exit', (error) => reject(error ?? new Error('the worker ended before it listened')));
  });
  return workerServer;
}

/** The worker's error as one of this thread, with the stack of where it happened. */
function revived({ isSetup, code, message, stack }: WorkerFailure): Error {
  const error = isSetup
    ? new DeviceSetupError(message)
    : code === null
      ? new Error(message)
      : new VfioError(code, message);
  if (stack !== undefined) error.stack = stack;
  return error;
}

/** From TypeScript sources, the worker needs tsx where Node cannot run them; in a worker it must be asked in code. */
function startWorker(start: WorkerStart): Worker {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const entry = new URL(`./worker-main.${extension}`, import.meta.url);
  const native = (process.features as { typescript?: unknown }).typescript;
  if (extension === 'js' || native) return new Worker(entry, { workerData: start });
  const tsx = import.meta.resolve('tsx/esm/api');
  const code = `import(${JSON.stringify(tsx)}).then(({ register }) => {
    register();
    return import(${JSON.stringify(entry.href)});
  })`;
  return new Worker(code, { eval: true, workerData: start });
}
