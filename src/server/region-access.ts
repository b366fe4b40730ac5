/*
 * REGION_READ, REGION_WRITE and REGION_WRITE_MULTI: the messages of which there are millions a second. Nothing here
 * allocates as long as the device answers at once, and the last region is remembered.
 *
 * A handler never sees the socket's buffers. It gets a scratch buffer that stays as it is until the access is done,
 * so a handler that returns a promise may still read what was written, or fill in what was read, later. One that goes on
 * after its access was answered keeps that buffer for itself.
 */
import {
  ERRNO,
  readU64,
  VFIO_USER_HEADER_SIZE,
  VFIO_USER_REGION_READ,
  VFIO_USER_REGION_WRITE,
  VFIO_USER_REGION_WRITE_MULTI,
  VFIO_USER_WRITE_MULTI_MAX_BYTES,
  vfio_user_region_write_one,
} from '../abi/index.ts';
import type { AccessResult, Region, VfioDevice } from '../core/index.ts';
import type { Background, WriteRange } from './background.ts';
import type { Outbox } from './outbox.ts';
import { type SlowAccess, SlowSeries, SlowSingle } from './slow-access.ts';

const TWO_POW_32 = 2 ** 32;

// Offsets from the start of the message.
const OFFSET_LOW = 16;
const OFFSET_HIGH = 20;
const REGION = 24;
const COUNT = 28;
const DATA = 32;
/** Header and access structure: all of a read request, and of a write's reply. */
const ACCESS_BYTES = 32;

const MULTI_COUNT = 16;
const MULTI_ENTRIES = 24;
/** Offsets in an entry. */
const ENTRY_REGION = 8;
const ENTRY_COUNT = 12;
const ENTRY_DATA = 16;
const MULTI_REPLY_BODY_BYTES = 8;
const ENTRY_BYTES: number = vfio_user_region_write_one.size;

/** Below this a loop is faster than making two views for a block copy. */
const LOOP_BYTES = 64;
const FIRST_SCRATCH_BYTES = 4096;

/** Whether a command is one of those here. */
export function isRegionAccess(command: number): boolean {
  return (
    command === VFIO_USER_REGION_READ ||
    command === VFIO_USER_REGION_WRITE ||
    command === VFIO_USER_REGION_WRITE_MULTI
  );
}

/** Told of posted writes that could not be done: nobody else will hear of them. */
export type OnDropped = (regionIndex: number, offset: number, count: number, errno: number) => void;

/** Register and memory accesses of one session. Results: 0 and the reply is written, or an errno and nothing is. */
export class RegionAccess {
  /** Whether REGION_WRITE_MULTI was negotiated. */
  writeMultiple = false;
  /** The access that took time last, until the session is done with it. */
  slow: SlowAccess | null = null;

  /** Handlers that go on without their client. */
  readonly background: Background;
  #device: VfioDevice;
  readonly #outbox: Outbox;
  readonly #maxTransferBytes: number;
  readonly #onDropped: OnDropped;
  #scratch: DataView = new DataView(new ArrayBuffer(FIRST_SCRATCH_BYTES));
  #scratchBytes: Uint8Array = new Uint8Array(this.#scratch.buffer);
  #lastIndex = -1;
  #last: Region | null = null;
  /** Whether the last write waits for one in the background. */
  #queued = false;

  constructor(
    device: VfioDevice,
    outbox: Outbox,
    background: Background,
    maxTransferBytes: number,
    onDropped: OnDropped,
  ) {
    this.#device = device;
    this.background = background;
    this.#outbox = outbox;
    this.#maxTransferBytes = maxTransferBytes;
    this.#onDropped = onDropped;
  }

  /** Accesses go to `next` from now on. None of the device before is waited for. */
  replaceDevice(next: VfioDevice): void {
    this.#device = next;
    this.#lastIndex = -1;
    this.#last = null;
    // Code of the old one may have kept a view of it.
    this.#leaveScratch();
  }

