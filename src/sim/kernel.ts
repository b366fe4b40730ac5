/*
 * The software of the simulated host: the very objects of src/core, set up as a design wants them.
 *
 * A call changes the core at once, because who calls holds the locks. What the core then asks of the hardware (page table
 * entries to clear, IOMMU mappings to revoke, memory to put aside) is not done but written down, in the core's own order: the
 * host does it step by step, and others run in between.
 */
import {
  Container,
  type DeviceFile,
  DeviceMemory,
  type DmaMapping,
  type DmaSource,
  deviceFromVma,
  ForeignFile,
  offsetInRegion,
  offsetToIndex,
  PAGE_SIZE,
  pgoffToOffset,
  type Reason,
  type RegionMemory,
  Translation,
  VfioDevice,
  VfioError,
  Vma,
} from '../core/index.ts';
import type { Design } from './design.ts';
import { type Plan, VMA_SPACING } from './plan.ts';

/** One call into the core, by numbers of the plan. */
export type KernelCall =
  | { readonly call: 'open' | 'release'; readonly device: number }
  | { readonly call: 'mmap'; readonly vma: number; readonly place: number }
  | {
      readonly call: 'munmap';
      readonly vma: number;
      readonly part: 'all' | 'head' | 'tail';
      readonly pages: number;
    }
  | { readonly call: 'mremap'; readonly vma: number }
  | { readonly call: 'fork'; readonly vmas: readonly number[] }
  | { readonly call: 'suspend' | 'resume'; readonly device: number; readonly reason: Reason }
  /** `fault`: what it names cannot be had. Then the call fails, with EFAULT if nothing else is wrong with it. */
  | { readonly call: 'map'; readonly mapping: number; readonly fault?: true }
  | { readonly call: 'unmap'; readonly mapping: number }
  | { readonly call: 'letGo'; readonly mappings: readonly number[] }
  | {
      readonly call: 'unmapRange';
      readonly container: number;
      readonly iova: number;
      readonly sizeBytes: number;
      readonly all: boolean;
    }
  | { readonly call: 'closeContainer'; readonly container: number }
  | {
      readonly call: 'consent';
      readonly device: number;
      readonly region: number;
      readonly dma: 'allow' | 'deny';
    };

/** What the core asks of the hardware. */
export type Effect =
  | { readonly kind: 'zap'; readonly vma: number; readonly page: number; readonly pages: number }
  /** `restore` gives back; the others take away: for now, with the device, because it was unmapped. */
  | { readonly kind: 'restore' | 'revoke' | 'released' | 'unmapped'; readonly mapping: number }
  | { readonly kind: 'park' | 'unpark'; readonly device: number; readonly region: number };

/** What a page fault finds: nobody may have it; page - 1 of the VMA's device; or from FIXED on, a frame. */
export const SIGBUS = 0;
export const FIXED = 0x8000;

/** What others can see of the core's objects. */
export interface KernelFacts {
  /** By page of all VMA slots: see SIGBUS. */
  readonly faults: readonly number[];
  /** The VMA whose vm_pgoff is not the region coding of what it shows, or -1. */
  readonly miscoded: number;
  /** By mapping: the page of its device + 1 that the core holds for it, 0 not mapped, FIXED not known. */
  readonly targets: readonly number[];
  /** By mapping: mapped, and reachable at this moment. */
  readonly reachable: readonly boolean[];
  /** By mapping: the container would translate it; null if it leads to frames that nobody is asked about. */
  readonly translates: readonly (boolean | null)[];
  /** By device: who listens to its notifier. */
  readonly listeners: readonly number[];
}

/** Where the second place of a moved VMA lies. */
const MOVED = VMA_SPACING / 2;

/** A source that is only frame numbers, as type1 has it, and memory that is pinned: nobody is asked, nobody tells. */
class PfnSource implements DmaSource {
  readonly kind = 'client';
  readonly description = 'whatever the page table led to';
  unavailable(): null {
    return null;
  }
  detach(): void {}
}

/** What cannot be faulted in. */
class NoSource extends PfnSource {
  admit(): void {
    throw new VfioError('EFAULT', 'nothing is there that can be mapped so: check the address and its rights');
  }
}

interface Mapped {
  readonly mapping: DmaMapping;
  readonly unsubscribe: readonly (() => void)[];
}

