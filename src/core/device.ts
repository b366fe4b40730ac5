/*
 * A device: regions in one address space (R1), interrupts, and a notifier that tells whoever holds its memory
 * when that memory goes away and comes back (R6, R7). The bus drivers derive their kinds from it.
 *
 * What every revocation keeps, because an IOMMU entry must never outlive the CPU mapping that justified it:
 *   suspend: state, then listeners (IOMMU mappings drop), then CPU mappings (zap port), then the memory.
 *   resume:  state, then the memory, then listeners. CPU mappings fault in again by themselves.
 *   release: as suspend for all regions at once; final, told once, and no listener is ever called again.
 *   replace: another instance of the device (its code was loaded anew) takes memory, interrupts and mappings, under
 *     holders that notice nothing or a reset; listeners move to it, then the old instance is released.
 * A step that throws does not stop the steps after it; what was thrown comes out at the end as one
 * AggregateError. Listeners may call back into the device, even to end what they are being told of. A
 * notification therefore says "look again": on 'suspend' drop what lies in the range, on 'resume' ask
 * `region.dmaReason` before trusting it.
 */
import {
  VFIO_DEVICE_API_PCI_STRING,
  VFIO_DEVICE_API_PLATFORM_STRING,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_PCI_NUM_IRQS,
  VFIO_PCI_NUM_REGIONS,
  VFIO_PCI_ROM_REGION_INDEX,
} from '../abi/vfio.ts';
import { AddressSpace } from './address-space.ts';
import { apiFlags, type DeviceApi, kindOfFlags } from './device-api.ts';
import { DeviceFile } from './device-file.ts';
import { type DmaPort, type MaybePromise, NoClientDma } from './dma.ts';
import { assert, VfioError } from './error.ts';
import { attempt, Emitter, rethrow } from './events.ts';
import { Irq, type IrqSpec } from './irq.ts';
import { layoutDifferences } from './layout.ts';
import { REGION_INDEX_LIMIT, REGION_SPAN } from './offset.ts';
import { type Consent, Region, type RegionSpec } from './region.ts';

/** Why memory cannot be reached; each is a state of the device that can end, except the last. */
export type Reason =
  | 'memory decode is off'
  | 'I/O decode is off'
  | 'device is in D3hot'
  | 'device is in reset'
  | 'device is in low power'
  | 'device is stopped'
  | 'parent cannot be reached'
  | 'device is released';

/** The bus drivers. All of them keep R1. */
export type DeviceKind = 'pci' | 'platform' | 'fsl-mc' | 'mdev';

/** A range of the device's address space (offset coding) whose memory went away or came back, and why. */
export interface NotifierRange {
  readonly start: number;
  readonly length: number;
  /** On 'resume': the reason that ended. */
  readonly reason: Reason | 'consent was withdrawn';
}

/** What a device tells its listeners. */
export interface DeviceEvents {
  /** No DMA may reach the range from now on: when the listener returns, none is in flight. */
  suspend: NotifierRange;
  /** The range may be reached again, where `region.dmaReason` agrees. */
  resume: NotifierRange;
  /** The device is gone for good: drop the mapping and the reference. */
  release: NotifierRange;
  /** Another instance has taken the place: subscribe there. Who stays here is told 'release' next. */
  replace: Replacement;
}

/** The instance that has the device's memory and interrupts from now on. */
export interface Replacement {
  readonly device: VfioDevice;
}

/** How one instance of a device takes the place of another. */
export interface TakeOver {
  /** It goes on where the other was. Else it is as after a reset; its memory stays in reach nevertheless. */
  readonly carried: boolean;
  /** A client is attached, and stays. */
  readonly attached: boolean;
}

/** Reasons that nothing in the device's registers gives: whoever gave them takes them back, also after a replacement. */
const HELD_BY_HOST: readonly Reason[] = ['device is in low power', 'device is stopped'];

/** Regions and irqs per device: QEMU's client refuses devices that have more. */
export const REGION_LIMIT: number = 100;
/** See REGION_LIMIT. */
export const IRQ_LIMIT: number = 50;

