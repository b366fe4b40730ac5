/*
 * A region: one index of a device's address space (a BAR, config space, a device-specific region), with what
 * may be mapped of it, what may be a DMA target (R3), what cannot be reached right now (R4), and who answers
 * accesses.
 *
 * Consent is the driver's word on what is device memory. It is given per mappable area and may change at any
 * time:
 * - `setConsent(area, 'deny')` withdraws. The state changes first; then the device's notifier says 'suspend'
 *   for the area's range with the reason 'consent was withdrawn', and when the call returns no DMA reaches
 *   the area.
 * - `setConsent(area, 'allow')` announces. IOMMU mappings that the withdrawal cut off translate again, as
 *   after any 'resume' (R7); new ones can be made.
 * - CPU mappings are not touched either way: consent is about the IOMMU, `suspend` is about reaching the
 *   memory.
 */
import { ERRNO } from '../abi/errno.ts';
import {
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_MMAP,
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
} from '../abi/vfio.ts';
import type { Reason, VfioDevice } from './device.ts';
import type { DmaFaultReason } from './dma.ts';
import { assert } from './error.ts';
import { indexToOffset, PAGE_SIZE, REGION_SPAN } from './offset.ts';
import { copyFromMemory, copyToMemory, GoneMemory, type RegionMemory } from './region-memory.ts';

export type { RegionMemory } from './region-memory.ts';

/** Whether an IOMMU may map an area: 'allow' is the driver's opt-in, nothing is allowed by default. */
export type Consent = 'allow' | 'deny';

/**
 * A part of a region that processes may map. Page aligned, inside the region; `offset` counts from its start.
 */
export interface MappableArea {
  readonly offset: number;
  readonly size: number;
  readonly dma: Consent;
}

/** 0, or a positive errno; a promise when the device needs time for the access. */
export type AccessResult = number | Promise<number>;

/**
 * Answers message accesses to a region. The data lies at `view[at .. at + count)`. The range is inside the
 * region and the region is accessible when a handler is called. What a handler does not know it fills with
 * all ones.
 */
export interface RegionHandler {
  read(offset: number, count: number, view: DataView, at: number): AccessResult;
  write(offset: number, count: number, view: DataView, at: number): AccessResult;
}

/** Type and subtype of a device-specific region (VFIO_REGION_INFO_CAP_TYPE). */
export interface RegionType {
  readonly type: number;
  readonly subtype: number;
}

/** How a device declares a region. */
export interface RegionSpec {
  readonly index: number;
  readonly name?: string;
  /** 1 byte to 1 TiB. */
  readonly sizeBytes: number;
  /** Whether messages may read it; true unless said otherwise. */
  readonly read?: boolean;
  /** Whether messages may write it; true unless said otherwise. */
  readonly write?: boolean;
  /**
   * Mappable parts in any order, without overlaps. Absent: not mappable. One area that is the whole region:
   * not sparse.
   */
  readonly areas?: readonly MappableArea[];
  /**
   * Absent on a mappable region: accesses go to its memory. Absent on any other: all ones, writes are
   * dropped.
   */
  readonly handler?: RegionHandler;
  readonly type?: RegionType;
}

/**
 * Areas per region: region info with all of them as a sparse capability (16 bytes each) stays below 32 KiB.
 */
export const AREA_LIMIT: number = 2048;

/**
 * Where a region has its place, for whoever holds its memory for long: when a new instance of the device takes over, the
 * new region sits down in the old one's seat.
 */
export interface RegionSeat {
  region: Region;
}

/** One region of one device. Made by the device's constructor. */
export class Region {
  readonly device: VfioDevice;
  readonly index: number;
  readonly name: string;
  readonly sizeBytes: number;
  /** Place in the device's address space: `indexToOffset(index)` (R1). */
  readonly offset: number;
  /** VFIO_REGION_INFO_FLAG_*; CAPS is set when there is a sparse or a type capability. */
  readonly flags: number;
  readonly type: RegionType | null;
  /** Who answers accesses; null: the memory. A device may set it after construction. */
  handler: RegionHandler | null;

  readonly #areas: MappableArea[];
  /** Consent by area as the device declared it. */
  readonly #declared: readonly Consent[];
  readonly #blockers: Reason[] = [];
  #memory: RegionMemory | null = null;
  #memorySuspended = false;
  #seat: RegionSeat = { region: this };

