/*
 * A container: one IOMMU address space, as Linux's type1 v2 keeps it (R9), and what type1 lacks: mappings of device memory
 * that end and return with their device (R6, R7), and an unmap that knows which DMA is still in flight.
 *
 * Linux: `struct vfio_iommu`, `vfio_dma_do_map`, `vfio_dma_do_unmap`. The errno of each refusal, and which one wins when
 * several apply, are those of 7.3 (test/parity). Differences, all on purpose:
 * - IOVAs from 2^53 on are EOVERFLOW for map; for unmap nothing is ever there.
 * - An unmapped mapping with DMA in flight keeps its IOVA (EEXIST for map, its entry counts) until the last use ends.
 *   type1 has no such state because its hardware has stopped when the ioctl returns; `idle` says when that is so here.
 * - A mapping of device memory faults while its device is suspended and for good after it is released.
 */

import type { DmaFault, DmaFaultReason } from './dma.ts';
import { DmaMapping, type DmaMapRequest } from './dma-mapping.ts';
import { assert, VfioError } from './error.ts';
import { attempt, rethrow } from './events.ts';
import { IntervalMap } from './interval-map.ts';
import { checkedRanges, IOVA_END, type IovaRange, withoutMsiWindow } from './iova-ranges.ts';
import { PAGE_SIZE } from './offset.ts';
import type { DmaSource } from './source.ts';
import { dmaFault, type Translation } from './translation.ts';

/** type1's `dma_entry_limit`: what a client is told that it may map. */
export const DMA_ENTRY_LIMIT = 65_535;
/** u64 sums wrap here. */
const ADDRESS_END = 2 ** 64;

/** How a container differs from the default, which maps any IOVA in 4 KiB pages. */
export interface ContainerOptions {
  /** Mappings it holds at most; 65535 unless said otherwise. */
  readonly limit?: number;
  /** A mapping must lie in one of these. */
  readonly iovaRanges?: readonly IovaRange[];
  /** Takes the x86 MSI window out of the ranges. */
  readonly msiHole?: boolean;
  /** Bitmap of page sizes (VFIO_IOMMU_INFO_PGSIZES); the smallest is the unit of map and unmap. */
  readonly pageSizes?: number;
}

/** Told of a mapping that was unmapped, before `unmap` returns; lets go of views of its memory. */
export type UnmapListener = (mapping: DmaMapping) => void;

interface Waiter {
  /** null: all dying mappings. */
  readonly mapping: DmaMapping | null;
  readonly resolve: () => void;
}

/** One IOMMU address space; one for each client session. */
export class Container {
  readonly limit: number;
  readonly pageSizes: number;
  /** Smallest page: map and unmap are multiples of it. */
  readonly pageSizeBytes: number;
  readonly iovaRanges: readonly IovaRange[];
  readonly #map: IntervalMap<DmaMapping> = new IntervalMap<DmaMapping>();
  readonly #listeners: Set<UnmapListener> = new Set();
  #waiters: Waiter[] = [];
  #dying = 0;
  #closed = false;
  /** Where the last translation began. May be out of date: it is checked before it is used. */
  #lastSlot = 0;

  constructor(options: ContainerOptions = {}) {
    this.limit = options.limit ?? DMA_ENTRY_LIMIT;
    this.pageSizes = options.pageSizes ?? PAGE_SIZE;
    this.pageSizeBytes = smallestPage(this.pageSizes);
    const ranges = options.iovaRanges ?? [{ start: 0, end: IOVA_END }];
    this.iovaRanges = checkedRanges(options.msiHole ? withoutMsiWindow(ranges) : ranges, this.pageSizeBytes);
    assert(
      Number.isInteger(this.limit) && this.limit > 0,
      `a container for ${this.limit} mappings is of no use`,
    );
  }

  /** Mappings in the table, dying ones included. */
  get size(): number {
    return this.#map.size;
  }

  /** Mappings that still fit (VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL). */
  get available(): number {
    return this.limit - this.#map.size;
  }

