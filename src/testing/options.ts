/*
 * Options of `testDevice`, and what they are when nobody says.
 */
import type { InterruptMechanism } from './interrupt-mechanism.ts';

export interface TestDeviceOptions {
  /**
   * 'process' (the default): the device is called directly. 'socket': a real server and a real client on a UNIX socket,
   * both in this process; the same tests run on both.
   */
  readonly over?: 'process' | 'socket';
  /** What to interrupt by. Default 'auto', as drivers choose: MSI-X, else MSI, else INTx, else none. */
  readonly interrupts?: 'auto' | InterruptMechanism;
  /** How many MSI-X vectors to listen to. Default: all, but at most 64. Of MSI it is always all. */
  readonly vectors?: number;
  /** Whether the device may master the bus from the start. Default true. */
  readonly busMaster?: boolean;
  /** How long `interrupt` waits. Default 2000: it says more than a runner's own time limit, which should be longer. */
  readonly timeoutMs?: number;
}

export const DEFAULT_TIMEOUT_MS = 2000;
/** Each vector is an eventfd over a socket. */
export const DEFAULT_VECTORS = 64;

/** What a device did is kept up to this many entries; older ones go. */
export const LOG_LIMIT = 1000;
