/*
 * Errors of requests, in words: what was asked, what the server said, and what to do next.
 */
import { ERRNO, type ErrnoName, errnoName, vfioUserCommandName } from '../abi/index.ts';
import * as abi from '../abi/vfio-user.ts';
import { VfioError } from '../core/index.ts';

const UNREACHABLE =
  'the region cannot be reached now: memory decode is off, or the device sleeps or is in reset';

/** What helps, by command and errno. */
const ADVICE: Readonly<Record<number, Readonly<Partial<Record<ErrnoName, string>>>>> = {
  [abi.VFIO_USER_VERSION]: {
    EBUSY: 'another client is attached; close it, or serve the device on a second socket',
    EINVAL: 'the server does not take this version or one of the capabilities',
  },
  [abi.VFIO_USER_DMA_MAP]: {
    EEXIST: 'the range overlaps a mapping; unmap that first',
    EINVAL:
      'iova, size and offset must be multiples of the page size, and memory of a device needs its consent',
    ENOSPC: 'too many mappings; unmap some',
    EFAULT: 'the memory cannot be reached now',
  },
  [abi.VFIO_USER_DMA_UNMAP]: {
    EINVAL: 'the range cuts a mapping in two; unmap it as it was mapped',
    ENOENT: 'nothing is mapped there',
  },
  [abi.VFIO_USER_REGION_READ]: {
    EINVAL: 'compare offset and size with regionInfo',
    EIO: UNREACHABLE,
  },
  [abi.VFIO_USER_REGION_WRITE]: {
    EINVAL: 'compare offset and size with regionInfo',
    EIO: UNREACHABLE,
  },
  [abi.VFIO_USER_DEVICE_SET_IRQS]: {
    EINVAL: 'compare index and vectors with irqInfo',
    ENOTTY: 'this index cannot be masked',
  },
  [abi.VFIO_USER_DEVICE_RESET]: {
    EINVAL: 'the device has no reset; see info.resettable',
  },
  [abi.VFIO_USER_DEVICE_FEATURE]: {
    EINVAL: 'the device does not have this feature',
  },
};

/**
 * The error for an error reply.
 * @param errno as the header has it; 0 and numbers without a name become EIO
 * @param about the request in a few words, for example 'region 0 at 0x10'
 */
export function replyError(command: number, errno: number, about: string): VfioError {
  const said = errno === 0 ? 'an error without a number' : errnoName(errno);
  const advice = ADVICE[command]?.[codeOf(errno)];
  const subject = about === '' ? '' : ` (${about})`;
  const next = advice === undefined ? '' : `: ${advice}`;
  return new VfioError(
    codeOf(errno),
    `${vfioUserCommandName(command)}${subject}: the server answered ${said}${next}`,
  );
}

/** The error for an errno that a device in this process returned. */
export function errnoError(errno: number, message: string): VfioError {
  return new VfioError(codeOf(errno), message);
}

function codeOf(errno: number): ErrnoName {
  const name = errnoName(errno);
  return name in ERRNO ? (name as ErrnoName) : 'EIO';
}

/** The server said something that the protocol does not allow. */
export function protocolError(what: string): VfioError {
  return new VfioError(
    'EPROTO',
    `the server broke the vfio-user protocol: ${what}; report it to the server's authors`,
  );
}

/** The error for a connection that ended by itself. */
export function endError(address: string, reason: string, errno: number): VfioError {
  const gone = errno === 0 || errno === ERRNO.EPIPE || errno === ERRNO.ECONNRESET;
  if (!gone)
    return new VfioError(
      codeOf(errno),
      `the connection to ${address} ended: ${reason}; open the device again`,
    );
  const message = `the server at ${address} went away (${reason}); start it again and open the device again`;
  return new VfioError('ECONNRESET', message);
}
