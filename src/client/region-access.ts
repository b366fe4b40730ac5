/*
 * Message accesses to regions of a device behind a socket: registers, blocks, posted and batched writes. The hot path
 * of a driver: a register access writes 32 bytes into the send buffer and makes one promise.
 */
import {
  VFIO_USER_HEADER_SIZE,
  VFIO_USER_REGION_READ,
  VFIO_USER_REGION_WRITE,
  VFIO_USER_REGION_WRITE_MULTI,
  vfio_user_region_access,
  vfio_user_region_write_multi,
  vfio_user_region_write_one,
  writeU64,
} from '../abi/index.ts';
import { VfioError } from '../core/index.ts';
import type { Channel } from './channel.ts';
import type { RegisterWrite } from './device-handle.ts';
import { TRANSFERS_IN_FLIGHT, WRITE_MULTI_MAX, WRITES_IN_FLIGHT } from './limits.ts';
import type { Pending } from './pending.ts';
import { type RegisterWidth, readValue, writeValue } from './register-value.ts';
import { protocolError } from './reply-error.ts';

const ACCESS = vfio_user_region_access.at;
const ACCESS_BYTES = vfio_user_region_access.size;
const ONE = vfio_user_region_write_one;
/** Up to this many bytes a loop is faster than making a view for a block copy. */
const BYTE_LOOP_LIMIT = 64;

export class RegionAccess {
  readonly #channel: Channel;
  readonly #transferBytes: number;
  readonly #writeMultiple: boolean;

  /** @param transferBytes largest `count` of one message */
  constructor(channel: Channel, transferBytes: number, writeMultiple: boolean) {
    this.#channel = channel;
    this.#transferBytes = transferBytes;
    this.#writeMultiple = writeMultiple;
  }

  readRegister(index: number, offset: number, widthBytes: RegisterWidth): Promise<number | bigint> {
    const at = isPlace(index, offset) ? this.#channel.begin(VFIO_USER_REGION_READ, ACCESS_BYTES) : BAD_PLACE;
    if (at < 0) return this.#refused(at, index, offset);
    this.#writeAccess(at, index, offset, widthBytes);
    return this.#channel.submit(readRegisterReply, index, offset, widthBytes);
  }

  writeRegister(
    index: number,
    offset: number,
    widthBytes: RegisterWidth,
    value: number | bigint,
  ): Promise<void> {
    const channel = this.#channel;
    const bytes = ACCESS_BYTES + widthBytes;
    const at = isPlace(index, offset) ? channel.begin(VFIO_USER_REGION_WRITE, bytes) : BAD_PLACE;
    if (at < 0) return this.#refused(at, index, offset);
    this.#writeAccess(at, index, offset, widthBytes);
    writeValue(channel.view, at + ACCESS_BYTES, widthBytes, value);
    return channel.submit(readWriteReply, index, offset, widthBytes);
  }

  postRegister(index: number, offset: number, widthBytes: RegisterWidth, value: number | bigint): void {
    const channel = this.#channel;
    const bytes = ACCESS_BYTES + widthBytes;
    const at = isPlace(index, offset) ? channel.beginPosted(VFIO_USER_REGION_WRITE, bytes) : BAD_PLACE;
    if (at < 0) throw this.#refusal(at, index, offset);
    this.#writeAccess(at, index, offset, widthBytes);
    writeValue(channel.view, at + ACCESS_BYTES, widthBytes, value);
    channel.submitPosted();
  }