/** The core under one design, for one plan. */
export class Kernel {
  /** What the last call asked of the hardware, in order. */
  effects: Effect[] = [];
  readonly #plan: Plan;
  readonly #design: Design;
  readonly #devices: VfioDevice[];
  readonly #instances: number[];
  readonly #containers: readonly Container[];
  readonly #vmas: (Vma | null)[];
  readonly #mapped: (Mapped | null)[];
  readonly #translation: Translation = new Translation();
  readonly #foreign: ForeignFile = new ForeignFile('memory of another driver');

  constructor(plan: Plan, design: Design) {
    this.#plan = plan;
    this.#design = design;
    this.#devices = plan.devices.map((_, i) => this.#makeDevice(i));
    this.#instances = plan.devices.map(() => 0);
    this.#containers = plan.containers.map(() => this.#makeContainer());
    this.#vmas = plan.vmas.map(() => null);
    this.#mapped = plan.mappings.map(() => null);
  }

  container(container: number): Container {
    return this.#containers[container]!;
  }

  /** Returns what the call answers (0, or bytes unmapped), or the errno of a refusal as a word. What is to be done then is in `effects`. */
  call(call: KernelCall): '0' | string {
    this.effects = [];
    try {
      return String(this.#dispatch(call) ?? 0);
    } catch (error) {
      if (error instanceof VfioError) return error.code;
      throw error;
    }
  }

  /** What can be seen of the objects now. */
  facts(): KernelFacts {
    const { devices, vmas, mappings } = this.#plan;
    return {
      faults: vmas.flatMap(({ pages }, i) =>
        this.#vmas[i] === null
          ? new Array<number>(pages).fill(SIGBUS)
          : Array.from({ length: pages }, (_, page) => this.#fault(i, page)),
      ),
      miscoded: vmas.findIndex((_, i) => this.#miscoded(i)),
      targets: mappings.map((_, i) => this.#target(i)),
      reachable: mappings.map((_, i) => this.#reachable(i)),
      translates: mappings.map((_, i) => this.#translates(i)),
      listeners: devices.map((_, i) => {
        const device = this.#devices[i]!;
        return (
          device.listenerCount('suspend') + device.listenerCount('resume') + device.listenerCount('release')
        );
      }),
    };
  }

  /** Equal for kernels that behave the same from now on. */
  key(): string {
    const devices = this.#devices.map((device, i) => [
      this.#instances[i],
      device.released,
      [...device.regions.values()].map(({ blockers, areas }) => [blockers, areas[0]?.dma]),
      device.addressSpace.size,
      device.listenerCount('suspend'),
      device.listenerCount('resume'),
      device.listenerCount('release'),
    ]);
    const vmas = this.#vmas.map((vma) => vma && [vma.start, vma.sizeBytes, vma.pgoff, vma.space !== null]);
    const mapped = this.#mapped.map((each) => each && this.#mappedKey(each.mapping));
    const containers = this.#containers.map(({ size, closed }) => (closed ? 'closed' : size));
    return JSON.stringify([devices, vmas, mapped, containers]);
  }

  #mappedKey({ iova, size, source, dying, inFlight }: DmaMapping): unknown[] {
    if (!(source instanceof DeviceMemory)) return [iova, size, dying, inFlight];
    return [
      iova,
      size,
      dying,
      inFlight,
      this.#devices.indexOf(source.device),
      source.region.index,
      source.offset,
    ];
  }

  #dispatch(call: KernelCall): number | undefined {
    switch (call.call) {
      case 'open':
        this.#open(call.device);
        return;
      case 'release':
        this.#devices[call.device]!.release();
        return;
      case 'suspend':
        this.#suspend(call.device, call.reason);
        return;
      case 'resume':
        this.#devices[call.device]!.resume(call.reason);
        return;
      case 'mmap':
        this.#mmap(call.vma, call.place);
        return;
      case 'munmap':
        this.#munmap(call.vma, call.part, call.pages);
        return;
      case 'mremap':
        this.#mremap(call.vma);
        return;
      case 'fork':
        for (const vma of call.vmas) this.#fork(vma);
        return;
      case 'map':
        this.#map(call.mapping, call.fault ?? false);
        return;
      case 'unmap':
        this.#unmap(call.mapping);
        return;
      case 'letGo':
        for (const mapping of call.mappings) this.#letGo(mapping);
        return;
      case 'unmapRange':
        return this.#containers[call.container]!.unmap(call.iova, call.sizeBytes, { all: call.all });
      case 'closeContainer':
        this.#containers[call.container]!.close();
        return;
      case 'consent':
        this.#devices[call.device]!.regions.get(call.region)!.setConsent(0, call.dma);
    }
  }

  #makeDevice(device: number): VfioDevice {
    const { name, kind, regions } = this.#plan.devices[device]!;
    const { consent, zap } = this.#design;
    const willing = regions.some(({ dma }) => dma === 'allow');
    const made = new VfioDevice({
      name,
      kind,
      irqs: [],
      regions: regions.map(({ index, pages, dma }) => ({
        index,
        sizeBytes: pages * PAGE_SIZE,
        areas: [
          {
            offset: 0,
            size: pages * PAGE_SIZE,
            dma: consent === 'region' ? dma : consent === 'device' && !willing ? 'deny' : 'allow',
          },
        ],
      })),
    });
    if (zap[kind] === 'bar-range' || zap[kind] === 'everything') {
      made.addressSpace.onZap = (vma, start, length) => this.#zapped(vma, start, length);
    }
    if (this.#design.park) {
      for (const [region, { index }] of regions.entries())
        made.region(index).memory = this.#memory(device, region, made.region(index).sizeBytes);
    }
    return made;
  }

  /** Memory that only says what is to be done with it; the bytes are the host's. */
  #memory(device: number, region: number, sizeBytes: number): RegionMemory {
    const bytes = new Uint8Array(0);
    return {
      sizeBytes,
      lost: false,
      bytesAt: () => bytes,
      windowStart: () => 0,
      suspend: () => this.effects.push({ kind: 'park', device, region }),
      resume: () => this.effects.push({ kind: 'unpark', device, region }),
      release: () => {},
      clear: () => {},
    };
  }

