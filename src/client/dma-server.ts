/*
 * Answers the server's own commands: DMA_READ and DMA_WRITE, from the table of what we mapped. The answers leave with
 * the batch that they came in; where another device has to be asked, they leave when it has answered.
 *
 * What is refused, and how, is what QEMU's client does: EINVAL for a short message, E2BIG for more than we said we
 * take, EFAULT where nothing is mapped, EPERM against the mapping's rights, ENOSYS for any other command.
 */
import {
  ERRNO,
  isExactU64,
  readU64,
  VFIO_USER_DMA_READ,
  VFIO_USER_DMA_WRITE,
  VFIO_USER_FLAG_ERROR,
  VFIO_USER_FLAG_NO_REPLY,
  VFIO_USER_FLAG_TYPE_REPLY,
  VFIO_USER_HEADER_SIZE,
  vfio_user_dma_region_access,
  vfio_user_header,
  writeU64,
} from '../abi/index.ts';
import type { Connection } from '../sys/sys-layer.ts';
import type { DmaTable } from './dma-table.ts';
import { PEER_TRANSFERS_MAX } from './limits.ts';
import type { Outbox } from './outbox.ts';

const HEADER = vfio_user_header.at;
const ACCESS = vfio_user_dma_region_access.at;
/** Header, address, count: what is before the data. */
const FIXED_BYTES = VFIO_USER_HEADER_SIZE + vfio_user_dma_region_access.size;

/** What has been answered, for people and tests. */
export interface DmaServerCounts {
  readonly reads: number;
  readonly writes: number;
  readonly refused: number;
}

export class DmaServer {
  readonly #table: DmaTable;
  readonly #maxTransferBytes: number;
  #reads = 0;
  #writes = 0;
  #refused = 0;
  /** Transfers that wait for another device. */
  #waiting = 0;

  constructor(table: DmaTable, maxTransferBytes: number) {
    this.#table = table;
    this.#maxTransferBytes = maxTransferBytes;
  }

  get counts(): DmaServerCounts {
    return { reads: this.#reads, writes: this.#writes, refused: this.#refused };
  }

  /** Handles the command at `start` in `connection.received`. */
  onCommand(connection: Connection, start: number, size: number, outbox: Outbox): void {
    const view = connection.received;
    const command = view.getUint16(start + HEADER.cmd, true);
    const errno = this.#refusal(view, start, size, command);
    if (errno !== 0) {
      this.refuse(view, start, errno, outbox);
      return;
    }
    const iova = readU64(view, start + VFIO_USER_HEADER_SIZE + ACCESS.addr);
    const count = view.getUint32(start + VFIO_USER_HEADER_SIZE + ACCESS.count, true);
    if (!this.#table.immediate) this.#handleLater(connection, start, iova, count, command, outbox);
    else if (command === VFIO_USER_DMA_READ) this.#read(view, start, iova, count, outbox);
    else this.#write(connection, start, iova, count, outbox);
  }

  /** Answers with an error, unless nobody wants an answer. */
  refuse(view: DataView, start: number, errno: number, outbox: Outbox): void {
    this.#refused++;
    if ((view.getUint32(start + HEADER.flags, true) & VFIO_USER_FLAG_NO_REPLY) !== 0) return;
    const id = view.getUint16(start + HEADER.msg_id, true);
    const command = view.getUint16(start + HEADER.cmd, true);
    writeError(outbox, outbox.reserve(VFIO_USER_HEADER_SIZE), id, command, errno);
  }

  #refusal(view: DataView, start: number, size: number, command: number): number {
    if (command !== VFIO_USER_DMA_READ && command !== VFIO_USER_DMA_WRITE) return ERRNO.ENOSYS;
    if (size < FIXED_BYTES) return ERRNO.EINVAL;
    const at = start + VFIO_USER_HEADER_SIZE;
    const count = readU64(view, at + ACCESS.count);
    if (count > this.#maxTransferBytes) return ERRNO.E2BIG;
    if (command === VFIO_USER_DMA_WRITE && size < FIXED_BYTES + count) return ERRNO.EINVAL;
    if (!isExactU64(view, at + ACCESS.addr)) return ERRNO.EFAULT;
    return this.#table.check(readU64(view, at + ACCESS.addr), count, command === VFIO_USER_DMA_WRITE);
  }

  #read(view: DataView, start: number, iova: number, count: number, outbox: Outbox): void {
    if ((view.getUint32(start + HEADER.flags, true) & VFIO_USER_FLAG_NO_REPLY) !== 0) return;
    const id = view.getUint16(start + HEADER.msg_id, true);
    const reply = outbox.reserve(FIXED_BYTES + count);
    const errno = this.#table.move(iova, outbox.bytes, reply + FIXED_BYTES, count, false);
    if (errno !== 0) {
      this.#refused++;
      outbox.shorten(reply, VFIO_USER_HEADER_SIZE);
      writeError(outbox, reply, id, VFIO_USER_DMA_READ, errno);
      return;
    }
    this.#reads++;
    writeReply(outbox, reply, id, VFIO_USER_DMA_READ, iova, count);
  }

  #write(connection: Connection, start: number, iova: number, count: number, outbox: Outbox): void {
    const view = connection.received;
    const errno = this.#table.move(iova, connection.receivedBytes, start + FIXED_BYTES, count, true);
    if (errno !== 0) {
      this.refuse(view, start, errno, outbox);
      return;
    }
    this.#writes++;
    if ((view.getUint32(start + HEADER.flags, true) & VFIO_USER_FLAG_NO_REPLY) !== 0) return;
    const id = view.getUint16(start + HEADER.msg_id, true);
    writeReply(outbox, outbox.reserve(FIXED_BYTES), id, VFIO_USER_DMA_WRITE, iova, count);
  }