  /** REGION_WRITE at `view[at]`. Errors: EINVAL malformed or outside the region; EIO cannot be reached; the handler's. */
  write(view: DataView, at: number, size: number, noReply: boolean): AccessResult {
    if (size < ACCESS_BYTES) return ERRNO.EINVAL;
    const count = view.getUint32(at + COUNT, true);
    if (size !== ACCESS_BYTES + count || count > this.#maxTransferBytes) return ERRNO.EINVAL;
    const index = view.getUint32(at + REGION, true);
    const region = index === this.#lastIndex ? this.#last : this.#find(index);
    if (region === null) return ERRNO.EINVAL;
    const offset =
      view.getUint32(at + OFFSET_HIGH, true) * TWO_POW_32 + view.getUint32(at + OFFSET_LOW, true);
    const result = this.#store(region, offset, count, view, at + DATA);
    if (result === 0) {
      if (!noReply) this.#written(view.getUint16(at, true), index, offset, count);
      return 0;
    }
    if (typeof result === 'number') {
      if (noReply) this.#onDropped(index, offset, count, result);
      return result;
    }
    return this.#writeLater(result, view.getUint16(at, true), { regionIndex: index, offset, count }, noReply);
  }

  /** As `write`, while other writes are in the background: one to the same bytes waits for them. ENOBUFS: too many wait. */
  writeBehind(view: DataView, at: number, size: number, noReply: boolean): AccessResult {
    if (size < ACCESS_BYTES || size !== ACCESS_BYTES + view.getUint32(at + COUNT, true)) return ERRNO.EINVAL;
    const range = rangeOf(view, at + OFFSET_LOW);
    const result = this.#behind(range, view, at + DATA);
    if (result === 0) return this.write(view, at, size, noReply);
    if (typeof result !== 'number') {
      return this.#writeLater(result, view.getUint16(at, true), range, noReply);
    }
    if (noReply) this.#onDropped(range.regionIndex, range.offset, range.count, result);
    return result;
  }

  /** REGION_READ at `view[at]`; errors as `write`. */
  read(view: DataView, at: number, size: number, noReply: boolean): AccessResult {
    if (size !== ACCESS_BYTES) return ERRNO.EINVAL;
    const count = view.getUint32(at + COUNT, true);
    if (count > this.#maxTransferBytes) return ERRNO.EINVAL;
    const index = view.getUint32(at + REGION, true);
    const region = index === this.#lastIndex ? this.#last : this.#find(index);
    if (region === null) return ERRNO.EINVAL;
    const offset =
      view.getUint32(at + OFFSET_HIGH, true) * TWO_POW_32 + view.getUint32(at + OFFSET_LOW, true);
    const id = view.getUint16(at, true);
    if (region.handler === null) return this.#readMemory(region, id, offset, count, noReply);
    if (count > this.#scratchBytes.length) this.#grow(count);
    // What a handler leaves out must not be what the last access left behind.
    if (count === 4) this.#scratch.setInt32(0, -1, true);
    else this.#scratchBytes.fill(0xff, 0, count);
    const result = region.read(offset, count, this.#scratch, 0);
    if (result === 0) {
      if (!noReply) this.#answerRead(id, index, offset, count);
      return 0;
    }
    if (typeof result === 'number') return result;
    const slow = new SlowSingle({ regionIndex: index, offset, count }, false, false, () =>
      this.#leaveScratch(),
    );
    this.slow = slow;
    return result.then((errno) => {
      if (errno === 0 && !noReply && !slow.detached) this.#answerRead(id, index, offset, count);
      return errno;
    });
  }

  /**
   * REGION_WRITE_MULTI at `view[at]`. With a reply it ends at the first write that fails, and the reply says how many
   * were done; an error is the reply when none was. Without one each write stands for itself, like posted writes.
   */
  writeMulti(view: DataView, at: number, size: number, noReply: boolean): AccessResult {
    if (!this.writeMultiple || size < MULTI_ENTRIES) return ERRNO.EINVAL;
    const entries = readU64(view, at + MULTI_COUNT);
    if (size !== MULTI_ENTRIES + entries * ENTRY_BYTES) return ERRNO.EINVAL;
    let entry = at + MULTI_ENTRIES;
    for (let done = 0; done < entries; done++) {
      const result = this.#writeEntry(view, entry);
      if (result !== 0) {
        if (typeof result !== 'number') return this.#finishMulti(result, view, at, size, done, noReply);
        if (!noReply)
          return this.#stopMulti(view.getUint16(at, true), view.getUint16(at + 2, true), done, result);
        this.#entryDropped(view, entry, result);
      }
      entry += ENTRY_BYTES;
    }
    if (!noReply) this.#multiDone(view.getUint16(at, true), view.getUint16(at + 2, true), entries);
    return 0;
  }

  /** As `writeMulti`, while other writes are in the background. */
  writeMultiBehind(view: DataView, at: number, size: number, noReply: boolean): AccessResult {
    const entries = (size - MULTI_ENTRIES) / ENTRY_BYTES;
    if (!this.writeMultiple || entries < 1 || readU64(view, at + MULTI_COUNT) !== entries) {
      return this.writeMulti(view, at, size, noReply);
    }
    return this.#finishMulti(this.#entryBehind(view, at + MULTI_ENTRIES), view, at, size, 0, noReply);
  }

  #find(index: number): Region | null {
    const region = this.#device.regions.get(index) ?? null;
    if (region !== null) {
      this.#lastIndex = index;
      this.#last = region;
    }
    return region;
  }

  /** Hands `count` bytes at `view[from]` to the region: memory takes them from where they are, a handler from scratch. */
  #store(region: Region, offset: number, count: number, view: DataView, from: number): AccessResult {
    if (region.handler === null) return region.write(offset, count, view, from);
    if (count === 4) this.#scratch.setInt32(0, view.getInt32(from, true), true);
    else this.#keep(view, from, count);
    return region.write(offset, count, this.#scratch, 0);
  }

  /**
   * What a write has to wait for: 0 for nothing, ENOBUFS if too many wait, or its result when those before it are done.
   * Its data is at `view[from]`.
   */
  #behind(range: WriteRange, view: DataView, from: number): AccessResult {
    const { regionIndex, offset, count } = range;
    const region = this.#device.regions.get(regionIndex) ?? null;
    if (region === null || region.handler === null) return 0;
    if (this.background.full) return ERRNO.ENOBUFS;
    const before = this.background.overlapping(regionIndex, offset, count);
    if (before === null) return 0;
    const start = view.byteOffset + from;
    const copy = new DataView(view.buffer.slice(start, start + count));
    this.#queued = true;
    return before.then(() => region.write(offset, count, copy, 0));
  }

  #writeLater(result: Promise<number>, id: number, range: WriteRange, noReply: boolean): Promise<number> {
    const { regionIndex, offset, count } = range;
    const slow = new SlowSingle(range, true, this.#takeQueued(), () => {
      this.background.addWrite(range, result);
      this.#leaveScratch();
      if (!noReply) this.#written(id, regionIndex, offset, count);
    });
    this.slow = slow;
    return result.then((errno) => {
      // What a write in the background answers is told by the background.
      if (slow.detached) return 0;
      if (errno === 0 && !noReply) this.#written(id, regionIndex, offset, count);
      if (errno !== 0 && noReply) this.#onDropped(regionIndex, offset, count, errno);
      return errno;
    });
  }