/** How a device is declared. */
export interface DeviceOptions {
  readonly name: string;
  readonly kind: DeviceKind;
  /** What an mdev speaks; the other kinds speak their own. */
  readonly api?: DeviceApi;
  readonly regions: readonly RegionSpec[];
  readonly irqs: readonly IrqSpec[];
  /** Whether VFIO_DEVICE_RESET works (VFIO_DEVICE_FLAGS_RESET); false unless said otherwise. */
  readonly resettable?: boolean;
  /**
   * What `suspend` takes away unless told otherwise; a 'pci' device's BARs (R5), every region of the other
   * kinds.
   */
  readonly memoryRange?: { readonly start: number; readonly length: number };
}

const OWN_APIS: Readonly<Record<DeviceKind, DeviceApi | null>> = {
  pci: VFIO_DEVICE_API_PCI_STRING,
  platform: VFIO_DEVICE_API_PLATFORM_STRING,
  'fsl-mc': null,
  mdev: null,
};

interface Range {
  readonly start: number;
  readonly end: number;
}

/** A device that clients can open. Counterpart of `struct vfio_device`. */
export class VfioDevice {
  readonly name: string;
  readonly kind: DeviceKind;
  /** The bus driver's interface that clients see; null for fsl-mc, which has no name in linux/vfio.h, and a silent mdev. */
  readonly api: DeviceApi | null;
  /** By index; an index that the device does not implement is absent. */
  readonly regions: ReadonlyMap<number, Region>;
  /** What GET_INFO reports: the highest index + 1, and at least VFIO_PCI_NUM_REGIONS where clients see vfio-pci. */
  readonly regionCount: number;
  /**
   * By index without holes; an index that the device does not implement has count 0. At least 5 where
   * clients see vfio-pci.
   */
  readonly irqs: readonly Irq[];
  readonly memoryRange: { readonly start: number; readonly length: number };
  readonly resettable: boolean;
  /**
   * The client's memory. A session sets its port when it attaches and puts a NoClientDma back when it leaves.
   */
  dma: DmaPort = new NoClientDma();

  #addressSpace: AddressSpace = new AddressSpace();
  #file: DeviceFile = new DeviceFile(this);
  readonly #events: Emitter<DeviceEvents> = new Emitter();
  readonly #suspended: Map<Reason, Range[]> = new Map();
  #released = false;
  #resetting: Promise<void> | null = null;

  constructor(options: DeviceOptions) {
    this.name = options.name;
    this.kind = options.kind;
    this.api = options.api ?? OWN_APIS[options.kind];
    const other = options.kind !== 'mdev' && this.api !== OWN_APIS[options.kind];
    assert(!other, `${options.name}: a ${options.kind} device speaks no ${this.api}; an mdev can`);
    const pci = this.api === VFIO_DEVICE_API_PCI_STRING;
    this.resettable = options.resettable ?? false;
    this.regions = this.#makeRegions(options.regions);
    this.regionCount = Math.max(
      pci ? VFIO_PCI_NUM_REGIONS : 0,
      ...[...this.regions.keys()].map((index) => index + 1),
    );
    this.irqs = makeIrqs(options.irqs, pci ? VFIO_PCI_NUM_IRQS : 0);
    const rangeEnd = this.kind === 'pci' ? VFIO_PCI_ROM_REGION_INDEX : this.regionCount;
    this.memoryRange = options.memoryRange ?? { start: 0, length: rangeEnd * REGION_SPAN };
  }

  /** VFIO_DEVICE_FLAGS_*: what GET_INFO reports. */
  get flags(): number {
    return apiFlags(this.kind, this.api) | (this.resettable ? VFIO_DEVICE_FLAGS_RESET : 0);
  }

  /** What clients behind a socket take it for: an mdev for the kind whose API it speaks. */
  get seenAs(): DeviceKind {
    return kindOfFlags(this.flags) ?? this.kind;
  }

  /** Every mapping of this device by every process; its zap port belongs to the world (live or simulated). */
  get addressSpace(): AddressSpace {
    return this.#addressSpace;
  }

