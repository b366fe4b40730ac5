/*
 * Options of `openDevice`, and what they are when nobody says.
 */
import type { ContainerOptions } from '../core/container.ts';
import { VfioError } from '../core/index.ts';
import { openSys, type SysLayer } from '../sys/index.ts';
import {
  DEFAULT_MESSAGE_FDS,
  DEFAULT_REQUEST_TIMEOUT_MS,
  DEFAULT_TRANSFER_BYTES,
  KERNEL_MESSAGE_FDS,
  MIN_TRANSFER_BYTES,
} from './limits.ts';

export interface OpenOptions {
  /** The system layer. Default: the live one. */
  readonly sys?: SysLayer;

  // For a device behind a socket:

  /** How long a reply may take before the request fails with ETIMEDOUT; 0: for ever. Default 5000, as QEMU. */
  readonly requestTimeoutMs?: number;
  /** How long to go on trying to connect while nobody listens. Default 0: one attempt. */
  readonly connectTimeoutMs?: number;
  /** Fds that we take in one message. Default 16. */
  readonly maxMessageFds?: number;
  /** Largest piece of data in one message, both ways. Default 1 MiB. */
  readonly maxTransferBytes?: number;
  /** Let the server use a second socket for its DMA messages. Default false: QEMU does not either. */
  readonly twinSocket?: boolean;
  /** Use REGION_WRITE_MULTI if the server has it. Default true. */
  readonly writeMultiple?: boolean;
  /** Offer migration with this page size for dirty tracking. Default: not offered. */
  readonly migrationPageSize?: number;
  /** After activity, look for more for this long before sleeping. Default 0. */
  readonly busyPollUs?: number;

  // For a device object in this process:

  /** Its IOMMU: limit, page sizes, IOVA ranges. Default: 65535 mappings of 4 KiB pages, any IOVA. */
  readonly container?: ContainerOptions;
}

/** Options with nothing left out. */
export interface SocketOptions {
  readonly sys: SysLayer;
  readonly requestTimeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly maxMessageFds: number;
  readonly maxTransferBytes: number;
  readonly twinSocket: boolean;
  readonly writeMultiple: boolean;
  readonly migrationPageSize: number | null;
  readonly busyPollUs: number;
}

const TRANSFER_BYTES_MAX = 64 << 20;

/** @throws VfioError EINVAL for a number that cannot be meant */
export function socketOptions(options: OpenOptions): SocketOptions {
  return {
    sys: options.sys ?? openSys(),
    requestTimeoutMs: inRange(options, 'requestTimeoutMs', DEFAULT_REQUEST_TIMEOUT_MS, 0, 2 ** 31 - 1),
    connectTimeoutMs: inRange(options, 'connectTimeoutMs', 0, 0, 2 ** 31 - 1),
    maxMessageFds: inRange(options, 'maxMessageFds', DEFAULT_MESSAGE_FDS, 1, KERNEL_MESSAGE_FDS),
    maxTransferBytes: inRange(
      options,
      'maxTransferBytes',
      DEFAULT_TRANSFER_BYTES,
      MIN_TRANSFER_BYTES,
      TRANSFER_BYTES_MAX,
    ),
    twinSocket: options.twinSocket ?? false,
    writeMultiple: options.writeMultiple ?? true,
    migrationPageSize: options.migrationPageSize ?? null,
    busyPollUs: inRange(options, 'busyPollUs', 0, 0, 1_000_000),
  };
}

type NumberOption =
  | 'requestTimeoutMs'
  | 'connectTimeoutMs'
  | 'maxMessageFds'
  | 'maxTransferBytes'
  | 'busyPollUs';

function inRange(
  options: OpenOptions,
  name: NumberOption,
  absent: number,
  least: number,
  most: number,
): number {
  const value = options[name] ?? absent;
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new VfioError('EINVAL', `option ${name} is ${value}; use a whole number from ${least} to ${most}`);
}