  /** Nothing is mapped any more and nothing can be. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * MAP_DMA. From then on the container detaches the source when the mapping ends; after an error it is still the caller's.
   *
   * In this order: EINVAL neither read nor write; EINVAL size 0, or something is not a multiple of the page size;
   * EOVERFLOW beyond the address space; EEXIST overlap; ENOSPC limit; EINVAL outside the IOVA ranges; then the source's own
   * (device memory: EINVAL without consent, EFAULT while it cannot be reached).
   */
  map(request: DmaMapRequest): DmaMapping {
    const { iova, size, source } = request;
    const sourceOffset = request.sourceOffset ?? 0;
    if (this.#closed) throw new VfioError('EINVAL', 'the container is closed: attach to the device again');
    if (!request.read && !request.write)
      throw new VfioError('EINVAL', 'a mapping must allow read, write or both');
    if (size === 0 || !this.#aligned(size) || !this.#aligned(iova) || !this.#aligned(sourceOffset)) {
      throw new VfioError('EINVAL', `${range(iova, size)} at offset ${sourceOffset}: ${this.#unit()}`);
    }
    if (iova + size > IOVA_END || sourceOffset + size > IOVA_END) {
      throw new VfioError(
        'EOVERFLOW',
        `${range(iova, size)} ends beyond the address space: map lower or less`,
      );
    }
    if (this.#map.overlaps(iova, iova + size)) {
      throw new VfioError('EEXIST', `${range(iova, size)} overlaps a mapping: unmap that first`);
    }
    if (this.available === 0)
      throw new VfioError('ENOSPC', `all ${this.limit} mappings are in use: unmap some`);
    if (!this.#inOneRange(iova, iova + size)) {
      throw new VfioError('EINVAL', `${range(iova, size)} is not inside one IOVA range: see iovaRanges`);
    }
    admit(source, sourceOffset, request);
    const mapping = new DmaMapping(request);
    const inserted = this.#map.insert(iova, size, mapping);
    assert(inserted, 'a source may not map anything while it is being mapped');
    return mapping;
  }

  /**
   * UNMAP_DMA: ends all mappings inside [iova, iova + size) and returns how many bytes they had; 0 if there was nothing.
   * With `all`, every mapping; iova and size must be 0. Mappings with DMA in flight are dying: reply after `idle()`.
   *
   * EINVAL: not multiples of the page size, size 0, or the range would cut a mapping in two (then nothing was unmapped).
   * EOVERFLOW: the range wraps.
   */
  unmap(iova: number, size: number, options: { readonly all?: boolean } = {}): number {
    if (this.#closed) throw new VfioError('EINVAL', 'the container is closed: attach to the device again');
    if (!this.#aligned(iova)) throw new VfioError('EINVAL', `${range(iova, size)}: ${this.#unit()}`);
    if (options.all) {
      if (iova !== 0 || size !== 0) throw new VfioError('EINVAL', 'to unmap all, iova and size must be 0');
      return this.#unmapInside(0, ADDRESS_END);
    }
    if (size === 0 || !this.#aligned(size))
      throw new VfioError('EINVAL', `${range(iova, size)}: ${this.#unit()}`);
    const end = iova + size;
    if (end > ADDRESS_END) throw new VfioError('EOVERFLOW', `${range(iova, size)} wraps: unmap less`);
    const first = this.find(iova);
    const last = this.find(end - 1);
    if (
      (first && !first.dying && first.iova !== iova) ||
      (last && !last.dying && last.iova + last.size !== end)
    ) {
      throw new VfioError('EINVAL', `${range(iova, size)} cuts a mapping in two: unmap whole mappings`);
    }
    return this.#unmapInside(iova, end);
  }

  /** The mapping that holds `iova`; it may be dying. */
  find(iova: number): DmaMapping | undefined {
    return this.#map.find(iova);
  }

  /** All mappings by IOVA, dying ones included. The container must not change meanwhile. */
  *mappings(): Generator<DmaMapping, void, undefined> {
    for (let slot = this.#map.first(); slot >= 0; slot = this.#map.next(slot)) yield this.#map.valueAt(slot);
  }

  /**
   * Finds what [iova, iova + size) leads to and puts the segments into `out`. All or nothing: a fault names the first byte
   * that cannot be reached, and then `out` is empty. Hot: allocates only for a fault.
   */
  translate(iova: number, size: number, write: boolean, out: Translation): DmaFault | null {
    out.count = 0;
    if (!(iova >= 0 && iova < IOVA_END && size >= 0)) return dmaFault(iova, 'not mapped');
    const map = this.#map;
    let at = iova;
    // Counts down, because iova + size is not exact above 2^53.
    let left = size;
    let slot = this.#lastSlot;
    while (left > 0) {
      if (!map.holds(slot, at)) slot = at === iova ? map.locate(at) : map.next(slot);
      if (slot < 0 || !map.holds(slot, at)) return refuse(out, at, 'not mapped');
      if (at === iova) this.#lastSlot = slot;
      const mapping = map.valueAt(slot);
      if (mapping.dying) return refuse(out, at, 'mapping is being removed');
      if (write && !mapping.write) return refuse(out, at, 'write is not allowed');
      if (!write && !mapping.read) return refuse(out, at, 'read is not allowed');
      const offset = mapping.sourceOffset + (at - map.startAt(slot));
      const length = Math.min(left, map.endAt(slot) - at);
      const reason = mapping.source.unavailable(offset, length);
      if (reason !== null) return this.#refuseSource(out, at, mapping.source, offset, length);
      out.add(mapping, offset, length);
      at += length;
      left -= length;
    }
    return null;
  }

  /** Begins a use of a mapping that outlives the call. Every `acquire` has one `release`. */
  acquire(mapping: DmaMapping): void {
    assert(!mapping.dying, 'acquire: the mapping is being removed; translate again');
    mapping.inFlight++;
  }

  /** Ends a use. The last one removes a dying mapping and resolves who waits in `idle`. */
  release(mapping: DmaMapping): void {
    assert(mapping.inFlight > 0, 'release: the mapping was released more often than acquired');
    mapping.inFlight--;
    if (mapping.inFlight > 0) return;
    if (!mapping.dying) {
      if (this.#waiters.length > 0) this.#wake(mapping);
      return;
    }
    const errors: unknown[] = [];
    this.#dying--;
    this.#remove(mapping, errors);
    this.#wake(mapping);
    rethrow(errors, 'unmap');
  }

  /** Resolves when `mapping` has no use in flight, or without one when no mapping is dying. null: that is so now. */
  idle(mapping?: DmaMapping): Promise<void> | null {
    if ((mapping === undefined ? this.#dying : mapping.inFlight) === 0) return null;
    return new Promise((resolve) => {
      this.#waiters.push({ mapping: mapping ?? null, resolve });
    });
  }

  /** Tells `listener` of every unmapping. Returns the unsubscribe. */
  onUnmap(listener: UnmapListener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Unmaps all for good, as when the last group leaves a kernel container. Uses in flight still end by `release`. */
  close(): void {
    if (this.#closed) return;
    this.#unmapInside(0, ADDRESS_END);
    this.#closed = true;
  }

  #unmapInside(start: number, end: number): number {
    const errors: unknown[] = [];
    let total = 0;
    for (let slot = this.#map.seek(start); this.#map.startAt(slot) < end; ) {
      const mapping = this.#map.valueAt(slot);
      const next = this.#map.endAt(slot);
      if (!mapping.dying) {
        total += mapping.size;
        mapping.dying = true;
        // A listener may end the last use: then `release` has removed the mapping when it returns.
        const busy = mapping.inFlight > 0;
        if (busy) this.#dying++;
        for (const listener of this.#listeners) attempt(() => listener(mapping), errors);
        if (!busy) this.#remove(mapping, errors);
      }
      slot = this.#map.seek(next);
    }
    rethrow(errors, 'unmap');
    return total;
  }

  #remove(mapping: DmaMapping, errors: unknown[]): void {
    const removed = this.#map.remove(mapping.iova);
    assert(removed === mapping, 'the mapping is not in this container');
    attempt(() => mapping.source.detach(), errors);
  }

  #wake(mapping: DmaMapping): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) {
      const done = waiter.mapping === null ? this.#dying === 0 : waiter.mapping === mapping;
      if (done) waiter.resolve();
      else this.#waiters.push(waiter);
    }
  }

  /** Looks for the first byte that is not available: the shortest part that is unavailable ends with it. */
  #refuseSource(out: Translation, iova: number, source: DmaSource, offset: number, length: number): DmaFault {
    let good = 0;
    let bad = length;
    while (bad - good > 1) {
      const middle = Math.floor((good + bad) / 2);
      if (source.unavailable(offset, middle) === null) good = middle;
      else bad = middle;
    }
    return refuse(out, iova + bad - 1, source.unavailable(offset, bad) ?? 'memory was lost');
  }

  #aligned(value: number): boolean {
    return Number.isInteger(value) && value >= 0 && value % this.pageSizeBytes === 0;
  }

  #unit(): string {
    return `address and size must be multiples of ${this.pageSizeBytes}, and the size not 0`;
  }

  #inOneRange(start: number, end: number): boolean {
    for (const each of this.iovaRanges) if (start >= each.start && end <= each.end) return true;
    return false;
  }
}

function admit(source: DmaSource, offset: number, request: DmaMapRequest): void {
  if (source.admit !== undefined) {
    source.admit(offset, request.size, request.read, request.write);
    return;
  }
  const reason = source.unavailable(offset, request.size);
  if (reason === null) return;
  throw new VfioError(
    'EFAULT',
    `${source.description} cannot be mapped: ${reason}; map it again when it can be reached`,
  );
}

function refuse(out: Translation, iova: number, reason: DmaFaultReason): DmaFault {
  out.count = 0;
  return dmaFault(iova, reason);
}

function smallestPage(pageSizes: number): number {
  let page = PAGE_SIZE;
  while (page < pageSizes && Math.floor(pageSizes / page) % 2 === 0) page *= 2;
  assert(
    Math.floor(pageSizes / page) % 2 === 1,
    `page sizes 0x${pageSizes.toString(16)}: 4 KiB or larger must be among them`,
  );
  return page;
}

function range(iova: number, size: number): string {
  return `iova 0x${iova.toString(16)}, size 0x${size.toString(16)}`;
}
