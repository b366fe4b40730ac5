/*
 * What a session shares with the server that made it: the device, the operating system, the limits, and where to
 * tell what happens.
 */
import type { ContainerOptions, VfioDevice } from '../core/index.ts';
import type { ClientFiles, RegionRegistry } from '../memory/index.ts';
import type { SysLayer } from '../sys/sys-layer.ts';
import type { WriteRange } from './background.ts';
import type { Logger } from './logger.ts';
import type { ServerLimits } from './negotiate.ts';
import type { PeerRegistry } from './peers.ts';
import type { Trace } from './trace.ts';

/** A command that was refused because the client broke the protocol. */
export interface ProtocolErrorEvent {
  readonly command: number;
  /** Positive. */
  readonly errno: number;
  readonly text: string;
}

/** Code of the device threw, or answered with something that is neither 0 nor an errno. */
export interface HandlerErrorEvent {
  /** What it was doing: the name of the command, or of the hook. */
  readonly during: string;
  readonly error: unknown;
}

/** A posted write that could not be done; the client does not hear of it. */
export interface DroppedEvent {
  readonly regionIndex: number;
  readonly offset: number;
  readonly count: number;
  readonly errno: number;
}

/** The client could not wait for a handler. What was done about it is in `text`, with what to change in the device. */
export interface StallEvent {
  readonly command: number;
  /** The region access; null for other commands. */
  readonly access: WriteRange | null;
  /**
   * 'dma refused': a DMA by message that would have waited for the reply to this command, and the other way round.
   * 'posted': a write was answered as done and goes on. 'failed': another command was answered with EIO or ETIMEDOUT.
   * 'late': its handler is done now; the result was dropped.
   */
  readonly outcome: 'dma refused' | 'posted' | 'failed' | 'late';
  readonly text: string;
}

/** Where a session reports. None of these may throw. */
export interface SessionObserver {
  /** VERSION was agreed on: the client has the device. */
  opened(): void;
  protocolError(event: ProtocolErrorEvent): void;
  handlerError(event: HandlerErrorEvent): void;
  dropped(event: DroppedEvent): void;
  stalled(event: StallEvent): void;
  /** The session is over; `errno` 0 when the client left. `busy` resolves when the device is done with its last command. */
  ended(reason: string, errno: number, busy: Promise<void> | null): void;
}

/** Everything that a session is given. */
export interface SessionContext {
  /** The present instance: another may take its place while the session lives. */
  device: VfioDevice;
  readonly sys: SysLayer;
  readonly log: Logger;
  readonly limits: ServerLimits;
  readonly container: Omit<ContainerOptions, 'limit' | 'pageSizes'>;
  readonly files: ClientFiles;
  readonly registry: RegionRegistry;
  /** null: ranges without an fd are never taken for a peer's BAR. */
  readonly peers: PeerRegistry | null;
  readonly requestTimeoutMs: number;
  readonly replyTimeoutMs: number;
  readonly negotiationTimeoutMs: number;
  readonly busyPollUs: number;
  readonly dedicated: boolean;
  readonly observer: SessionObserver;
  /** null: nobody looks on. */
  readonly trace: Trace | null;
}