  /** What a process has open, and a VMA maps. */
  get file(): DeviceFile {
    return this.#file;
  }

  /** A reset that takes time, or null. Never rejects. */
  get resetting(): Promise<void> | null {
    return this.#resetting?.catch(() => {}) ?? null;
  }

  /** True after `release`: nothing of the device can be reached any more. */
  get released(): boolean {
    return this.#released;
  }

  /** The region `index`; EINVAL if the device does not implement it. */
  region(index: number): Region {
    const region = this.regions.get(index);
    if (region !== undefined) return region;
    throw new VfioError(
      'EINVAL',
      `${this.name} has no region ${index}; it has ${[...this.regions.keys()].join(', ')}`,
    );
  }

  /**
   * Why `region` cannot be reached by anybody at this moment (R4), or null. The oldest reason if there are
   * several.
   */
  accessible(region: Region): Reason | null {
    return region.blockers[0] ?? null;
  }

  /**
   * Subscribes to the notifier; returns the unsubscribe. ENOSPC at LISTENER_LIMIT. After `release` there is
   * nothing left to tell: the listener is dropped, so check `released` first.
   */
  on<Name extends keyof DeviceEvents>(name: Name, listener: (range: DeviceEvents[Name]) => void): () => void {
    if (this.#released) return () => {};
    return this.#events.on(name, listener);
  }

  /** Listeners of `name`, for leak tests. */
  listenerCount(name: keyof DeviceEvents): number {
    return this.#events.count(name);
  }

  /**
   * Takes the memory in the range away from everybody for `reason`. Several reasons may hold at once; a
   * region that nobody could reach before is not told of again. The range consists of whole region spans:
   * `start` and `length` are multiples of 2^40. Counterpart of `vfio_pci_zap_and_down_write_memory_lock`.
   */
  suspend(
    reason: Reason,
    start: number = this.memoryRange.start,
    length: number = this.memoryRange.length,
  ): void {
    if (this.#released) return;
    assert(reason !== 'device is released', 'releasing is final; call release()');
    assert(
      start % REGION_SPAN === 0 && length % REGION_SPAN === 0,
      `suspend whole regions, not ${start}+${length}`,
    );
    const range: Range = { start, end: start + length };
    this.#remember(reason, range);
    const changed = new Set<Region>();
    for (const region of this.#regionsIn(range)) {
      if (region.block(reason)) changed.add(region);
    }

    const errors: unknown[] = [];
    const runs = this.#runs(range, changed);
    for (const run of runs) this.#events.emit('suspend', { ...run, reason }, errors);
    for (const run of runs) {
      attempt(() => this.addressSpace.unmapMappingRange(run.start, run.length), errors);
    }
    for (const region of changed) attempt(() => region.settleMemory(), errors);
    rethrow(errors, `suspend of ${this.name}`);
  }

  /** Ends `reason` wherever it holds. What no other reason covers comes back with its contents (R7, R8). */
  resume(reason: Reason): void {
    const ranges = this.#suspended.get(reason);
    if (this.#released || ranges === undefined) return;
    this.#suspended.delete(reason);
    const changed = new Set<Region>();
    for (const region of this.regions.values()) {
      if (region.unblock(reason)) changed.add(region);
    }

    const errors: unknown[] = [];
    for (const region of changed) attempt(() => region.settleMemory(), errors);
    for (const range of ranges) {
      for (const run of this.#runs(range, changed)) this.#events.emit('resume', { ...run, reason }, errors);
    }
    rethrow(errors, `resume of ${this.name}`);
  }

  /** The device goes away for good: every region, every listener told once. Calling it again does nothing. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    const reason = 'device is released';
    this.#suspended.clear();
    for (const region of this.regions.values()) region.blockForGood(reason);

    const errors: unknown[] = [];
    this.#events.emit('release', { start: 0, length: this.regionCount * REGION_SPAN, reason }, errors);
    this.#events.clear();
    attempt(() => this.addressSpace.unmapMappingRange(0, REGION_INDEX_LIMIT * REGION_SPAN), errors);
    for (const region of this.regions.values()) attempt(() => region.memory?.release(), errors);
    for (const irq of this.irqs) attempt(() => irq.disable(), errors);
    rethrow(errors, `release of ${this.name}`);
  }

  /**
   * VFIO_DEVICE_RESET: takes the memory away, lets the device clear what it says a reset clears (R8), and
   * gives the rest back. EINVAL if the device cannot be reset. Calls during a reset that takes time join it.
   */
  reset(): MaybePromise<void> {
    if (!this.resettable) {
      throw new VfioError('EINVAL', `${this.name} cannot be reset; its driver declares no reset`);
    }
    if (this.#resetting !== null) return this.#resetting;
    let result: MaybePromise<void>;
    try {
      this.suspend('device is in reset');
      for (const irq of this.irqs) irq.reset();
      result = this.resetState();
    } catch (error) {
      this.resume('device is in reset');
      throw error;
    }
    if (!(result instanceof Promise)) {
      this.resume('device is in reset');
      return;
    }
    this.#resetting = result.finally(() => {
      this.#resetting = null;
      this.resume('device is in reset');
    });
    return this.#resetting;
  }

  /** A client attached. State is whatever the last client left. */
  opened(): void {}

  /** The client left. Device state is kept; a subclass may stop what the client had started. */
  closed(): void {}

  /**
   * What a new instance of the class needs to go on where this one is, as plain data; for example when its code was loaded
   * anew. A class that overrides this declares that its state is carried over; else the client sees a reset.
   */
  saveState(): unknown {
    return undefined;
  }

  /**
   * Takes what `saveState` of the instance before returned, perhaps of an older version of the class. The client, its
   * memory and its interrupts come afterwards, with `opened`. What it throws leaves the instance before in place.
   */
  restoreState(_state: unknown): void {}

  /** @internal What a client of this device would see of `next` that cannot change under it, one phrase each. */
  differences(next: VfioDevice): string[] {
    return layoutDifferences(this, next);
  }

  /** @internal Goes on with the state of `old`, if both classes declare that. False: a reset it is. */
  carryOver(old: VfioDevice): boolean {
    const { saveState } = VfioDevice.prototype;
    if (old.saveState === saveState || this.saveState === saveState) return false;
    this.carryRegisters(old);
    this.restoreState(old.saveState());
    return true;
  }

  /** @internal A bus driver's part of `carryOver`: what it keeps for the class. */
  protected carryRegisters(_old: VfioDevice): void {}

  /**
   * @internal Takes the place of `old`, which has the same layout: its memory and who maps it, its interrupts and who
   * listens to it. `old` is released, and reaches nothing any more; its DMA port is the caller's to take away.
   */
  takeOver(old: VfioDevice, how: TakeOver): void {
    const errors: unknown[] = [];
    for (const reason of HELD_BY_HOST) {
      for (const { start, end } of this.#suspended.get(reason) ?? [])
        attempt(() => old.suspend(reason, start, end - start), errors);
      for (const { start, end } of old.#suspended.get(reason) ?? []) this.suspend(reason, start, end - start);
    }
    // A reset may bring memory back, but it takes none away: whoever uses it did not ask for a reset, and a touch that
    // finds nothing is the end of a process.
    for (const region of old.regions.values()) {
      if (how.carried || region.blockers.length === 0) continue;
      attempt(() => this.suspend('device is in reset', region.offset, REGION_SPAN), errors);
    }
    const consents = this.#takeRegions(old);
    attempt(() => this.inherit(old, how), errors);
    for (const [i, irq] of this.irqs.entries())
      attempt(() => irq.takeOver(old.irqs[i]!, how.carried), errors);
    this.#takeFile(old);
    old.#events.emit('replace', { device: this }, errors);
    attempt(() => old.release(), errors);
    for (const [region, areas] of consents) {
      for (const [area, consent] of areas.entries()) attempt(() => region.setConsent(area, consent), errors);
    }
    if (!how.carried) attempt(() => this.resume('device is in reset'), errors);
    rethrow(errors, `replacement of ${this.name}`);
  }

  /**
   * @internal A bus driver's part of `takeOver`: what its registers keep over a reset, and all else if the state is
   * carried over. The memory of `old` is this device's by now.
   */
  protected inherit(_old: VfioDevice, _how: TakeOver): void {}

  /** Brings the device to what its specification says a reset leaves; memory is unreachable meanwhile. */
  protected resetState(): MaybePromise<void> {}

  /** @internal A region's driver announced or withdrew an area (R3); tells the IOMMU mappings of it. */
  consentChanged(region: Region, offset: number, size: number, consent: Consent): void {
    if (this.#released) return;
    const range: NotifierRange = {
      start: region.offset + offset,
      length: size,
      reason: 'consent was withdrawn',
    };
    const errors: unknown[] = [];
    if (consent === 'deny') this.#events.emit('suspend', range, errors);
    else if (this.accessible(region) === null) this.#events.emit('resume', range, errors);
    rethrow(errors, `change of consent of ${this.name}`);
  }

  #makeRegions(specs: readonly RegionSpec[]): Map<number, Region> {
    const regions = new Map<number, Region>();
    for (const spec of [...specs].sort((a, b) => a.index - b.index)) {
      assert(!regions.has(spec.index), `${this.name} declares region ${spec.index} twice`);
      assert(
        spec.index < REGION_LIMIT,
        `${this.name}: region index ${spec.index}; indexes end at ${REGION_LIMIT - 1}`,
      );
      regions.set(spec.index, new Region(this, spec));
    }
    return regions;
  }

  /** Takes the memory of all regions. Returns the consents that are to be announced and withdrawn when all listen here. */
  #takeRegions(old: VfioDevice): Map<Region, Consent[]> {
    const consents = new Map<Region, Consent[]>();
    for (const region of this.regions.values()) {
      const before = old.region(region.index);
      consents.set(region, region.consentsAfter(before));
      region.takeOver(before);
    }
    return consents;
  }

  /** Who maps the device goes on mapping it. */
  #takeFile(old: VfioDevice): void {
    this.#file = old.#file;
    this.#file.device = this;
    old.#file = new DeviceFile(old);
    this.#addressSpace = old.#addressSpace;
    old.#addressSpace = new AddressSpace();
  }

  #remember(reason: Reason, range: Range): void {
    const ranges = this.#suspended.get(reason) ?? [];
    const known = ranges.some((other) => other.start <= range.start && other.end >= range.end);
    if (!known) ranges.push(range);
    this.#suspended.set(reason, ranges);
  }

  /** The regions whose span lies in the range, by index. */
  #regionsIn(range: Range): Region[] {
    return [...this.regions.values()].filter(
      (region) => region.offset >= range.start && region.offset + REGION_SPAN <= range.end,
    );
  }

  /**
   * The parts of the range in which every region changed: the whole range, cut at the regions that did not.
   */
  #runs(range: Range, changed: ReadonlySet<Region>): { start: number; length: number }[] {
    const runs: { start: number; length: number }[] = [];
    let start = range.start;
    let found = false;
    const close = (end: number): void => {
      if (found) runs.push({ start, length: end - start });
      found = false;
    };
    for (const region of this.#regionsIn(range)) {
      if (changed.has(region)) {
        found = true;
        continue;
      }
      close(region.offset);
      start = region.offset + REGION_SPAN;
    }
    close(range.end);
    return runs;
  }
}

function makeIrqs(specs: readonly IrqSpec[], atLeast: number): Irq[] {
  const count = Math.max(atLeast, ...specs.map((spec) => spec.index + 1));
  assert(count <= IRQ_LIMIT, `irq index ${count - 1}; indexes end at ${IRQ_LIMIT - 1}`);
  const irqs: Irq[] = [];
  for (let index = 0; index < count; index++) {
    const found = specs.filter((spec) => spec.index === index);
    assert(found.length <= 1, `irq ${index} is declared twice`);
    irqs.push(new Irq(found[0] ?? { index, count: 0, flags: 0 }));
  }
  return irqs;
}
