/*
 * How large the buffers of a session's sockets are: for the largest message that either side may send, and a batch of
 * replies.
 */
import { VFIO_USER_HEADER_SIZE, vfio_user_version } from '../abi/index.ts';
import type { ConnectionOptions } from '../sys/sys-layer.ts';
import { MAX_VERSION_JSON_BYTES, REPLY_BATCH_BYTES, SEND_QUEUE_BYTES } from './limits.ts';
import type { SessionContext } from './session-context.ts';

/** Header and access structure of a region access. */
const ACCESS_HEADER_BYTES = 32;

/** Of the socket of the commands and of its twin. */
export function connectionOptions({ limits, busyPollUs, dedicated }: SessionContext): ConnectionOptions {
  const smallBytes = VFIO_USER_HEADER_SIZE + vfio_user_version.size + MAX_VERSION_JSON_BYTES;
  const largest = Math.max(ACCESS_HEADER_BYTES + limits.maxTransferBytes, smallBytes);
  return {
    maxMessageBytes: largest,
    maxMessageFds: limits.maxMessageFds,
    sendBufferBytes: largest + REPLY_BATCH_BYTES,
    sendQueueBytes: Math.max(SEND_QUEUE_BYTES, 2 * largest),
    busyPollUs,
    dedicated,
  };
}
