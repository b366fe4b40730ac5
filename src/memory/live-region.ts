/*
 * The memory behind a mappable region, live: a memfd that clients map, with the region's bytes at file offset
 * `index << 40` (R1), and windows of our own over the same pages.
 *
 * Who holds the fd can map it for as long as it likes, and no kernel driver stands in between as with /dev/vfio. So
 * taking the memory away (R4) means taking it out of the file: suspend copies the populated pages to a second, private
 * memfd, maps that over our own windows (same addresses, so views in JavaScript stay good) and truncates the file of
 * the clients to nothing. A touch of theirs is SIGBUS then. Resume brings the pages back into the same inode, so
 * mappings that were made before fault in again (R7) and find what was there (R8).
 *
 * Cost: a region that nobody outside ever received only changes a flag. Otherwise both ways copy what is populated (not
 * the region's size) in the caller's thread: some 40 us, and about 1 ms for each populated MiB, most of it the kernel's
 * work on 4 KiB pages. A device with hundreds of MiB that its guest fills and suspends belongs in a worker. Stores that
 * another process makes while suspend runs may be lost one by one, as posted writes to a device that goes away.
 */
import { indexToOffset, type RegionMemory, VfioError } from '../core/index.ts';
import type { FileIdentity, Mapping, SysLayer } from '../sys/sys-layer.ts';
import { NO_BYTES, pageCeil, pageFloor, WINDOW_BYTES, windowIndex } from './window.ts';

/** fallocate(2) modes, from linux/falloc.h. */
const FALLOC_FL_KEEP_SIZE = 0x01;
const FALLOC_FL_PUNCH_HOLE = 0x02;

/** No file. */
const NO_FD = -1;

/** What a region's memory is made for. */
export interface LiveRegionOptions {
  /** Region index: it decides where in the file the bytes lie. */
  readonly index: number;
  readonly sizeBytes: number;
  /** The memfd's name as it should be now; it may change with the driver's consent until the fd is given away. */
  readonly name: () => string;
  /** The file is another one now (again a fresh name). Not called for the first file. */
  readonly onFile?: (now: FileIdentity, before: FileIdentity) => void;
  /** Somebody truncated the file or memory ran out: what was lost reads as zeros from now on. */
  readonly onLost?: () => void;
}

/** Memory of one region, shared with other processes by its fd. */
export class LiveRegionMemory implements RegionMemory {
  readonly sizeBytes: number;

  readonly #sys: SysLayer;
  readonly #options: LiveRegionOptions;
  readonly #base: number;
  readonly #windows: (Mapping | null)[];
  #fileName: string;
  /** The file that clients get: one inode for life once it was given away. */
  #file: number;
  /** Where the bytes live while the clients are cut off. Made before anybody can be: suspend must not fail for an fd. */
  #refuge: number = NO_FD;
  #suspended = false;
  #cutOff = false;
  #released = false;
  #losses = 0;

  constructor(sys: SysLayer, options: LiveRegionOptions) {
    this.#sys = sys;
    this.#options = options;
    this.#base = indexToOffset(options.index);
    this.sizeBytes = pageCeil(options.sizeBytes);
    this.#windows = new Array(Math.ceil(this.sizeBytes / WINDOW_BYTES)).fill(null);
    this.#fileName = options.name();
    this.#file = this.#create(this.#fileName);
  }

  /** Which file it is: (dev, ino) of any fd of it that comes back to us. */
  get identity(): FileIdentity {
    this.#assertAlive();
    return this.#sys.identity(this.#file);
  }

  /** Whether another process may hold its fd. */
  get shared(): boolean {
    return this.#refuge !== NO_FD;
  }

  /** Whether everybody else is cut off now. */
  get suspended(): boolean {
    return this.#suspended;
  }

  /** Bytes of memory that it really takes. */
  get populatedBytes(): number {
    return this.#released ? 0 : this.#sys.populatedBytes(this.#home);
  }

  /** How often contents were lost: a client truncated the file, or memory ran out. */
  get losses(): number {
    return this.#losses;
  }

  /**
   * Whether contents were taken away since the last look, by a client that truncated the file. Looking repairs it: the
   * memory is whole again afterwards, zeros where it was lost, so what hit the loss fails and the next access works.
   */
  get lost(): boolean {
    const windows = this.#windows;
    for (let index = 0; index < windows.length; index++) {
      const mapping = windows[index];
      if (mapping === null || mapping === undefined || !mapping.lost) continue;
      this.#repair();
      return true;
    }
    return false;
  }

  bytesAt(offset: number): Uint8Array {
    const mapping = this.#windows[windowIndex(offset)];
    if (mapping !== null && mapping !== undefined && !mapping.lost) return mapping.bytes;
    return this.#obtain(windowIndex(offset));
  }

  windowStart(offset: number): number {
    return windowIndex(offset) * WINDOW_BYTES;
  }

