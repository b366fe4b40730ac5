/*
 * A VMA: one process's mapping of a part of a file, and R2's lookup from it back to device, region and
 * offset.
 *
 * User space may split, shrink and move a VMA (munmap, mprotect, mremap), so what it maps is always computed
 * from the pgoff that it has now (R1). Nothing here keeps a device, a region or an offset from the time of
 * the mmap.
 */
import type { AddressSpace } from './address-space.ts';
import type { VfioDevice } from './device.ts';
import { DeviceFile, type ForeignFile } from './device-file.ts';
import { assert, VfioError } from './error.ts';
import { offsetInRegion, offsetToIndex, PAGE_SIZE, pgoffToOffset } from './offset.ts';
import type { Region } from './region.ts';

/** How a VMA is made. `start` and `sizeBytes` are whole pages; `pgoff` counts pages in the file. */
export interface VmaOptions {
  readonly file: DeviceFile | ForeignFile;
  readonly process: string;
  readonly start: number;
  readonly sizeBytes: number;
  readonly pgoff: number;
}

/** What a VMA shows of a device. `offset` counts bytes in the region. */
export interface DeviceRange {
  readonly device: VfioDevice;
  readonly region: Region;
  readonly offset: number;
}

/** Counterpart of `struct vm_area_struct`. */
export class Vma {
  readonly file: DeviceFile | ForeignFile;
  /** Who maps: a process's name, or what stands for several (whoever holds an fd). */
  readonly process: string;
  #start: number;
  #sizeBytes: number;
  #pgoff: number;
  #space: AddressSpace | null = null;

  constructor(options: VmaOptions) {
    this.file = options.file;
    this.process = options.process;
    this.#start = options.start;
    this.#sizeBytes = options.sizeBytes;
    this.#pgoff = options.pgoff;
    assertPages(this.#start, 'start');
    assertPages(this.#sizeBytes, 'size');
    assertPages(this.#pgoff * PAGE_SIZE, 'offset');
    assert(this.#sizeBytes > 0, 'a VMA has at least one page');
    assert(Number.isSafeInteger(this.end), 'a VMA ends below 2^53');
    assert(Number.isSafeInteger(this.endPgoff * PAGE_SIZE), 'a VMA shows offsets below 2^53');
  }

  /** Virtual address of the first byte. */
  get start(): number {
    return this.#start;
  }

  /** Virtual address after the last byte. */
  get end(): number {
    return this.#start + this.#sizeBytes;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Page of the file that `start` shows (vm_pgoff). */
  get pgoff(): number {
    return this.#pgoff;
  }

  /** Page of the file after the last one that is shown. */
  get endPgoff(): number {
    return this.#pgoff + this.#sizeBytes / PAGE_SIZE;
  }

  /** The address space that holds it, or null. */
  get space(): AddressSpace | null {
    return this.#space;
  }

  /**
   * Cuts it in two at a page address inside it, as munmap or mprotect of a part do. This VMA keeps the low
   * part; the high part is a new one in the same address space. Returns both, low first.
   */
  split(at: number): [Vma, Vma] {
    assertPages(at, 'cut');
    assert(at > this.start && at < this.end, `cut at ${at} is not inside ${this.start}..${this.end}`);
    const { file, process } = this;
    const low = at - this.start;
    const high = new Vma({
      file,
      process,
      start: at,
      sizeBytes: this.#sizeBytes - low,
      pgoff: this.#pgoff + low / PAGE_SIZE,
    });
    const space = this.#space;
    this.#change(this.#start, low, this.#pgoff);
    space?.insert(high);
    return [this, high];
  }

  /**
   * Gives up pages until `sizeBytes` are left: the last ones, or the first ones (then start and pgoff go up).
   */
  shrink(sizeBytes: number, giveUp: 'tail' | 'head' = 'tail'): void {
    assertPages(sizeBytes, 'size');
    assert(
      sizeBytes > 0 && sizeBytes <= this.#sizeBytes,
      `${sizeBytes} bytes are not a part of ${this.#sizeBytes}`,
    );
    const skipped = giveUp === 'head' ? this.#sizeBytes - sizeBytes : 0;
    this.#change(this.#start + skipped, sizeBytes, this.#pgoff + skipped / PAGE_SIZE);
  }

  /**
   * mremap to another address: what it shows stays the same. Growing is refused by the kernel
   * (VM_DONTEXPAND).
   */
  move(newStart: number): void {
    assertPages(newStart, 'start');
    assert(Number.isSafeInteger(newStart + this.#sizeBytes), 'a VMA ends below 2^53');
    this.#change(newStart, this.#sizeBytes, this.#pgoff);
  }

  /** @internal The address space's: it took this VMA in, or let it go. */
  enter(space: AddressSpace | null): void {
    assert(space === null || this.#space === null, 'a VMA is in one address space at a time');
    this.#space = space;
  }

  #change(start: number, sizeBytes: number, pgoff: number): void {
    const space = this.#space;
    space?.remove(this);
    this.#start = start;
    this.#sizeBytes = sizeBytes;
    this.#pgoff = pgoff;
    space?.insert(this);
  }
}

/**
 * R2: what [address, address + sizeBytes) of a VMA shows, if it may reach an IOMMU; the whole VMA unless told
 * otherwise. null for a file that is no device's, a released device, an index without a region, and whatever
 * is not wholly in mappable areas with consent. Memory that is suspended is still found: mapping it is the
 * IOMMU's EFAULT. Counterpart of the RFC's `vfio_device_get_from_vma`.
 */
export function deviceFromVma(
  vma: Vma,
  address: number = vma.start,
  sizeBytes: number = vma.end - address,
): DeviceRange | null {
  if (!(vma.file instanceof DeviceFile)) return null;
  if (address < vma.start || sizeBytes <= 0 || address + sizeBytes > vma.end) return null;
  const { device } = vma.file;
  if (device.released) return null;
  const fileOffset = pgoffToOffset(vma.pgoff) + (address - vma.start);
  const region = device.regions.get(offsetToIndex(fileOffset));
  if (region === undefined) return null;
  const offset = offsetInRegion(fileOffset);
  return region.consent(offset, sizeBytes) === 'allow' ? { device, region, offset } : null;
}

function assertPages(value: number, what: string): void {
  if (Number.isSafeInteger(value) && value >= 0 && value % PAGE_SIZE === 0) return;
  throw new VfioError('EINVAL', `${what} ${value} of a VMA is not a multiple of ${PAGE_SIZE} below 2^53`);
}