  constructor(device: VfioDevice, spec: RegionSpec) {
    const { index, sizeBytes } = spec;
    assert(
      Number.isInteger(sizeBytes) && sizeBytes > 0,
      `region ${index}: size ${sizeBytes} is not a count of bytes`,
    );
    assert(
      sizeBytes <= REGION_SPAN,
      `region ${index}: size ${sizeBytes} is more than 1 TiB, the offset coding's limit`,
    );
    this.device = device;
    this.index = index;
    this.name = spec.name ?? `region${index}`;
    this.sizeBytes = sizeBytes;
    this.offset = indexToOffset(index);
    this.type = spec.type ?? null;
    this.handler = spec.handler ?? null;
    this.#areas = checkedAreas(spec);
    this.#declared = this.#areas.map(({ dma }) => dma);
    this.flags =
      ((spec.read ?? true) ? VFIO_REGION_INFO_FLAG_READ : 0) |
      ((spec.write ?? true) ? VFIO_REGION_INFO_FLAG_WRITE : 0) |
      (this.mappable ? VFIO_REGION_INFO_FLAG_MMAP : 0) |
      (this.sparse || this.type !== null ? VFIO_REGION_INFO_FLAG_CAPS : 0);
  }

  /** The mappable areas by offset, with their consent as it is now. */
  get areas(): readonly MappableArea[] {
    return this.#areas;
  }

  /** Whether any part can be mapped. */
  get mappable(): boolean {
    return this.#areas.length > 0;
  }

  /** Whether region info needs VFIO_REGION_INFO_CAP_SPARSE_MMAP: not mappable as one whole. */
  get sparse(): boolean {
    const first = this.#areas[0];
    return first !== undefined && (first.offset !== 0 || first.size !== this.sizeBytes);
  }

  /** The memory behind a mappable region; null until a memory room (live or plain) attached one. */
  get memory(): RegionMemory | null {
    return this.#memory;
  }

  /** Attaches memory. If the region cannot be reached at this moment, the memory starts suspended. */
  set memory(memory: RegionMemory | null) {
    if (memory !== null) {
      assert(this.mappable, `${this.name}: memory is for mappable regions; declare areas`);
      assert(
        memory.sizeBytes >= this.sizeBytes,
        `${this.name}: memory of ${memory.sizeBytes} bytes is too small`,
      );
    }
    this.#memory = memory;
    this.#memorySuspended = false;
    this.settleMemory();
  }

  /** Every reason why the region cannot be reached, oldest first; empty when it can. */
  get blockers(): readonly Reason[] {
    return this.#blockers;
  }

  /** Whether [offset, offset + size) lies wholly in mappable areas; adjacent areas join. */
  covers(offset: number, size: number): boolean {
    return this.#walk(offset, size, false);
  }

  /** 'allow' only if [offset, offset + size) lies wholly in areas that allow it; adjacent areas join (R3). */
  consent(offset: number, size: number): Consent {
    return this.#walk(offset, size, true) ? 'allow' : 'deny';
  }

  /**
   * Announces or withdraws one area as a DMA target (see the top of this file). `areaIndex` counts in
   * `areas`.
   */
  setConsent(areaIndex: number, consent: Consent): void {
    const area = this.#areas[areaIndex];
    assert(
      area !== undefined,
      `${this.name} has ${this.#areas.length} mappable areas; there is no area ${areaIndex}`,
    );
    if (area.dma === consent) return;
    this.#areas[areaIndex] = { offset: area.offset, size: area.size, dma: consent };
    this.device.consentChanged(this, area.offset, area.size, consent);
  }

  /** Why no DMA may reach [offset, offset + size) at this moment, or null. Allocates nothing. */
  dmaReason(offset: number, size: number): DmaFaultReason | null {
    const reason = this.device.accessible(this);
    if (reason !== null) return reason;
    return this.#walk(offset, size, true) ? null : 'consent was withdrawn';
  }

