/*
 * VERSION: what the client offers, what this session works with, and what the reply says.
 *
 * The reply names only capabilities that the client named, because QEMU calls others spurious. The exception
 * is a limit of ours that is below the protocol's default: a client that is not told could not keep it.
 */
import {
  VFIO_USER_DEFAULT_MAX_DATA_XFER_SIZE,
  VFIO_USER_DEFAULT_MAX_DMA_MAPS,
  VFIO_USER_DEFAULT_MAX_MSG_FDS,
  VFIO_USER_DEFAULT_PGSIZES,
  VFIO_USER_VERSION_MAJOR,
  VFIO_USER_VERSION_MINOR,
  vfio_user_version,
} from '../abi/index.ts';
import { VfioError } from '../core/index.ts';
import { MAX_VERSION_JSON_BYTES, MIN_TRANSFER_BYTES, PAGE_SIZES } from './limits.ts';

/** What the server allows, from its options. */
export interface ServerLimits {
  readonly maxMessageFds: number;
  readonly maxTransferBytes: number;
  readonly maxDmaMaps: number;
}

/** What holds in one session. */
export interface Negotiated {
  readonly minor: number;
  /** Fds that the client takes in one message. */
  readonly clientMessageFds: number;
  /** Largest `count` of a DMA message to the client. */
  readonly clientTransferBytes: number;
  readonly maxDmaMaps: number;
  /** Or-ed page sizes of DMA maps. */
  readonly pageSizes: number;
  readonly twinSocket: boolean;
  readonly writeMultiple: boolean;
}

/** A VERSION request as it came: capabilities are not looked at yet. */
export interface VersionRequest {
  readonly major: number;
  readonly minor: number;
  /** null: the request had no JSON. */
  readonly capabilities: Capabilities | null;
}

type Capabilities = Readonly<Record<string, unknown>>;

/** A VERSION reply: the minor, and the JSON with its final NUL (empty: no JSON). */
export interface VersionReply {
  readonly negotiated: Negotiated;
  readonly capabilities: Record<string, unknown> | null;
}

const refuse = (message: string): VfioError => new VfioError('EINVAL', `VERSION refused: ${message}`);

function isObject(value: unknown): value is Capabilities {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseJson(text: Uint8Array): Capabilities {
  if (text.length > MAX_VERSION_JSON_BYTES) {
    throw refuse(`its JSON has ${text.length} bytes, more than ${MAX_VERSION_JSON_BYTES}`);
  }
  if (text[text.length - 1] !== 0) throw refuse('its JSON does not end with a NUL byte');
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text.subarray(0, -1)));
  } catch (error) {
    throw refuse(`its JSON cannot be read (${(error as Error).message})`);
  }
  if (!isObject(parsed)) throw refuse('its JSON is not an object');
  const capabilities = parsed['capabilities'] ?? {};
  if (!isObject(capabilities)) throw refuse('"capabilities" is not an object');
  return capabilities;
}

/**
 * Reads the payload of a VERSION request.
 * @throws VfioError EINVAL when it is too short or its JSON is not as the protocol wants it
 */
export function parseVersion(payload: Uint8Array): VersionRequest {
  if (payload.length < vfio_user_version.size) throw refuse('it has no version');
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  return {
    major: view.getUint16(0, true),
    minor: view.getUint16(2, true),
    capabilities:
      payload.length === vfio_user_version.size ? null : parseJson(payload.subarray(vfio_user_version.size)),
  };
}

/** A capability that is a whole number of at least `least`; absent: the default. */
function numberOf(capabilities: Capabilities, key: string, least: number, absent: number): number {
  const value = capabilities[key];
  if (value === undefined) return absent;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least) {
    throw refuse(`capability ${key} is ${JSON.stringify(value)}, but must be a whole number from ${least}`);
  }
  return value;
}

function pageSizesOf(capabilities: Capabilities): number {
  const offered = numberOf(capabilities, 'pgsizes', 1, VFIO_USER_DEFAULT_PGSIZES);
  // Sizes above 1 GiB are not ours, and a bit operator keeps the 32 bits that matter.
  const common = ((offered % 2 ** 32) & PAGE_SIZES) >>> 0;
  if (common === 0) throw refuse(`no page size of pgsizes ${offered} is one of ${PAGE_SIZES}`);
  return common;
}