  post(index: number, offset: number, source: Uint8Array): void {
    const channel = this.#channel;
    for (let done = 0; done < source.length; done += this.#transferBytes) {
      const count = Math.min(this.#transferBytes, source.length - done);
      const place = offset + done;
      const bytes = ACCESS_BYTES + count;
      const at = isPlace(index, place) ? channel.beginPosted(VFIO_USER_REGION_WRITE, bytes) : BAD_PLACE;
      if (at < 0) throw this.#refusal(at, index, offset);
      this.#writeAccess(at, index, place, count);
      copyBytes(channel.bytes, at + ACCESS_BYTES, source, done, count);
      channel.submitPosted();
    }
  }

  read(index: number, offset: number, target: Uint8Array): Promise<void> {
    if (target.length === 0) return Promise.resolve();
    if (target.length <= this.#transferBytes) return this.#readOnce(index, offset, target, 0, target.length);
    return this.#inParts(target.length, (at, count) => this.#readOnce(index, offset + at, target, at, count));
  }

  write(index: number, offset: number, source: Uint8Array): Promise<void> {
    if (source.length === 0) return Promise.resolve();
    if (source.length <= this.#transferBytes) return this.#writeOnce(index, offset, source, 0, source.length);
    return this.#inParts(source.length, (at, count) =>
      this.#writeOnce(index, offset + at, source, at, count),
    );
  }

  async writeMulti(writes: readonly RegisterWrite[]): Promise<void> {
    if (!this.#writeMultiple) {
      for (let first = 0; first < writes.length; first += WRITES_IN_FLIGHT) {
        const part = writes.slice(first, first + WRITES_IN_FLIGHT);
        await Promise.all(
          part.map((each) => this.writeRegister(each.index, each.offset, each.widthBytes, each.value)),
        );
      }
      return;
    }
    const fits = Math.floor((this.#transferBytes - vfio_user_region_write_multi.size) / ONE.size);
    const most = Math.min(WRITE_MULTI_MAX, Math.max(fits, 1));
    const parts: Promise<void>[] = [];
    for (let first = 0; first < writes.length; first += most) {
      parts.push(this.#writeMany(writes.slice(first, first + most)));
    }
    await Promise.all(parts);
  }

  #readOnce(
    index: number,
    offset: number,
    target: Uint8Array,
    targetAt: number,
    count: number,
  ): Promise<void> {
    const at = isPlace(index, offset) ? this.#channel.begin(VFIO_USER_REGION_READ, ACCESS_BYTES) : BAD_PLACE;
    if (at < 0) return this.#refused(at, index, offset);
    this.#writeAccess(at, index, offset, count);
    return this.#channel.submit(readBytesReply, index, offset, count, target, targetAt);
  }

  #writeOnce(
    index: number,
    offset: number,
    source: Uint8Array,
    sourceAt: number,
    count: number,
  ): Promise<void> {
    const channel = this.#channel;
    const bytes = ACCESS_BYTES + count;
    const at = isPlace(index, offset) ? channel.begin(VFIO_USER_REGION_WRITE, bytes) : BAD_PLACE;
    if (at < 0) return this.#refused(at, index, offset);
    this.#writeAccess(at, index, offset, count);
    copyBytes(channel.bytes, at + ACCESS_BYTES, source, sourceAt, count);
    return channel.submit(readWriteReply, index, offset, count);
  }

  /** Runs a transfer in messages, a few at a time, and no faster than the server reads. */
  async #inParts(length: number, transfer: (at: number, count: number) => Promise<void>): Promise<void> {
    const underway: Promise<void>[] = [];
    try {
      for (let at = 0; at < length; at += this.#transferBytes) {
        if (underway.length >= TRANSFERS_IN_FLIGHT) await underway.shift();
        await this.#channel.room();
        const part = transfer(at, Math.min(this.#transferBytes, length - at));
        part.catch(() => undefined); // awaited below; it may fail before that
        underway.push(part);
      }
      for (const part of underway) await part;
    } catch (error) {
      await Promise.allSettled(underway); // their buffer is the caller's again only when none of them uses it
      throw error;
    }
  }

  #writeMany(writes: readonly RegisterWrite[]): Promise<void> {
    const bad = writes.find((each) => !isPlace(each.index, each.offset));
    if (bad !== undefined) return this.#refused(BAD_PLACE, bad.index, bad.offset);
    const channel = this.#channel;
    const at = channel.begin(
      VFIO_USER_REGION_WRITE_MULTI,
      vfio_user_region_write_multi.size + writes.length * ONE.size,
    );
    if (at < 0) return channel.refused();
    const { view } = channel;
    writeU64(view, at + vfio_user_region_write_multi.at.wr_cnt, writes.length);
    let entry = at + vfio_user_region_write_multi.size;
    for (const { index, offset, widthBytes, value } of writes) {
      writeU64(view, entry + ONE.at.offset, offset);
      view.setUint32(entry + ONE.at.region, index, true);
      view.setUint32(entry + ONE.at.count, widthBytes, true);
      writeU64(view, entry + ONE.at.data, 0);
      writeValue(view, entry + ONE.at.data, widthBytes, value);
      entry += ONE.size;
    }
    return channel.submit(readMultiReply, 0, 0, writes.length);
  }

  #writeAccess(at: number, index: number, offset: number, count: number): void {
    const { view } = this.#channel;
    writeU64(view, at + ACCESS.offset, offset);
    view.setUint32(at + ACCESS.region, index, true);
    view.setUint32(at + ACCESS.count, count, true);
  }

  #refusal(at: number, index: number, offset: number): VfioError {
    return at === BAD_PLACE ? badPlace(index, offset) : this.#channel.refusal();
  }

  #refused(at: number, index: number, offset: number): Promise<never> {
    return Promise.reject(this.#refusal(at, index, offset));
  }
}

/** Instead of a place in the send buffer: region or offset are no such thing. */
const BAD_PLACE = -2;

function isPlace(index: number, offset: number): boolean {
  return index >>> 0 === index && offset >= 0 && Number.isSafeInteger(offset);
}

function badPlace(index: number, offset: number): VfioError {
  return new VfioError('EINVAL', `region ${index}, offset ${offset}: both must be whole numbers from 0`);
}

function copyBytes(
  target: Uint8Array,
  targetAt: number,
  source: Uint8Array,
  sourceAt: number,
  count: number,
): void {
  if (count <= BYTE_LOOP_LIMIT) {
    for (let i = 0; i < count; i++) target[targetAt + i] = source[sourceAt + i]!;
  } else target.set(source.subarray(sourceAt, sourceAt + count), targetAt);
}

/** Checks the fixed part of a reply; returns where its data begins. */
function checkAccess(
  view: DataView,
  at: number,
  length: number,
  request: Pending,
  dataBytes: number,
): number {
  if (length !== ACCESS_BYTES + dataBytes) {
    const want = ACCESS_BYTES + dataBytes;
    throw protocolError(
      `a reply of ${VFIO_USER_HEADER_SIZE + length} bytes instead of ${VFIO_USER_HEADER_SIZE + want}`,
    );
  }
  const count = view.getUint32(at + ACCESS.count, true);
  if (count === request.count) return at + ACCESS_BYTES;
  const what = `region ${request.region}, offset 0x${request.offset.toString(16)}`;
  throw new VfioError('EIO', `${what}: only ${count} of ${request.count} bytes were transferred`);
}

function readRegisterReply(
  view: DataView,
  _bytes: Uint8Array,
  at: number,
  length: number,
  request: Pending,
): number | bigint {
  const data = checkAccess(view, at, length, request, request.count);
  return readValue(view, data, request.count as RegisterWidth);
}

function readBytesReply(
  view: DataView,
  bytes: Uint8Array,
  at: number,
  length: number,
  request: Pending,
): void {
  const data = checkAccess(view, at, length, request, request.count);
  copyBytes(request.target!, request.targetAt, bytes, data, request.count);
}

function readWriteReply(
  view: DataView,
  _bytes: Uint8Array,
  at: number,
  length: number,
  request: Pending,
): void {
  checkAccess(view, at, length, request, 0);
}

function readMultiReply(
  view: DataView,
  _bytes: Uint8Array,
  at: number,
  length: number,
  request: Pending,
): void {
  if (length !== vfio_user_region_write_multi.size)
    throw protocolError(`a reply of ${length} bytes to a batch of writes`);
  const done = view.getUint32(at + vfio_user_region_write_multi.at.wr_cnt, true);
  if (done !== request.count) {
    throw new VfioError(
      'EIO',
      `write ${done + 1} of a batch of ${request.count} failed; those after it were not done`,
    );
  }
}