  /**
   * The fd to give to a client. It stays ours: send it, or dup it to keep it. From the first call on, somebody outside
   * may have it, and suspend does its work. ENODEV after release.
   */
  shareFd(): number {
    this.#assertAlive();
    if (this.#refuge === NO_FD) {
      if (this.#options.name() !== this.#fileName) this.#rename();
      this.#refuge = this.#sys.memfdCreate(this.#fileName);
      if (this.#suspended) this.#cut();
    }
    return this.#file;
  }

  /** A mapping of its own for a holder that must be cut off alone. `offset` and `sizeBytes` are whole pages. */
  mapApart(offset: number, sizeBytes: number, write: boolean): Mapping {
    this.#assertAlive();
    return this.#sys.map(this.#home, this.#base + offset, sizeBytes, write ? 'rw' : 'r');
  }

  /** Views that were handed out by `bytesAt` have length 0 from now on; the next ones are good. */
  forgetViews(): void {
    for (const mapping of this.#windows) mapping?.unmap();
    this.#windows.fill(null);
  }

  suspend(): void {
    if (this.#suspended || this.#released) return;
    this.#suspended = true;
    if (this.shared) this.#cut();
  }

  resume(): void {
    if (!this.#suspended || this.#released) return;
    this.#suspended = false;
    if (this.#cutOff) this.#join();
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    // The file may live on in other processes; its memory does not.
    this.#sys.ftruncate(this.#file, 0);
    this.forgetViews();
    this.#sys.close(this.#file);
    if (this.#refuge !== NO_FD) this.#sys.close(this.#refuge);
    this.#file = NO_FD;
    this.#refuge = NO_FD;
  }

  clear(offset: number, size: number): void {
    if (this.#released) return;
    const first = pageCeil(offset);
    const end = pageFloor(offset + size);
    if (first >= end) {
      this.#fillZero(offset, offset + size);
      return;
    }
    this.#fillZero(offset, first);
    this.#sys.fallocate(
      this.#home,
      FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
      this.#base + first,
      end - first,
    );
    this.#fillZero(end, offset + size);
  }

  /** The file that holds the bytes now. */
  get #home(): number {
    return this.#cutOff ? this.#refuge : this.#file;
  }

  get #fileBytes(): number {
    return this.#base + this.sizeBytes;
  }

  #create(name: string): number {
    const fd = this.#sys.memfdCreate(name);
    this.#sys.ftruncate(fd, this.#fileBytes);
    return fd;
  }

  #obtain(index: number): Uint8Array {
    if (this.#released || index >= this.#windows.length) return NO_BYTES;
    const present = this.#windows[index];
    if (present) {
      this.#repair();
      return present.bytes;
    }
    const start = index * WINDOW_BYTES;
    this.#growHome(); // a client may have truncated a file that we had not mapped yet
    const mapping = this.#sys.map(
      this.#home,
      this.#base + start,
      Math.min(WINDOW_BYTES, this.sizeBytes - start),
      'rw',
    );
    this.#windows[index] = mapping;
    return mapping.bytes;
  }

  /** Suspend, for a region that others may have mapped. Ends with the file empty whatever else goes wrong. */
  #cut(): void {
    let whole = this.#sys.identity(this.#file).sizeBytes >= this.#fileBytes;
    try {
      this.#sys.ftruncate(this.#refuge, this.#fileBytes);
      this.#sys.copyPopulated(this.#file, this.#refuge, this.#base, this.sizeBytes);
    } catch {
      whole = false; // no memory left for the copy
    }
    this.#cutOff = true;
    this.#moveWindows();
    this.#sys.ftruncate(this.#file, 0);
    if (!whole) this.#tellLoss();
  }

  /** Resume, after a cut: the pages go back into the clients' file. */
  #join(): void {
    let whole = true;
    // A client may have made the file longer meanwhile and put something there.
    this.#sys.ftruncate(this.#file, 0);
    try {
      // Written from low to high, so the file grows with what it holds: nobody sees a page before its contents.
      this.#sys.copyPopulated(this.#refuge, this.#file, this.#base, this.sizeBytes);
    } catch {
      whole = false;
    }
    this.#sys.ftruncate(this.#file, this.#fileBytes);
    this.#cutOff = false;
    this.#moveWindows();
    this.#sys.ftruncate(this.#refuge, 0);
    if (!whole) this.#tellLoss();
  }

  /** A new file under a new name, as long as nobody has the old one. */
  #rename(): void {
    const before = this.#sys.identity(this.#file);
    const old = this.#file;
    this.#fileName = this.#options.name();
    this.#file = this.#create(this.#fileName);
    this.#sys.copyPopulated(old, this.#file, this.#base, this.sizeBytes);
    this.#moveWindows();
    this.#sys.close(old);
    this.#options.onFile?.(this.#sys.identity(this.#file), before);
  }

  #moveWindows(): void {
    for (let index = 0; index < this.#windows.length; index++) {
      this.#place(index);
    }
  }

  #growHome(): boolean {
    if (this.#sys.identity(this.#home).sizeBytes >= this.#fileBytes) return false;
    this.#sys.ftruncate(this.#home, this.#fileBytes);
    return true;
  }

  /** Makes the file as long as it has to be and maps it again where the mapping was lost. */
  #repair(): void {
    this.#growHome();
    for (let index = 0; index < this.#windows.length; index++) {
      if (this.#windows[index]?.lost) this.#place(index);
    }
    this.#tellLoss();
  }

  #place(index: number): void {
    try {
      this.#windows[index]?.replace(this.#home, this.#base + index * WINDOW_BYTES);
    } catch (error) {
      // A client truncated the file at this very moment. The next touch finds out, and the look after it repairs.
      if (!(error instanceof VfioError) || error.code !== 'EINVAL') throw error;
    }
  }

  #tellLoss(): void {
    this.#losses += 1;
    this.#options.onLost?.();
  }

  #fillZero(from: number, end: number): void {
    for (let at = from; at < end; ) {
      const bytes = this.bytesAt(at);
      const inWindow = at - this.windowStart(at);
      const length = Math.min(end - at, bytes.length - inWindow);
      bytes.fill(0, inWindow, inWindow + length);
      at += length;
    }
  }

  #assertAlive(): void {
    if (this.#released) {
      throw new VfioError('ENODEV', 'the region was released; open the device again to get its memory');
    }
  }
}
