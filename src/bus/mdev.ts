/*
 * Mediated devices: software that speaks the interface of a bus driver and has no hardware of its own, only what its
 * parent lends it. Clients see the API that it speaks (VFIO_DEVICE_API_*_STRING, the `device_api` of Linux's mdev types)
 * and not that it is mediated: the flags are those of vfio-pci for an mdev that speaks vfio-pci, and so on.
 *
 * Which index means what is the API's affair, so regions and interrupts may name theirs; with vfio-pci that is
 * VFIO_PCI_*_INDEX, and region 7 must be there, because its clients read config space first. Unlike the other kinds, an
 * mdev can have regions that are memory in parts, each part with its own consent (R3), and device-specific regions with a
 * type.
 *
 * The memory of an mdev comes from a region of its parent, not from BARs. It has bytes and files of its own here (R1: an
 * offset names the mdev's region, not the parent's), but lives as the parent's does: while nobody can reach that region,
 * nobody reaches the mdev's mappable regions, by the time the parent's `suspend` returns; they come back with it, and the
 * end of the parent is the end of the mdev. Regions without memory go on answering: they are software.
 */
import {
  VFIO_DEVICE_API_PCI_STRING,
  VFIO_IRQ_INFO_AUTOMASKED,
  VFIO_IRQ_INFO_EVENTFD,
  VFIO_IRQ_INFO_MASKABLE,
  VFIO_IRQ_INFO_NORESIZE,
  VFIO_PCI_CONFIG_REGION_INDEX,
} from '../abi/index.ts';
import {
  assert,
  type DeviceApi,
  type MappableArea,
  REGION_SPAN,
  type RegionType,
  type VfioDevice,
} from '../core/index.ts';
import { type PlacedIrq, PlainDevice, type PlainRegionSpec } from './plain-device.ts';

/** A region of an mdev. */
export interface MdevRegionSpec extends PlainRegionSpec {
  /** Default: the index after that of the region before it; the first has 0. */
  readonly index?: number;
  /** What clients may map: `true` is all of it, else whole pages, each area with its consent. */
  readonly mappable?: true | readonly MappableArea[];
  /** Of a device-specific region. */
  readonly type?: RegionType;
}

/** An interrupt index of an mdev. */
export interface MdevInterruptSpec {
  readonly name: string;
  /** Default: the index after that of the interrupt before it; the first has 0. */
  readonly index?: number;
  /** Default 1. A level has one. */
  readonly vectors?: number;
  /** A level masks itself when it is delivered; edges cannot be masked. Default 'edge'. */
  readonly trigger?: 'edge' | 'level';
  /** Clients must wire all vectors at once (VFIO_IRQ_INFO_NORESIZE), as for MSI. Default false. */
  readonly noResize?: boolean;
}

/** Where an mdev's memory comes from. */
export interface MdevParent {
  readonly device: VfioDevice;
  /** Index of the region that lends the memory. */
  readonly region: number;
}

/** A mediated device. */
export interface MdevDeviceSpec {
  readonly name: string;
  readonly api: DeviceApi;
  readonly regions?: readonly MdevRegionSpec[];
  readonly interrupts?: readonly MdevInterruptSpec[];
  /** Absent: all of it is software, and nothing takes its memory away but the mdev itself. */
  readonly parent?: MdevParent;
}

/** Base class of mediated devices. */
export class MdevDevice extends PlainDevice {
  readonly spec: MdevDeviceSpec;
  readonly #parentRegion: number;
  /** The parent, or the instance that has taken its place. */
  #parent: VfioDevice | null;
  #unsubscribe: (() => void)[] = [];

  constructor(spec: MdevDeviceSpec) {
    const regions = placed(spec.regions ?? []);
    const config = regions.some(({ index }) => index === VFIO_PCI_CONFIG_REGION_INDEX);
    assert(
      spec.api !== VFIO_DEVICE_API_PCI_STRING || config,
      `${spec.name}: who speaks vfio-pci has a config space; declare region ${VFIO_PCI_CONFIG_REGION_INDEX}`,
    );
    super({
      name: spec.name,
      kind: 'mdev',
      api: spec.api,
      regions,
      irqs: placed(spec.interrupts ?? []).map(irqOf),
    });
    this.spec = spec;
    this.#parent = spec.parent?.device ?? null;
    this.#parentRegion = spec.parent?.region ?? 0;
    if (this.#parent === null) return;
    // Throws if there is no such region, before anything is subscribed to.
    this.#parent.region(this.#parentRegion);
    assert(!this.#parent.released, `${spec.name}: its parent ${this.#parent.name} was released`);
    this.on('release', () => this.#leaveParent());
    this.#follow(this.#parent);
  }

  #follow(parent: VfioDevice): void {
    this.#leaveParent();
    this.#parent = parent;
    const look = (): void => this.#look();
    this.#unsubscribe = [
      parent.on('suspend', look),
      parent.on('resume', look),
      parent.on('release', () => this.release()),
      parent.on('replace', ({ device }) => this.#follow(device)),
    ];
    this.#look();
  }

  #leaveParent(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#unsubscribe = [];
  }

  /** Goes by the parent's state, not by the event: it names one reason of perhaps several, and may be over already. */
  #look(): void {
    const parent = this.#parent!;
    if (parent.accessible(parent.region(this.#parentRegion)) === null) {
      this.resume('parent cannot be reached');
      return;
    }
    for (const region of this.regions.values()) {
      if (region.mappable) this.suspend('parent cannot be reached', region.offset, REGION_SPAN);
    }
  }
}

function placed<T extends { readonly index?: number }>(
  specs: readonly T[],
): (T & { readonly index: number })[] {
  let next = 0;
  return specs.map((spec) => {
    const index = spec.index ?? next;
    next = index + 1;
    return { ...spec, index };
  });
}

function irqOf(spec: MdevInterruptSpec & { readonly index: number }): PlacedIrq {
  const { name, index, vectors, trigger, noResize } = spec;
  const masks = trigger === 'level' ? VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED : 0;
  const fixed = noResize ? VFIO_IRQ_INFO_NORESIZE : 0;
  return { name, index, count: vectors ?? 1, flags: VFIO_IRQ_INFO_EVENTFD | masks | fixed };
}
