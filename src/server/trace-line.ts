/*
 * A traced message as one line of text. What a client sends may be malformed or hostile: a body that is too short for
 * its command is shown as bytes, text is stripped of what a terminal would act on, and a line has a limit.
 */
import {
  errnoName,
  VFIO_IRQ_SET_ACTION_MASK,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_USER_DEVICE_FEATURE,
  VFIO_USER_DEVICE_GET_INFO,
  VFIO_USER_DEVICE_GET_IRQ_INFO,
  VFIO_USER_DEVICE_GET_REGION_INFO,
  VFIO_USER_DEVICE_GET_REGION_IO_FDS,
  VFIO_USER_DEVICE_SET_IRQS,
  VFIO_USER_DMA_MAP,
  VFIO_USER_DMA_READ,
  VFIO_USER_DMA_UNMAP,
  VFIO_USER_DMA_WRITE,
  VFIO_USER_F_DMA_REGION_FILE_IO,
  VFIO_USER_F_DMA_REGION_MMAP,
  VFIO_USER_F_DMA_REGION_READ,
  VFIO_USER_F_DMA_REGION_WRITE,
  VFIO_USER_FLAG_ERROR,
  VFIO_USER_FLAG_NO_REPLY,
  VFIO_USER_FLAG_TYPE_MASK,
  VFIO_USER_FLAG_TYPE_REPLY,
  VFIO_USER_HEADER_SIZE,
  VFIO_USER_REGION_READ,
  VFIO_USER_REGION_WRITE,
  VFIO_USER_REGION_WRITE_MULTI,
  VFIO_USER_VERSION,
  vfioUserCommandName,
} from '../abi/index.ts';
import type { TracedMessage } from './trace.ts';

/** Data that is shown; the rest is counted. */
const SHOWN_BYTES = 32;
const SHOWN_TEXT_CHARS = 512;
/** Of REGION_WRITE_MULTI. */
const SHOWN_WRITES = 4;
const WRITE_ENTRY_BYTES = 24;

const DMA_FLAGS: readonly [number, string][] = [
  [VFIO_USER_F_DMA_REGION_READ, 'read'],
  [VFIO_USER_F_DMA_REGION_WRITE, 'write'],
  [VFIO_USER_F_DMA_REGION_MMAP, 'mmap'],
  [VFIO_USER_F_DMA_REGION_FILE_IO, 'file'],
];
const IRQ_FLAGS: readonly [number, string][] = [
  [VFIO_IRQ_SET_DATA_NONE, 'none'],
  [VFIO_IRQ_SET_DATA_BOOL, 'bool'],
  [VFIO_IRQ_SET_DATA_EVENTFD, 'eventfd'],
  [VFIO_IRQ_SET_ACTION_MASK, 'mask'],
  [VFIO_IRQ_SET_ACTION_UNMASK, 'unmask'],
  [VFIO_IRQ_SET_ACTION_TRIGGER, 'trigger'],
];

/** Reads fields of a body; out of range throws, which `fieldsOf` takes for "malformed". */
class Body {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  u16(at: number): number {
    return this.#view.getUint16(at, true);
  }

  u32(at: number): number {
    return this.#view.getUint32(at, true);
  }

  hex32(at: number): string {
    return `0x${this.u32(at).toString(16)}`;
  }

  hex64(at: number): string {
    return `0x${this.#view.getBigUint64(at, true).toString(16)}`;
  }

  flags(at: number, names: readonly [number, string][]): string {
    const set = names.filter(([bit]) => (this.u32(at) & bit) !== 0).map(([, name]) => name);
    return set.length === 0 ? this.hex32(at) : `${this.hex32(at)}(${set.join('|')})`;
  }

  /** What follows the fixed part, if there is anything. */
  rest(at: number, name: string): string {
    return this.bytes.length <= at ? '' : ` ${name}=${hex(this.bytes.subarray(at))}`;
  }
}

type Decode = (body: Body, isReply: boolean) => string;

