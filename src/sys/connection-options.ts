/*
 * The limits of a connection with their defaults, checked once: the same for the live layer and the fake.
 */
import type { ConnectionOptions } from './sys-layer.ts';

/** The vfio-user header. */
export const HEADER_BYTES = 16;
/** SCM_MAX_FD: the most fds that one sendmsg carries. */
export const MESSAGE_FDS_MAX = 253;
/** Room beyond one maximal message, so that one receive takes many small ones. */
const SLACK_BYTES = 64 * 1024;
/** A peer that reads at all is never this far behind: 16 maximal transfers of 1 MiB. */
const SEND_QUEUE_BYTES = 16 * 1024 * 1024;
/** Sizes travel as int32 in the control words. */
const BUFFER_BYTES_MAX = 2 ** 30;

export interface ConnectionLimits {
  readonly maxMessageBytes: number;
  readonly maxMessageFds: number;
  readonly receiveBufferBytes: number;
  readonly sendBufferBytes: number;
  readonly sendQueueBytes: number;
  readonly busyPollUs: number;
  readonly dedicated: boolean;
  readonly readWhileBlocked: boolean;
}

export function connectionLimits(options: ConnectionOptions): ConnectionLimits {
  const { maxMessageBytes, maxMessageFds } = options;
  const limits: ConnectionLimits = {
    maxMessageBytes,
    maxMessageFds,
    receiveBufferBytes: maxMessageBytes + SLACK_BYTES,
    sendBufferBytes: options.sendBufferBytes ?? maxMessageBytes + SLACK_BYTES,
    sendQueueBytes: options.sendQueueBytes ?? SEND_QUEUE_BYTES,
    busyPollUs: options.busyPollUs ?? 0,
    dedicated: options.dedicated ?? false,
    readWhileBlocked: options.readWhileBlocked ?? false,
  };
  inRange('maxMessageBytes', maxMessageBytes, HEADER_BYTES, BUFFER_BYTES_MAX);
  inRange('maxMessageFds', maxMessageFds, 0, MESSAGE_FDS_MAX);
  inRange('sendBufferBytes', limits.sendBufferBytes, HEADER_BYTES, BUFFER_BYTES_MAX);
  inRange('sendQueueBytes', limits.sendQueueBytes, 0, BUFFER_BYTES_MAX);
  inRange('busyPollUs', limits.busyPollUs, 0, 1e6);
  return limits;
}

function inRange(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new RangeError(`vfio: ${name} must be an integer from ${least} to ${most}, and is ${value}`);
}
