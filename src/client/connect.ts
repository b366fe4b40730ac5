/*
 * Connects to a vfio-user server: the socket, and the first exchange, in which both sides say what they can do.
 */
import { VFIO_USER_VERSION, VFIO_USER_VERSION_MINOR } from '../abi/index.ts';
import { VfioError } from '../core/index.ts';
import type { SysLayer } from '../sys/sys-layer.ts';
import type { Channel } from './channel.ts';
import { POLL_MS } from './limits.ts';
import { type Agreement, type ClientOffer, encodeVersion, readVersion } from './negotiate.ts';
import type { SocketOptions } from './options.ts';

/** What a server must do within `connectTimeoutMs`; other errors do not go away by waiting. */
const WORTH_WAITING: readonly string[] = ['ECONNREFUSED', 'ENOENT', 'EAGAIN'];

/** Connects to a UNIX socket; returns the fd. */
export async function connectSocket(sys: SysLayer, path: string, timeoutMs: number): Promise<number> {
  for (let waitedMs = 0; ; waitedMs += POLL_MS) {
    try {
      return sys.connect(path);
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      if (waitedMs >= timeoutMs || !WORTH_WAITING.includes(error.code)) throw explain(error, path);
    }
    await sleep(POLL_MS);
  }
}

/** What we offer a server. */
export function makeOffer(options: SocketOptions): ClientOffer {
  const { maxMessageFds, maxTransferBytes, twinSocket, writeMultiple, migrationPageSize } = options;
  return {
    // The twin socket is all that later minors brought, and a server may refuse a minor that it does not know.
    minor: twinSocket ? VFIO_USER_VERSION_MINOR : 0,
    maxMessageFds,
    maxTransferBytes,
    maxDmaMaps: 65_535,
    pageSizes: 4096,
    twinSocket,
    writeMultiple,
    migrationPageSize,
  };
}

/** Exchanges VERSION. Resolves to what was agreed on, and our end of the twin socket if there is one. */
export async function negotiate(
  sys: SysLayer,
  channel: Channel,
  offer: ClientOffer,
): Promise<{ agreement: Agreement; twinFd: number | null }> {
  const reply = await channel.request(VFIO_USER_VERSION, encodeVersion(offer), { wantsFds: true });
  const fds = new Set(reply.fds);
  try {
    const agreement = readVersion(reply.payload, reply.fds.length, offer);
    if (agreement.twinFdIndex === null) return { agreement, twinFd: null };
    const twinFd = reply.fds[agreement.twinFdIndex]!;
    fds.delete(twinFd);
    return { agreement, twinFd };
  } finally {
    for (const fd of fds) sys.close(fd);
  }
}

function explain(error: VfioError, path: string): VfioError {
  switch (error.code) {
    case 'ECONNREFUSED':
      return new VfioError(
        error.code,
        `nothing listens on ${path}: start a server with \`vfio serve DEVICE --socket-path=${path}\``,
        { cause: error },
      );
    case 'ENOENT':
      return new VfioError(
        error.code,
        `there is no socket ${path}: check the path, or start a server with \`vfio serve DEVICE --socket-path=${path}\``,
        { cause: error },
      );
    case 'EACCES':
      return new VfioError(error.code, `no permission to connect to ${path}: look at its owner and mode`, {
        cause: error,
      });
    case 'EAGAIN':
      return new VfioError(error.code, `the server on ${path} accepts nobody at the moment: try again`, {
        cause: error,
      });
    default:
      return error;
  }
}

export function sleep(durationMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, durationMs);
  });
}
