/*
 * A memfd in memory: sparse pages, and an extent (one ArrayBuffer) for every part that was ever mapped, so that windows on
 * the same place share their bytes. What a fake cannot do: two windows share bytes only within one extent (1 GiB of the
 * file, up to the end that the file had when it was first mapped there), and a window that was revoked or replaced leaves
 * the other windows on its old place with a copy.
 */

import { ERRNO } from '../abi/errno.ts';
import { sysError } from './sys-error.ts';

export const PAGE_BYTES: number = 4096;
/** Largest window, and how a file is cut into extents. */
export const EXTENT_BYTES: number = 2 ** 30;

export const F_SEAL_SEAL = 0x1;
export const F_SEAL_SHRINK = 0x2;
export const F_SEAL_GROW = 0x4;
export const F_SEAL_WRITE = 0x8;
export const F_SEAL_FUTURE_WRITE = 0x10;

const FALLOC_FL_KEEP_SIZE = 0x1;
const FALLOC_FL_PUNCH_HOLE = 0x2;

interface Extent {
  readonly start: number;
  readonly bytes: Uint8Array;
}

/** What a window is told by the file under it. */
export interface FileWindow {
  readonly offset: number;
  readonly sizeBytes: number;
  memoryLost(): void;
}

export class FakeFile {
  readonly ino: number;
  readonly name: string;
  sizeBytes = 0;
  seals: number;
  readonly windows: Set<FileWindow> = new Set();
  private readonly pages = new Map<number, Uint8Array>();
  private extents: Extent[] = [];

  constructor(ino: number, name: string, allowSealing: boolean) {
    this.ino = ino;
    this.name = name;
    this.seals = allowSealing ? 0 : F_SEAL_SEAL;
  }

  addSeals(seals: number): void {
    if (this.seals & F_SEAL_SEAL) throw sysError(ERRNO.EPERM, `sealing '${this.name}'`);
    this.seals |= seals;
  }

  resize(sizeBytes: number): void {
    const shrinks = sizeBytes < this.sizeBytes;
    if (shrinks && this.seals & F_SEAL_SHRINK) throw sysError(ERRNO.EPERM, `shrinking '${this.name}'`);
    if (sizeBytes > this.sizeBytes && this.seals & F_SEAL_GROW)
      throw sysError(ERRNO.EPERM, `growing '${this.name}'`);
    if (shrinks) this.cut(sizeBytes);
    this.sizeBytes = sizeBytes;
  }

