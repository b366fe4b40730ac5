/*
 * VERSION from the client's side: what we offer, and a strict look at what the server answers. The checks are those
 * of QEMU's client, so a server that we accept does not fail there.
 */
import {
  QEMU_MAX_DATA_XFER_SIZE,
  QEMU_MAX_DMA_MAPS,
  QEMU_MAX_MSG_FDS,
  VFIO_USER_DEFAULT_MAX_DATA_XFER_SIZE,
  VFIO_USER_DEFAULT_MAX_DMA_MAPS,
  VFIO_USER_DEFAULT_MAX_MSG_FDS,
  VFIO_USER_DEFAULT_PGSIZES,
  VFIO_USER_VERSION_MAJOR,
  type VfioUserCapabilities,
  vfio_user_version,
} from '../abi/index.ts';
import { VERSION_JSON_BYTES_MAX } from './limits.ts';
import { protocolError } from './reply-error.ts';

/** What we say that we can do. */
export interface ClientOffer {
  readonly minor: number;
  /** Fds that we take in one message. */
  readonly maxMessageFds: number;
  /** Largest `count` of a DMA message that we take. */
  readonly maxTransferBytes: number;
  readonly maxDmaMaps: number;
  /** Or-ed page sizes. */
  readonly pageSizes: number;
  readonly twinSocket: boolean;
  readonly writeMultiple: boolean;
  /** Page size for dirty tracking, or null: migration is not offered. */
  readonly migrationPageSize: number | null;
}

/** What holds for this connection: the server's limits, with the protocol's defaults where it said nothing. */
export interface Agreement {
  readonly minor: number;
  /** Fds that the server takes in one message. */
  readonly maxMessageFds: number;
  /** Largest `count` that the server takes in a region access. */
  readonly maxTransferBytes: number;
  readonly maxDmaMaps: number;
  readonly pageSizes: number;
  /** Which fd of the reply is our end of the twin socket; null: there is none. */
  readonly twinFdIndex: number | null;
  readonly writeMultiple: boolean;
  readonly migrationPageSize: number | null;
  /** Capabilities that we do not know; harmless, for people who wonder. */
  readonly unknown: readonly string[];
}

type Json = Readonly<Record<string, unknown>>;

const KNOWN: readonly string[] = [
  'max_msg_fds',
  'max_data_xfer_size',
  'max_dma_maps',
  'pgsizes',
  'twin_socket',
  'write_multiple',
  'migration',
] satisfies (keyof VfioUserCapabilities)[];

/** The payload of our VERSION. */
export function encodeVersion(offer: ClientOffer): Uint8Array {
  const capabilities: VfioUserCapabilities = {
    max_msg_fds: offer.maxMessageFds,
    max_data_xfer_size: offer.maxTransferBytes,
    max_dma_maps: offer.maxDmaMaps,
    pgsizes: offer.pageSizes,
  };
  if (offer.writeMultiple) capabilities.write_multiple = true;
  if (offer.twinSocket) capabilities.twin_socket = { supported: true };
  if (offer.migrationPageSize !== null) capabilities.migration = { pgsize: offer.migrationPageSize };
  const text = new TextEncoder().encode(`${JSON.stringify({ capabilities })}\0`);
  const payload = new Uint8Array(vfio_user_version.size + text.length);
  const version = { major: VFIO_USER_VERSION_MAJOR, minor: offer.minor };
  vfio_user_version.encode(new DataView(payload.buffer), 0, version);
  payload.set(text, vfio_user_version.size);
  return payload;
}

/**
 * Reads the payload of the server's VERSION reply.
 * @param fdCount how many fds came with it
 * @throws VfioError EPROTO for anything that QEMU would refuse
 */
