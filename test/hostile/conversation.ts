/*
 * A conversation with one message of each kind, as bytes: what hostile clients cut short and spoil.
 */
import { concat, u32, u64 } from '../support/bytes.ts';
import { access, CAPABILITIES, dmaMap, dmaUnmap, message, setIrqs, version } from '../support/raw-client.ts';

/** A message, and what fd goes with it. */
export interface Line {
  readonly bytes: Uint8Array;
  readonly fd: 'memory' | 'eventfd' | null;
}

export const IOVA = 0x100000;
/** Of the memory that goes with DMA_MAP. */
export const MEMORY_BYTES: number = 1 << 20;

const line = (command: number, body: Uint8Array, fd: Line['fd'] = null): Line => ({
  bytes: message(command, command, body),
  fd,
});

/** VERSION first. Every command of the protocol is there, DMA with and without an fd. */
export const CONVERSATION: readonly Line[] = [
  line(1, version(CAPABILITIES)),
  line(2, dmaMap(IOVA, MEMORY_BYTES), 'memory'),
  line(2, dmaMap(0x40000000, 0x10000)),
  line(4, concat(u32(16), u32(0), u32(0), u32(0))),
  line(5, concat(u32(32), u32(0), u32(2), u32(0), u64(0), u64(0))),
  line(5, concat(u32(256), u32(0), u32(3), u32(0), u64(0), u64(0))),
  line(6, concat(u32(256), u32(0), u32(0), u32(0))),
  line(7, concat(u32(16), u32(0), u32(2), u32(0))),
  line(8, setIrqs(0x24, 2, 0, 1), 'eventfd'),
  line(8, setIrqs(0x24, 0, 0, 1), 'eventfd'),
  line(8, setIrqs(0x14, 0, 0, 1), 'eventfd'),
  line(8, setIrqs(0x22, 2, 0, 2, Uint8Array.of(1, 0))),
  line(9, access(0, 0, 64)),
  line(9, access(2, 0, 64)),
  line(10, access(0, 0, 4, u32(1))),
  line(10, access(2, 0, 8, u64(2))),
  line(15, concat(u64(2), u64(0), u32(0), u32(4), u64(1), u64(8), u32(0), u32(8), u64(2))),
  line(13, new Uint8Array(0)),
  line(16, concat(u32(8), u32(0x50001))),
  line(3, dmaUnmap(IOVA, MEMORY_BYTES)),
  line(3, dmaUnmap(0, 0, 2)),
];