  #makeContainer(): Container {
    const container = new Container(this.#plan.program.iommu);
    container.onUnmap((mapping) => {
      const at = this.#mapped.findIndex((each) => each?.mapping === mapping);
      if (at >= 0) this.effects.push({ kind: 'unmapped', mapping: at });
    });
    return container;
  }

  #open(device: number): void {
    if (!this.#devices[device]!.released) return;
    this.#devices[device] = this.#makeDevice(device);
    this.#instances[device]!++;
  }

  #suspend(device: number, reason: Reason): void {
    const target = this.#devices[device]!;
    const zap = this.#design.zap[target.kind];
    const whole = { start: 0, length: target.regionCount * 2 ** 40 };
    const { start, length } = zap === 'everything' ? whole : target.memoryRange;
    target.suspend(reason, start, length);
    if (zap !== 'vma-list') return;
    const zaps: Effect[] = [];
    for (const [vma, slot] of this.#plan.vmas.entries()) {
      if (slot.device !== device || this.#vmas[vma] === null) continue;
      if (!this.#plan.devices[device]!.regions[slot.region]!.isBar) continue;
      zaps.push({ kind: 'zap', vma, page: 0, pages: slot.pages });
    }
    // Where the core's own zap would be: contents are put aside only when no CPU reaches them any more.
    const parks = this.effects.findIndex(({ kind }) => kind === 'park');
    this.effects.splice(parks < 0 ? this.effects.length : parks, 0, ...zaps);
  }

  #zapped(vma: Vma, start: number, length: number): void {
    const at = this.#vmas.indexOf(vma);
    const base = this.#base(at, vma);
    this.effects.push({ kind: 'zap', vma: at, page: (start - base) / PAGE_SIZE, pages: length / PAGE_SIZE });
  }