const FIELDS: Readonly<Record<number, Decode>> = {
  [VFIO_USER_VERSION]: (body) => `${body.u16(0)}.${body.u16(2)} ${text(body.bytes.subarray(4))}`.trimEnd(),
  [VFIO_USER_DMA_MAP]: (body) =>
    `addr=${body.hex64(16)} size=${body.hex64(24)} flags=${body.flags(4, DMA_FLAGS)} offset=${body.hex64(8)}`,
  [VFIO_USER_DMA_UNMAP]: (body) =>
    `addr=${body.hex64(8)} size=${body.hex64(16)} flags=${body.hex32(4)}${body.rest(24, 'data')}`,
  [VFIO_USER_DEVICE_GET_INFO]: (body, isReply) =>
    isReply ? `flags=${body.hex32(4)} regions=${body.u32(8)} irqs=${body.u32(12)}` : `argsz=${body.u32(0)}`,
  [VFIO_USER_DEVICE_GET_REGION_INFO]: (body, isReply) =>
    isReply
      ? `index=${body.u32(8)} size=${body.hex64(16)} flags=${body.hex32(4)} offset=${body.hex64(24)} argsz=${body.u32(0)}${body.rest(32, 'caps')}`
      : `index=${body.u32(8)} argsz=${body.u32(0)}`,
  [VFIO_USER_DEVICE_GET_REGION_IO_FDS]: (body) =>
    `index=${body.u32(8)} count=${body.u32(12)} argsz=${body.u32(0)}${body.rest(16, 'entries')}`,
  [VFIO_USER_DEVICE_GET_IRQ_INFO]: (body, isReply) =>
    isReply ? `index=${body.u32(8)} count=${body.u32(12)} flags=${body.hex32(4)}` : `index=${body.u32(8)}`,
  [VFIO_USER_DEVICE_SET_IRQS]: (body) =>
    `index=${body.u32(8)} start=${body.u32(12)} count=${body.u32(16)} flags=${body.flags(4, IRQ_FLAGS)}${body.rest(20, 'data')}`,
  [VFIO_USER_REGION_READ]: regionAccess,
  [VFIO_USER_REGION_WRITE]: regionAccess,
  [VFIO_USER_REGION_WRITE_MULTI]: (body, isReply) => (isReply ? `done=${body.u32(0)}` : writes(body)),
  [VFIO_USER_DMA_READ]: dmaAccess,
  [VFIO_USER_DMA_WRITE]: dmaAccess,
  [VFIO_USER_DEVICE_FEATURE]: (body) => `flags=${body.hex32(4)} argsz=${body.u32(0)}${body.rest(8, 'data')}`,
};

/**
 * One line without its end: ms since `sinceMs`, device, direction (`>` to the device, `<` to the client, doubled on the
 * twin socket), id, command, `ok` or the errno of a reply, and what is in it.
 */
export function traceLine(message: TracedMessage, sinceMs: number): string {
  const { bytes, fds } = message;
  const head = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const flags = head.getUint32(8, true);
  const command = head.getUint16(2, true);
  const isReply = (flags & VFIO_USER_FLAG_TYPE_MASK) === VFIO_USER_FLAG_TYPE_REPLY;
  const arrow = message.sender === 'client' ? '>' : '<';
  const parts = [
    (message.timeMs - sinceMs).toFixed(3).padStart(10),
    message.device,
    message.socket === 'twin' ? arrow + arrow : arrow,
    head.getUint16(0, true).toString(16).padStart(4, '0'),
    vfioUserCommandName(command),
  ];
  const failed = (flags & VFIO_USER_FLAG_ERROR) !== 0;
  if (isReply) parts.push(failed ? errnoName(head.getUint32(12, true)) : 'ok');
  else if ((flags & VFIO_USER_FLAG_TYPE_MASK) !== 0) parts.push(`type=${flags & VFIO_USER_FLAG_TYPE_MASK}`);
  if (!isReply && (flags & VFIO_USER_FLAG_NO_REPLY) !== 0) parts.push('posted');
  const size = head.getUint32(4, true);
  parts.push(
    size > bytes.length
      ? `size=${size} (too large)`
      : fieldsOf(command, bytes.subarray(VFIO_USER_HEADER_SIZE), isReply),
  );
  if (fds > 0 || (command === VFIO_USER_DMA_MAP && !isReply)) parts.push(`fds=${fds}`);
  return parts.filter((part) => part !== '').join(' ');
}

function fieldsOf(command: number, body: Uint8Array, isReply: boolean): string {
  if (body.length === 0) return '';
  const decode = FIELDS[command];
  if (decode === undefined) return `body=${hex(body)}`;
  try {
    return decode(new Body(body), isReply);
  } catch (error) {
    if (error instanceof RangeError) return `body=${hex(body)} (too short)`;
    throw error;
  }
}

function regionAccess(body: Body): string {
  return `region=${body.u32(8)} offset=${body.hex64(0)} count=${body.u32(12)}${body.rest(16, 'data')}`;
}

function dmaAccess(body: Body): string {
  return `iova=${body.hex64(0)} count=${body.hex64(8)}${body.rest(16, 'data')}`;
}

function writes(body: Body): string {
  const count = body.u32(0);
  const shown = Array.from({ length: Math.min(count, SHOWN_WRITES) }, (_, i) => {
    const at = 8 + WRITE_ENTRY_BYTES * i;
    const data = body.bytes.subarray(at + 16, at + 16 + Math.min(8, body.u32(at + 12)));
    return ` region=${body.u32(at + 8)} offset=${body.hex64(at)} data=${hex(data)}`;
  });
  const more = count > SHOWN_WRITES ? ` and ${count - SHOWN_WRITES} more` : '';
  return `writes=${count}${shown.join(',')}${more}`;
}

function hex(bytes: Uint8Array): string {
  const shown = [...bytes.subarray(0, SHOWN_BYTES)]
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join('');
  return bytes.length > SHOWN_BYTES ? `${shown}+${bytes.length - SHOWN_BYTES}bytes` : shown;
}

/** Without its final NUL; what is not printable ASCII becomes a dot. */
function text(bytes: Uint8Array): string {
  const end = bytes.at(-1) === 0 ? bytes.length - 1 : bytes.length;
  const shown = new TextDecoder().decode(bytes.subarray(0, Math.min(end, SHOWN_TEXT_CHARS)));
  return shown.replace(/[^\x20-\x7e]/g, '.');
}