export function readVersion(payload: Uint8Array, fdCount: number, offer: ClientOffer): Agreement {
  if (payload.length < vfio_user_version.size) throw protocolError('VERSION without a version');
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const { major, minor } = vfio_user_version.decode(view, 0);
  if (major !== VFIO_USER_VERSION_MAJOR) {
    throw protocolError(`it speaks major version ${major}, and this client ${VFIO_USER_VERSION_MAJOR}`);
  }
  if (minor > offer.minor) throw protocolError(`it answered minor ${minor} to our ${offer.minor}`);
  const capabilities = readCapabilities(payload.subarray(vfio_user_version.size));
  return {
    minor,
    maxMessageFds: limit(capabilities, 'max_msg_fds', VFIO_USER_DEFAULT_MAX_MSG_FDS, 0, QEMU_MAX_MSG_FDS),
    maxTransferBytes: limit(
      capabilities,
      'max_data_xfer_size',
      VFIO_USER_DEFAULT_MAX_DATA_XFER_SIZE,
      1,
      QEMU_MAX_DATA_XFER_SIZE,
    ),
    maxDmaMaps: limit(capabilities, 'max_dma_maps', VFIO_USER_DEFAULT_MAX_DMA_MAPS, 0, QEMU_MAX_DMA_MAPS),
    pageSizes: pageSizes(capabilities, 'pgsizes') ?? VFIO_USER_DEFAULT_PGSIZES,
    twinFdIndex: twinSocket(capabilities, fdCount, offer),
    writeMultiple: flag(capabilities, 'write_multiple') && offer.writeMultiple,
    migrationPageSize: migration(capabilities),
    unknown: Object.keys(capabilities).filter((key) => !KNOWN.includes(key)),
  };
}

function readCapabilities(text: Uint8Array): Json {
  if (text.length === 0) return {};
  if (text.length > VERSION_JSON_BYTES_MAX) throw protocolError(`VERSION has ${text.length} bytes of JSON`);
  if (text.at(-1) !== 0) throw protocolError('the JSON of VERSION does not end with a NUL');
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text.subarray(0, -1)));
  } catch {
    throw protocolError('VERSION has JSON that cannot be read');
  }
  const capabilities = isObject(parsed) ? (parsed['capabilities'] ?? {}) : null;
  if (!isObject(capabilities)) throw protocolError('VERSION has no object "capabilities"');
  return capabilities;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function limit(from: Json, key: string, absent: number, least: number, most: number): number {
  const value = from[key];
  if (value === undefined) return absent;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    throw protocolError(`${key} is ${JSON.stringify(value)}, not a whole number from ${least} to ${most}`);
  }
  return value;
}

function pageSizes(from: Json, key: string): number | undefined {
  const value = from[key];
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value <= 0 || value % 4096 !== 0) {
    throw protocolError(`${key} is ${JSON.stringify(value)}, not a set of page sizes from 4096 on`);
  }
  return value;
}

function flag(from: Json, key: string): boolean {
  const value = from[key] ?? false;
  if (typeof value !== 'boolean') throw protocolError(`${key} is ${JSON.stringify(value)}, not a boolean`);
  return value;
}

function migration(from: Json): number | null {
  const value = from['migration'];
  if (value === undefined) return null;
  if (!isObject(value)) throw protocolError('migration is not an object');
  return pageSizes(value, 'pgsize') ?? VFIO_USER_DEFAULT_PGSIZES;
}

/** The twin socket exists only if both want it; then its fd must be there, or the two sides would wait for each other. */
function twinSocket(from: Json, fdCount: number, offer: ClientOffer): number | null {
  const value = from['twin_socket'];
  if (value === undefined) return null;
  if (!isObject(value)) throw protocolError('twin_socket is not an object');
  if (!flag(value, 'supported')) return null;
  if (!offer.twinSocket) throw protocolError('it took a twin_socket that was not offered');
  const index = value['fd_index'];
  if (typeof index !== 'number' || !Number.isInteger(index) || index < 0 || index >= fdCount) {
    throw protocolError(`twin_socket is fd ${JSON.stringify(index)} of ${fdCount} fds`);
  }
  return index;
}