function twinSocketOf(capabilities: Capabilities): boolean {
  const offer = capabilities['twin_socket'];
  if (offer === undefined) return false;
  if (!isObject(offer) || (offer['supported'] !== undefined && typeof offer['supported'] !== 'boolean')) {
    throw refuse('capability twin_socket is not an object with "supported": true or false');
  }
  return offer['supported'] === true;
}

function writeMultipleOf(capabilities: Capabilities): boolean {
  const offer = capabilities['write_multiple'] ?? false;
  if (typeof offer !== 'boolean') throw refuse('capability write_multiple is neither true nor false');
  return offer;
}

/** Says in `reply` what we take, when the client named it or could not know it. */
function answerLimit(
  reply: Record<string, unknown>,
  offered: Capabilities,
  key: string,
  ours: number,
  known: number,
): void {
  if (key in offered || ours < known) reply[key] = ours;
}

/**
 * Agrees on a session with a client.
 * @throws VfioError EINVAL for another major version or a capability that makes no sense
 */
export function negotiate(request: VersionRequest, limits: ServerLimits): VersionReply {
  if (request.major !== VFIO_USER_VERSION_MAJOR) {
    throw refuse(`the client speaks major ${request.major}, this server only ${VFIO_USER_VERSION_MAJOR}`);
  }
  const offered = request.capabilities ?? {};
  const negotiated: Negotiated = {
    minor: Math.min(request.minor, VFIO_USER_VERSION_MINOR),
    clientMessageFds: numberOf(offered, 'max_msg_fds', 0, VFIO_USER_DEFAULT_MAX_MSG_FDS),
    clientTransferBytes: numberOf(
      offered,
      'max_data_xfer_size',
      MIN_TRANSFER_BYTES,
      VFIO_USER_DEFAULT_MAX_DATA_XFER_SIZE,
    ),
    maxDmaMaps: Math.min(
      limits.maxDmaMaps,
      numberOf(offered, 'max_dma_maps', 1, VFIO_USER_DEFAULT_MAX_DMA_MAPS),
    ),
    pageSizes: pageSizesOf(offered),
    twinSocket:
      twinSocketOf(offered) && numberOf(offered, 'max_msg_fds', 0, VFIO_USER_DEFAULT_MAX_MSG_FDS) > 0,
    writeMultiple: writeMultipleOf(offered),
  };
  const reply: Record<string, unknown> = {};
  answerLimit(reply, offered, 'max_msg_fds', limits.maxMessageFds, VFIO_USER_DEFAULT_MAX_MSG_FDS);
  answerLimit(
    reply,
    offered,
    'max_data_xfer_size',
    limits.maxTransferBytes,
    VFIO_USER_DEFAULT_MAX_DATA_XFER_SIZE,
  );
  answerLimit(reply, offered, 'max_dma_maps', negotiated.maxDmaMaps, VFIO_USER_DEFAULT_MAX_DMA_MAPS);
  answerLimit(reply, offered, 'pgsizes', negotiated.pageSizes, 0);
  if (negotiated.writeMultiple) reply['write_multiple'] = true;
  if (negotiated.twinSocket) reply['twin_socket'] = { supported: true, fd_index: 0 };
  const silence = request.capabilities === null && Object.keys(reply).length === 0;
  return { negotiated, capabilities: silence ? null : reply };
}

/** The payload of the reply. */
export function encodeVersion(reply: VersionReply): Uint8Array {
  const json = reply.capabilities === null ? '' : `${JSON.stringify({ capabilities: reply.capabilities })}\0`;
  const text = new TextEncoder().encode(json);
  const payload = new Uint8Array(vfio_user_version.size + text.length);
  const view = new DataView(payload.buffer);
  view.setUint16(0, VFIO_USER_VERSION_MAJOR, true);
  view.setUint16(2, reply.negotiated.minor, true);
  payload.set(text, vfio_user_version.size);
  return payload;
}