  allocate(mode: number, offset: number, length: number): void {
    if (offset < 0 || length <= 0) throw sysError(ERRNO.EINVAL, `allocating in '${this.name}'`);
    if (mode & FALLOC_FL_PUNCH_HOLE) {
      if (this.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
        throw sysError(ERRNO.EPERM, `punching '${this.name}'`);
      this.clear(offset, offset + length);
      return;
    }
    const end = offset + length;
    if (!(mode & FALLOC_FL_KEEP_SIZE) && end > this.sizeBytes) this.resize(end);
    for (let page = Math.floor(offset / PAGE_BYTES); page * PAGE_BYTES < end; page++) {
      if (this.extentAt(page * PAGE_BYTES) === undefined) this.page(page);
    }
  }

  read(position: number, target: Uint8Array, at: number, length: number): number {
    const count = Math.max(0, Math.min(length, this.sizeBytes - position));
    this.visit(position, count, (from, size, done) => {
      const source = this.storage(from, false);
      if (source === null) target.fill(0, at + done, at + done + size);
      else target.set(source.subarray(0, size), at + done);
    });
    return count;
  }

  write(position: number, source: Uint8Array, at: number, length: number): number {
    if (this.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
      throw sysError(ERRNO.EPERM, `writing '${this.name}'`);
    if (position + length > this.sizeBytes) this.resize(position + length);
    this.visit(position, length, (from, size, done) => {
      this.storage(from, true)!.set(source.subarray(at + done, at + done + size));
    });
    return length;
  }

  /** The starts of the pages in [start, end) that hold something, in order. */
  populated(start: number, end: number): number[] {
    const found: number[] = [];
    for (const page of this.pages.keys()) {
      const at = page * PAGE_BYTES;
      if (at >= start && at < end) found.push(at);
    }
    for (const extent of this.extents) {
      for (let at = 0; at < extent.bytes.length; at += PAGE_BYTES) {
        if (extent.start + at < start || extent.start + at >= end) continue;
        if (extent.bytes.subarray(at, at + PAGE_BYTES).some((byte) => byte !== 0))
          found.push(extent.start + at);
      }
    }
    return found.sort((a, b) => a - b);
  }

  /** The bytes of a window: shared with every other window there, or a copy where that cannot be. */
  bytesFor(offset: number, sizeBytes: number): Uint8Array {
    const start = Math.floor(offset / EXTENT_BYTES) * EXTENT_BYTES;
    const existing = this.extentAt(offset);
    if (existing !== undefined) return this.within(existing, offset, sizeBytes);
    const fileEnd = Math.ceil(this.sizeBytes / PAGE_BYTES) * PAGE_BYTES;
    const bytes = new Uint8Array(Math.min(EXTENT_BYTES, fileEnd - start));
    return this.within(this.adopt(start, bytes), offset, sizeBytes);
  }

  /** Makes `bytes` what is stored from `offset` on, unless something there is mapped already; fills it with what is there. */
  adoptOrCopy(offset: number, bytes: Uint8Array): void {
    const end = offset + bytes.length;
    const taken = this.extents.some((each) => each.start < end && offset < each.start + each.bytes.length);
    if (taken) this.read(offset, bytes, 0, bytes.length);
    else this.adopt(offset, bytes);
  }

  /** Keeps the contents of the extent that holds `bytes` elsewhere: the window is about to show something else. */
  evacuate(bytes: Uint8Array): void {
    const extent = this.extents.find((each) => each.bytes.buffer === bytes.buffer);
    if (extent === undefined) return;
    const populated = this.populated(extent.start, extent.start + extent.bytes.length);
    this.extents = this.extents.filter((each) => each !== extent);
    for (const at of populated) {
      this.page(at / PAGE_BYTES).set(
        extent.bytes.subarray(at - extent.start, at - extent.start + PAGE_BYTES),
      );
    }
  }

  private adopt(start: number, bytes: Uint8Array): Extent {
    bytes.fill(0);
    const extent = { start, bytes };
    for (const at of this.populated(start, start + bytes.length)) {
      bytes.set(this.page(at / PAGE_BYTES), at - start);
      this.pages.delete(at / PAGE_BYTES);
    }
    this.extents.push(extent);
    return extent;
  }

  private within(extent: Extent, offset: number, sizeBytes: number): Uint8Array {
    const at = offset - extent.start;
    if (at + sizeBytes <= extent.bytes.length) return extent.bytes.subarray(at, at + sizeBytes);
    const copy = new Uint8Array(sizeBytes);
    this.read(offset, copy, 0, sizeBytes);
    return copy;
  }

  private extentAt(position: number): Extent | undefined {
    return this.extents.find((each) => position >= each.start && position < each.start + each.bytes.length);
  }

  private page(index: number): Uint8Array {
    let page = this.pages.get(index);
    if (page === undefined) {
      page = new Uint8Array(PAGE_BYTES);
      this.pages.set(index, page);
    }
    return page;
  }

  /** Where the byte at `position` and the rest of its page are kept. */
  private storage(position: number, make: boolean): Uint8Array | null {
    const extent = this.extentAt(position);
    if (extent !== undefined) return extent.bytes.subarray(position - extent.start);
    const index = Math.floor(position / PAGE_BYTES);
    const page = make ? this.page(index) : this.pages.get(index);
    return page === undefined ? null : page.subarray(position % PAGE_BYTES);
  }

  /** Calls `piece` for each part of [position, position + length) that lies in one page. */
  private visit(
    position: number,
    length: number,
    piece: (from: number, size: number, done: number) => void,
  ): void {
    for (let done = 0; done < length; ) {
      const from = position + done;
      const size = Math.min(length - done, PAGE_BYTES - (from % PAGE_BYTES));
      piece(from, size, done);
      done += size;
    }
  }

  private clear(start: number, end: number): void {
    for (const at of this.populated(Math.floor(start / PAGE_BYTES) * PAGE_BYTES, end)) {
      const from = Math.max(at, start);
      const to = Math.min(at + PAGE_BYTES, end);
      this.storage(from, false)?.fill(0, 0, to - from);
      if (to - from === PAGE_BYTES) this.pages.delete(at / PAGE_BYTES);
    }
  }

  private cut(sizeBytes: number): void {
    this.clear(sizeBytes, Number.POSITIVE_INFINITY);
    const end = Math.ceil(sizeBytes / PAGE_BYTES) * PAGE_BYTES;
    this.extents = this.extents.filter((extent) => extent.start < end);
    for (const window of this.windows) {
      if (window.offset + window.sizeBytes > end) window.memoryLost();
    }
  }
}