  /** Address of page 0 of the slot that a VMA is in. */
  #base(slot: number, vma: Vma): number {
    const home = (slot + 1) * VMA_SPACING;
    return vma.start >= home + MOVED ? home + MOVED : home;
  }

  #mmap(slot: number, place: number): void {
    const { device, region, page, pages, process } = this.#plan.vmas[slot]!;
    if (pages === 0) throw new VfioError('EINVAL', 'a mapping has at least one page');
    const start = (slot + 1) * VMA_SPACING;
    const name = this.#plan.processes[process]!;
    const make = (file: DeviceFile | ForeignFile, pgoff: number): Vma =>
      new Vma({ file, process: name, start, sizeBytes: pages * PAGE_SIZE, pgoff });
    if (!this.#plan.holdsFile(device)) {
      this.#vmas[slot] = make(this.#foreign, 0);
      return;
    }
    const target = this.#devices[device]!;
    const planned = this.#plan.devices[device]!.regions[region]!;
    const shown = target.region(planned.index);
    if (!shown.covers(page * PAGE_SIZE, pages * PAGE_SIZE))
      throw new VfioError('EINVAL', `pages ${page} to ${page + pages} of ${shown.name} cannot be mapped`);
    const pfn = planned.addresses[place]! / PAGE_SIZE + page;
    const coded = shown.offset / PAGE_SIZE + page;
    const vma = make(target.file, this.#design.pgoff[target.kind] === 'pfn' ? pfn : coded);
    target.addressSpace.insert(vma);
    this.#vmas[slot] = vma;
  }

  #munmap(slot: number, part: 'all' | 'head' | 'tail', pages: number): void {
    const sizeBytes = pages * PAGE_SIZE;
    let gone = this.#vmas[slot]!;
    if (part === 'all' || gone.sizeBytes <= sizeBytes) this.#vmas[slot] = null;
    else if (gone.space === null) gone.shrink(gone.sizeBytes - sizeBytes, part === 'head' ? 'head' : 'tail');
    else {
      const [low, high] = gone.split(part === 'head' ? gone.start + sizeBytes : gone.end - sizeBytes);
      this.#vmas[slot] = part === 'head' ? high : low;
      gone = part === 'head' ? low : high;
    }
    gone.space?.remove(gone);
  }

  #mremap(slot: number): void {
    const vma = this.#vmas[slot]!;
    const base = this.#base(slot, vma);
    const home = (slot + 1) * VMA_SPACING;
    vma.move(vma.start - base + (base === home ? home + MOVED : home));
  }

  #fork(slot: number): void {
    const { parent } = this.#plan.vmas[slot]!;
    const from = this.#vmas[parent];
    if (from === null || from === undefined || this.#vmas[slot] !== null) return;
    const start = from.start - this.#base(parent, from) + (slot + 1) * VMA_SPACING;
    const { file, sizeBytes, pgoff } = from;
    const vma = new Vma({ file, process: this.#plan.vmas[slot]!.name, start, sizeBytes, pgoff });
    from.space?.insert(vma);
    this.#vmas[slot] = vma;
  }

  #map(slot: number, fault: boolean): void {
    const { container, vma: vmaSlot, page, pages, iova, read, write } = this.#plan.mappings[slot]!;
    const vma = this.#vmas[vmaSlot];
    const into = this.#containers[container]!;
    const size = pages * PAGE_SIZE;
    const request = { iova, size, read, write };
    if (fault || vma === null || vma === undefined) {
      into.map({ ...request, sourceOffset: page * PAGE_SIZE, source: new NoSource() });
      return;
    }
    const address = this.#base(vmaSlot, vma) + page * PAGE_SIZE;
    if (this.#design.learn === 'page-walk' || this.#isMemory(slot)) {
      const mapping = into.map({ ...request, source: new PfnSource() });
      into.acquire(mapping);
      this.#mapped[slot] = { mapping, unsubscribe: this.#watchOwner(slot, vma) };
      return;
    }
    const found = deviceFromVma(vma, address, size);
    if (found === null) throw new VfioError('EINVAL', 'this VMA may not reach an IOMMU');
    const source = new DeviceMemory({ region: found.region, offset: found.offset, sizeBytes: size });
    const mapping = into.map({ ...request, source });
    into.acquire(mapping);
    this.#mapped[slot] = { mapping, unsubscribe: this.#watch(slot, source) };
  }

  /** The RFC's type1: it knows the owner of the VMA, and hears of its release. */
  #watchOwner(mapping: number, vma: Vma): (() => void)[] {
    if (this.#design.notifier === 'none' || this.#isMemory(mapping)) return [];
    const device = this.#devices[this.#plan.vmas[this.#vmas.indexOf(vma)]!.device];
    if (device === undefined) return [];
    return [device.on('release', () => this.effects.push({ kind: 'released', mapping }))];
  }

  #watch(mapping: number, source: DeviceMemory): (() => void)[] {
    const { notifier, resume } = this.#design;
    if (notifier === 'none') return [];
    // Ends by itself: the container detaches the source when the mapping is gone.
    source.onRevoke((reason) => {
      if (reason === 'device is released') this.effects.push({ kind: 'released', mapping });
      else if (notifier === 'suspend-and-release') this.effects.push({ kind: 'revoke', mapping });
    });
    if (resume === 'nothing') return [];
    const { region, offset } = source;
    const restore = ({ start, length }: { start: number; length: number }): void => {
      const first = region.offset + offset;
      if (first < start || first >= start + length || source.unavailable(0, source.sizeBytes) !== null)
        return;
      this.effects.push({ kind: 'restore', mapping });
    };
    return [source.device.on('resume', restore)];
  }

  #unmap(slot: number): void {
    const { container, iova, pages } = this.#plan.mappings[slot]!;
    const size = this.#containers[container]!.unmap(iova, pages * PAGE_SIZE);
    if (size === 0) throw new VfioError('ENOENT', 'nothing was mapped there');
  }

  #translates(slot: number): boolean | null {
    const { container, iova } = this.#plan.mappings[slot]!;
    const into = this.#containers[container]!;
    if (!(into.find(iova)?.source instanceof DeviceMemory)) return null;
    return into.translate(iova, PAGE_SIZE, false, this.#translation) === null;
  }

  /** The IOMMU has let go of a mapping that was unmapped. It counts as a use: until then the core keeps the mapping. */
  #letGo(slot: number): void {
    const mapped = this.#mapped[slot];
    if (!mapped?.mapping.dying) return;
    for (const unsubscribe of mapped.unsubscribe) unsubscribe();
    this.#mapped[slot] = null;
    this.#containers[this.#plan.mappings[slot]!.container]!.release(mapped.mapping);
  }

  #reachable(slot: number): boolean {
    const mapping = this.#mapped[slot]?.mapping;
    return mapping !== undefined && !mapping.dying && mapping.source.unavailable(0, mapping.size) === null;
  }

  #fault(slot: number, page: number): number {
    const vma = this.#vmas[slot];
    const { device, region } = this.#plan.vmas[slot]!;
    if (vma === null || vma === undefined) return SIGBUS;
    const address = this.#base(slot, vma) + page * PAGE_SIZE;
    if (address < vma.start || address >= vma.end) return SIGBUS;
    if (device < 0) return FIXED + 1;
    if (!this.#plan.holdsFile(device)) return 1 + this.#plan.shown(slot, page);
    const owner = this.#devices[device]!;
    const fileOffset = pgoffToOffset(vma.pgoff) + (address - vma.start);
    if (this.#design.pgoff[owner.kind] === 'pfn') {
      const planned = this.#plan.devices[device]!.regions[region]!;
      if (owner.accessible(owner.region(planned.index)) !== null) return SIGBUS;
      return FIXED + this.#plan.frameAt(fileOffset);
    }
    const index = offsetToIndex(fileOffset);
    const found = owner.regions.get(index);
    if (found === undefined || owner.accessible(found) !== null) return SIGBUS;
    const at = this.#plan.region(device, index);
    return 1 + this.#plan.devices[device]!.regions[at]!.firstPage + offsetInRegion(fileOffset) / PAGE_SIZE;
  }

  #miscoded(slot: number): boolean {
    const vma = this.#vmas[slot];
    const { device, region, page } = this.#plan.vmas[slot]!;
    if (vma === null || vma === undefined || !this.#plan.holdsFile(device)) return false;
    const skipped = (vma.start - this.#base(slot, vma)) / PAGE_SIZE;
    const { index } = this.#plan.devices[device]!.regions[region]!;
    return vma.pgoff !== index * 2 ** 28 + page + skipped;
  }

  /** Whether a mapping is of memory of the machine. */
  #isMemory(slot: number): boolean {
    const { device } = this.#plan.vmas[this.#plan.mappings[slot]!.vma]!;
    return device >= 0 && !this.#plan.holdsFile(device);
  }

  #target(slot: number): number {
    const mapping = this.#mapped[slot]?.mapping;
    if (mapping === undefined) return 0;
    const { vma, page } = this.#plan.mappings[slot]!;
    if (this.#isMemory(slot)) return 1 + this.#plan.shown(vma, page);
    if (!(mapping.source instanceof DeviceMemory)) return FIXED;
    const { region, offset } = mapping.source;
    const device = this.#plan.devices.findIndex(({ name }) => name === region.device.name);
    const planned = this.#plan.devices[device]!.regions[this.#plan.region(device, region.index)]!;
    return 1 + planned.firstPage + offset / PAGE_SIZE;
  }
}