  /**
   * A message access: EINVAL outside the region or without the READ flag, EIO while the region is not
   * accessible (R4), else the handler's or the memory's answer.
   */
  read(offset: number, count: number, view: DataView, at: number): AccessResult {
    if ((this.flags & VFIO_REGION_INFO_FLAG_READ) === 0 || !this.#contains(offset, count))
      return ERRNO.EINVAL;
    if (this.device.accessible(this) !== null) return ERRNO.EIO;
    if (count === 0) return 0;
    if (this.handler !== null) return this.handler.read(offset, count, view, at);
    if (this.mappable) return this.readMemory(offset, count, view, at);
    for (let i = at; i < at + count; i++) view.setUint8(i, 0xff);
    return 0;
  }

  /** A message access; errors as `read`. */
  write(offset: number, count: number, view: DataView, at: number): AccessResult {
    if ((this.flags & VFIO_REGION_INFO_FLAG_WRITE) === 0 || !this.#contains(offset, count))
      return ERRNO.EINVAL;
    if (this.device.accessible(this) !== null) return ERRNO.EIO;
    if (count === 0) return 0;
    if (this.handler !== null) return this.handler.write(offset, count, view, at);
    if (this.mappable) return this.writeMemory(offset, count, view, at);
    return 0;
  }

  /**
   * Reads the memory behind the region; for handlers of regions that are partly memory. 0, or EIO if it was
   * lost.
   */
  readMemory(offset: number, count: number, view: DataView, at: number): number {
    return copyFromMemory(this.#attached(), offset, count, view, at);
  }

  /** Writes the memory behind the region; see `readMemory`. */
  writeMemory(offset: number, count: number, view: DataView, at: number): number {
    return copyToMemory(this.#attached(), offset, count, view, at);
  }

  /** @internal The device's: adds a reason; true if the region could be reached before. */
  block(reason: Reason): boolean {
    if (this.#blockers.includes(reason)) return false;
    return this.#blockers.push(reason) === 1;
  }

  /** @internal The device's: takes a reason away; true if it was the last one. */
  unblock(reason: Reason): boolean {
    const at = this.#blockers.indexOf(reason);
    if (at < 0) return false;
    this.#blockers.splice(at, 1);
    return this.#blockers.length === 0;
  }

  /**
   * @internal The device's: suspends or resumes the memory if its state is not what the reasons say. Goes by
   * the state and not by the event, because a listener may have changed the reasons since.
   */
  settleMemory(): void {
    const suspended = this.#blockers.length > 0;
    if (this.#memory === null || this.device.released || suspended === this.#memorySuspended) return;
    this.#memorySuspended = suspended;
    if (suspended) this.#memory.suspend();
    else this.#memory.resume();
  }

  /** @internal The device's: one reason instead of all others, for good. */
  blockForGood(reason: Reason): void {
    this.#blockers.splice(0, this.#blockers.length, reason);
  }

  /** @internal What outlasts this instance of the region: see RegionSeat. */
  get seat(): RegionSeat {
    return this.#seat;
  }

  /**
   * @internal The consent of each area once this region has taken over from `old`: what the new code says, or where it
   * says what the old code said, what was announced and withdrawn since.
   */
  consentsAfter(old: Region): Consent[] {
    return this.#areas.map(({ dma }, i) => (dma === old.#declared[i] ? old.#areas[i]!.dma : dma));
  }

  /**
   * @internal The device's: takes memory, seat and consents of `old`, which has the same layout. Nobody is told: the state
   * of the memory is the same before and after.
   */
  takeOver(old: Region): void {
    this.#areas.splice(0, this.#areas.length, ...old.#areas);
    this.#memory = old.#memory;
    this.#memorySuspended = old.#memorySuspended;
    if (old.#memory !== null) old.#memory = new GoneMemory(old.#memory.sizeBytes);
    this.#seat = old.#seat;
    this.#seat.region = this;
    old.#seat = { region: old };
  }

  #contains(offset: number, count: number): boolean {
    return offset >= 0 && count >= 0 && offset + count <= this.sizeBytes;
  }

  #attached(): RegionMemory {
    // Not by `assert`: a good call builds no message.
    if (this.#memory !== null) return this.#memory;
    throw new Error(`vfio: ${this.name} has no memory; attach memory to the device before it is used`);
  }

  #walk(offset: number, size: number, consented: boolean): boolean {
    if (!(offset >= 0 && size > 0)) return false;
    const end = offset + size;
    let next = offset;
    for (let i = 0; i < this.#areas.length; i++) {
      const area = this.#areas[i]!;
      if (area.offset + area.size <= next) continue;
      if (area.offset > next || (consented && area.dma === 'deny')) return false;
      next = area.offset + area.size;
      if (next >= end) return true;
    }
    return false;
  }
}

function checkedAreas(spec: RegionSpec): MappableArea[] {
  const areas = [...(spec.areas ?? [])].sort((a, b) => a.offset - b.offset);
  assert(
    areas.length <= AREA_LIMIT,
    `region ${spec.index}: join adjacent areas, no more than ${AREA_LIMIT} fit`,
  );
  let end = 0;
  for (const area of areas) {
    const what = `region ${spec.index}, area at ${area.offset}`;
    assert(
      isPages(area.offset) && isPages(area.size) && area.size > 0,
      `${what}: offset and size must be whole pages`,
    );
    assert(area.offset >= end, `${what}: it overlaps another area`);
    end = area.offset + area.size;
    assert(end <= spec.sizeBytes, `${what}: it ends beyond the region`);
  }
  return areas;
}

function isPages(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value % PAGE_SIZE === 0;
}