  #takeQueued(): boolean {
    const queued = this.#queued;
    this.#queued = false;
    return queued;
  }

  /** A handler in the background goes on using the buffer. */
  #leaveScratch(): void {
    this.#scratch = new DataView(new ArrayBuffer(FIRST_SCRATCH_BYTES));
    this.#scratchBytes = new Uint8Array(this.#scratch.buffer);
  }

  #keep(view: DataView, from: number, count: number): void {
    if (count > this.#scratchBytes.length) this.#grow(count);
    if (count <= LOOP_BYTES) {
      for (let i = 0; i < count; i++) this.#scratchBytes[i] = view.getUint8(from + i);
      return;
    }
    this.#scratchBytes.set(new Uint8Array(view.buffer, view.byteOffset + from, count));
  }

  #grow(count: number): void {
    let sizeBytes = this.#scratchBytes.length;
    while (sizeBytes < count) sizeBytes *= 2;
    this.#scratch = new DataView(new ArrayBuffer(sizeBytes));
    this.#scratchBytes = new Uint8Array(this.#scratch.buffer);
  }

  #written(id: number, index: number, offset: number, count: number): void {
    const start = this.#outbox.room(ACCESS_BYTES);
    this.#describe(start, index, offset, count);
    this.#outbox.claimReply(start, id, VFIO_USER_REGION_WRITE, ACCESS_BYTES - VFIO_USER_HEADER_SIZE);
  }

  /** Straight into the reply: memory answers at once, and none of our code runs meanwhile. */
  #readMemory(region: Region, id: number, offset: number, count: number, noReply: boolean): AccessResult {
    const start = this.#outbox.room(ACCESS_BYTES + count);
    const result = region.read(offset, count, this.#outbox.view, start + DATA);
    if (result !== 0 || noReply) return result;
    this.#describe(start, region.index, offset, count);
    this.#outbox.claimReply(start, id, VFIO_USER_REGION_READ, ACCESS_BYTES - VFIO_USER_HEADER_SIZE + count);
    return 0;
  }

  #answerRead(id: number, index: number, offset: number, count: number): void {
    const start = this.#outbox.room(ACCESS_BYTES + count);
    this.#describe(start, index, offset, count);
    const { view, bytes } = this.#outbox;
    if (count === 4) view.setInt32(start + DATA, this.#scratch.getInt32(0, true), true);
    else if (count <= LOOP_BYTES) {
      for (let i = 0; i < count; i++) bytes[start + DATA + i] = this.#scratchBytes[i]!;
    } else bytes.set(this.#scratchBytes.subarray(0, count), start + DATA);
    this.#outbox.claimReply(start, id, VFIO_USER_REGION_READ, ACCESS_BYTES - VFIO_USER_HEADER_SIZE + count);
  }

  #describe(start: number, index: number, offset: number, count: number): void {
    const view = this.#outbox.view;
    view.setUint32(start + OFFSET_LOW, offset >>> 0, true);
    view.setUint32(start + OFFSET_HIGH, Math.floor(offset / TWO_POW_32), true);
    view.setUint32(start + REGION, index, true);
    view.setUint32(start + COUNT, count, true);
  }

  #writeEntry(view: DataView, entry: number): AccessResult {
    const count = view.getUint32(entry + ENTRY_COUNT, true);
    if (count > VFIO_USER_WRITE_MULTI_MAX_BYTES) return ERRNO.EINVAL;
    const index = view.getUint32(entry + ENTRY_REGION, true);
    const region = index === this.#lastIndex ? this.#last : this.#find(index);
    if (region === null) return ERRNO.EINVAL;
    const offset = view.getUint32(entry + 4, true) * TWO_POW_32 + view.getUint32(entry, true);
    return this.#store(region, offset, count, view, entry + ENTRY_DATA);
  }

  #entryBehind(view: DataView, entry: number): AccessResult {
    if (
      this.background.size === 0 ||
      view.getUint32(entry + ENTRY_COUNT, true) > VFIO_USER_WRITE_MULTI_MAX_BYTES
    ) {
      return this.#writeEntry(view, entry);
    }
    const result = this.#behind(rangeOf(view, entry), view, entry + ENTRY_DATA);
    return result === 0 ? this.#writeEntry(view, entry) : result;
  }

  #entryDropped(view: DataView, entry: number, errno: number): void {
    const { regionIndex, offset, count } = rangeOf(view, entry);
    this.#onDropped(regionIndex, offset, count, errno);
  }

  #stopMulti(id: number, command: number, done: number, errno: number): number {
    if (done === 0) return errno;
    this.#multiDone(id, command, done);
    return 0;
  }

  #multiDone(id: number, command: number, done: number): void {
    const start = this.#outbox.room(VFIO_USER_HEADER_SIZE + MULTI_REPLY_BODY_BYTES);
    this.#outbox.view.setUint32(start + MULTI_COUNT, done, true);
    this.#outbox.view.setUint32(start + MULTI_COUNT + 4, 0, true);
    this.#outbox.claimReply(start, id, command, MULTI_REPLY_BODY_BYTES);
  }

  /** Goes on with a copy of the message after a write that took time, so that the socket's buffer can be used again. */
  async #finishMulti(
    first: AccessResult,
    view: DataView,
    at: number,
    size: number,
    from: number,
    noReply: boolean,
  ): Promise<number> {
    const copy = new DataView(view.buffer.slice(view.byteOffset + at, view.byteOffset + at + size));
    const entries = (size - MULTI_ENTRIES) / ENTRY_BYTES;
    const id = copy.getUint16(0, true);
    const command = copy.getUint16(2, true);
    let entry = MULTI_ENTRIES + from * ENTRY_BYTES;
    const slow = new SlowSeries(rangeOf(copy, entry), this.background, () => this.#leaveScratch());
    this.slow = slow;
    let result: AccessResult = first;
    for (let done = from; done < entries; ) {
      const errno =
        typeof result === 'number'
          ? result
          : await slow.wait(rangeOf(copy, entry), result, this.#takeQueued());
      if (errno !== 0) {
        if (!noReply) return this.#stopMulti(id, command, done, errno);
        this.#entryDropped(copy, entry, errno);
      }
      done += 1;
      entry += ENTRY_BYTES;
      if (done < entries) result = this.#entryBehind(copy, entry);
    }
    if (!noReply) this.#multiDone(id, command, entries);
    return 0;
  }
}

/** Of a write in a series, and of an access: both begin alike. */
function rangeOf(view: DataView, entry: number): WriteRange {
  return {
    regionIndex: view.getUint32(entry + ENTRY_REGION, true),
    offset: readU64(view, entry),
    count: view.getUint32(entry + ENTRY_COUNT, true),
  };
}