  /** Part of the range is memory of another device, which takes its time. */
  #handleLater(
    connection: Connection,
    start: number,
    iova: number,
    count: number,
    command: number,
    outbox: Outbox,
  ): void {
    const view = connection.received;
    if (this.#waiting >= PEER_TRANSFERS_MAX) {
      this.refuse(view, start, ERRNO.EBUSY, outbox);
      return;
    }
    const id = view.getUint16(start + HEADER.msg_id, true);
    const quiet = (view.getUint32(start + HEADER.flags, true) & VFIO_USER_FLAG_NO_REPLY) !== 0;
    const write = command === VFIO_USER_DMA_WRITE;
    const data = start + FIXED_BYTES;
    const bytes = write ? connection.receivedBytes.slice(data, data + count) : new Uint8Array(count);
    this.#waiting++;
    void this.#table.moveLater(iova, bytes, 0, count, write).then((errno) => {
      this.#waiting--;
      if (errno !== 0) this.#refused++;
      else if (write) this.#writes++;
      else this.#reads++;
      if (quiet || connection.closed) return;
      if (errno !== 0) writeError(outbox, outbox.reserve(VFIO_USER_HEADER_SIZE), id, command, errno);
      else {
        const reply = outbox.reserve(FIXED_BYTES + (write ? 0 : count));
        writeReply(outbox, reply, id, command, iova, count);
        if (!write) outbox.bytes.set(bytes, reply + FIXED_BYTES);
      }
      outbox.schedule();
    });
  }
}

function writeHeader(outbox: Outbox, at: number, id: number, command: number, size: number): void {
  const { view } = outbox;
  view.setUint16(at + HEADER.msg_id, id, true);
  view.setUint16(at + HEADER.cmd, command, true);
  view.setUint32(at + HEADER.msg_size, size, true);
  view.setUint32(at + HEADER.flags, VFIO_USER_FLAG_TYPE_REPLY, true);
  view.setUint32(at + HEADER.error_no, 0, true);
}

function writeReply(
  outbox: Outbox,
  at: number,
  id: number,
  command: number,
  iova: number,
  count: number,
): void {
  writeHeader(outbox, at, id, command, FIXED_BYTES + (command === VFIO_USER_DMA_READ ? count : 0));
  writeU64(outbox.view, at + VFIO_USER_HEADER_SIZE + ACCESS.addr, iova);
  writeU64(outbox.view, at + VFIO_USER_HEADER_SIZE + ACCESS.count, count);
}

function writeError(outbox: Outbox, at: number, id: number, command: number, errno: number): void {
  writeHeader(outbox, at, id, command, VFIO_USER_HEADER_SIZE);
  outbox.view.setUint32(at + HEADER.flags, VFIO_USER_FLAG_TYPE_REPLY | VFIO_USER_FLAG_ERROR, true);
  outbox.view.setUint32(at + HEADER.error_no, errno, true);
}
