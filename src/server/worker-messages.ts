/*
 * What a server in a worker and its parent say to each other.
 */
import type { ErrnoName } from '../abi/index.ts';
import type { DeviceKind } from '../core/index.ts';
import type { LogLevel } from './logger.ts';
import type { ServerOptions } from './server.ts';
import type { TracedMessage } from './trace.ts';

/** The options that can be sent to a worker. */
export type WorkerServerOptions = Omit<ServerOptions, 'sys' | 'log' | 'peers' | 'trace'>;

/** What the worker is started with. */
export interface WorkerStart {
  readonly module: string;
  readonly exportName?: string;
  readonly deviceOptions?: unknown;
  readonly server: WorkerServerOptions;
  /** Whether the parent wants to see the messages. */
  readonly traced: boolean;
}

/** Why there is no server: an error without its class, which does not cross threads. */
export interface WorkerFailure {
  readonly isSetup: boolean;
  readonly code: ErrnoName | null;
  readonly message: string;
  readonly stack: string | undefined;
}

/** From the worker. */
export type FromWorker =
  | { readonly type: 'ready'; readonly kind: DeviceKind }
  | { readonly type: 'failed'; readonly failure: WorkerFailure }
  | { readonly type: 'log'; readonly level: LogLevel; readonly message: string }
  | { readonly type: 'trace'; readonly message: TracedMessage }
  | { readonly type: 'session'; readonly peerPid: number | null }
  | { readonly type: 'close'; readonly reason: string; readonly errno: number }
  | { readonly type: 'refused'; readonly reason: string };

/** To the worker. */
export interface ToWorker {
  readonly type: 'close';
}
