/*
 * A file that a client gave us as DMA memory: mapped by windows when it is first touched, shared by all who use it.
 *
 * Every mapping is guarded: when the memory goes away under us (a truncated file, a region of a suspended device of
 * another process), the addon puts zero pages under the window and marks it lost. Then the access at hand fails, and
 * the next one maps the window again if the file is long enough by then (R7). Nothing here asks the kernel anything
 * as long as the window is there.
 */
import type { FileIdentity, Mapping, SysLayer } from '../sys/sys-layer.ts';
import type { Share } from './budget.ts';
import { parseRegionName, type RegionName } from './consent-name.ts';
import { NO_BYTES, pageFloor, WINDOW_BYTES, windowIndex } from './window.ts';

/** fcntl(2) seals, from linux/fcntl.h. */
export const F_SEAL_SHRINK = 0x0002;
const F_SEAL_WRITE = 0x0008;
const F_SEAL_FUTURE_WRITE = 0x0010;

const O_RDONLY = 0;
const O_WRONLY = 1;

/** One (device, inode, access mode). Made and closed by `ClientFiles`. */
export class ClientFile {
  readonly identity: FileIdentity;
  /** What its name says if it is a region's memfd: of a device in another process, since ours are looked up first. */
  readonly region: RegionName | null;
  /** Users: `ClientMemory` sources. */
  references = 0;
  /** Set once mapping it has failed: from then on it is read and written with pread and pwrite. */
  fileIo: boolean;

  readonly #sys: SysLayer;
  readonly #fd: number;
  readonly #windowShare: Share;
  readonly #windows: Map<number, Mapping> = new Map();
  #lastIndex = -1;
  #last: Mapping | undefined;

  /** Adopts `fd`. */
  constructor(sys: SysLayer, fd: number, identity: FileIdentity, windows: Share) {
    this.#sys = sys;
    this.#fd = fd;
    this.#windowShare = windows;
    this.identity = identity;
    this.region = this.sealed ? null : parseRegionName(sys.fdName(fd));
    this.fileIo = identity.accessMode === O_WRONLY;
  }

  /** The kernel promises that it never gets shorter. */
  get sealed(): boolean {
    return this.identity.seals > 0 && (this.identity.seals & F_SEAL_SHRINK) !== 0;
  }

  /** Whether a new mapping of it may be written to. */
  get writable(): boolean {
    const { accessMode, seals } = this.identity;
    return accessMode !== O_RDONLY && (seals < 0 || (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) === 0);
  }

  /** File offset of the first byte of the window that holds `offset`. */
  windowStart(offset: number): number {
    return windowIndex(offset) * WINDOW_BYTES;
  }

  /**
   * The window that holds `offset` and, up to the window's end, `length` bytes after it. Empty when the memory is not
   * there: the file is too short, or it cannot be mapped (then `fileIo` is set). Good until the next call, not to be kept.
   */
  bytesAt(offset: number, length: number): Uint8Array {
    const index = windowIndex(offset);
    const mapping = index === this.#lastIndex ? this.#last : this.#windows.get(index);
    if (mapping !== undefined && !mapping.lost && covers(mapping, offset - index * WINDOW_BYTES, length)) {
      this.#lastIndex = index;
      this.#last = mapping;
      return mapping.bytes;
    }
    return this.#obtain(index, mapping, offset, length);
  }

  /** A mapping of its own for a holder that must be cut off alone. EINVAL: the file ends before the range now. */
  mapApart(offset: number, sizeBytes: number, write: boolean): Mapping {
    return this.#sys.map(this.#fd, offset, sizeBytes, write ? 'rw' : 'r');
  }

  /** Whether the file reaches to `end` now. */
  reaches(end: number): boolean {
    return this.#sys.identity(this.#fd).sizeBytes >= end;
  }

  /** Bytes read: fewer than `length` where the file ends. */
  pread(offset: number, target: Uint8Array, at: number, length: number): number {
    return this.#sys.pread(this.#fd, target, at, length, offset);
  }

  /** Bytes written. Never beyond the end of the file: pwrite would make it longer. */
  pwrite(offset: number, source: Uint8Array, at: number, length: number): number {
    return this.reaches(offset + length) ? this.#sys.pwrite(this.#fd, source, at, length, offset) : 0;
  }

  /** Unmaps the windows and closes the fd. */
  close(): void {
    for (const mapping of this.#windows.values()) mapping.unmap();
    for (let i = this.#windows.size; i > 0; i--) this.#windowShare.give();
    this.#windows.clear();
    this.#last = undefined;
    this.#lastIndex = -1;
    this.#sys.close(this.#fd);
  }

  #obtain(index: number, present: Mapping | undefined, offset: number, length: number): Uint8Array {
    const start = index * WINDOW_BYTES;
    const sizeBytes = this.#sys.identity(this.#fd).sizeBytes;
    if (sizeBytes < Math.min(offset + length, start + WINDOW_BYTES)) return NO_BYTES;
    if (present !== undefined) {
      if (present.lost && sizeBytes >= start + present.sizeBytes) return this.#restore(present, start);
      this.#drop(index, present); // the file is of another length now, and so will be its window
    }
    const mapping = this.#map(start, Math.min(WINDOW_BYTES, pageFloor(sizeBytes - start)));
    if (mapping === null) return NO_BYTES;
    this.#windows.set(index, mapping);
    return mapping.bytes;
  }

  #restore(mapping: Mapping, start: number): Uint8Array {
    try {
      mapping.replace(this.#fd, start);
    } catch {
      return NO_BYTES; // it went away again at this very moment
    }
    return mapping.bytes;
  }

  #drop(index: number, mapping: Mapping): void {
    mapping.unmap();
    this.#windows.delete(index);
    this.#windowShare.give();
    this.#last = undefined;
    this.#lastIndex = -1;
  }

  #map(start: number, sizeBytes: number): Mapping | null {
    if (this.fileIo) return null;
    if (this.#windowShare.take()) {
      try {
        return this.#sys.map(this.#fd, start, sizeBytes, this.writable ? 'rw' : 'r');
      } catch {
        // Not mappable (ENODEV, EACCES), or no room left for it (ENOMEM): reading the file works in each case.
        this.#windowShare.give();
      }
    }
    this.fileIo = true;
    return null;
  }
}

function covers(mapping: Mapping, offset: number, length: number): boolean {
  return mapping.sizeBytes === WINDOW_BYTES || offset + length <= mapping.sizeBytes;
}
