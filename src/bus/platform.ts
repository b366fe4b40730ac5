/*
 * Platform devices: what an SoC has without a bus that could be asked, described by a device tree's `reg` and
 * `interrupts`. Regions and interrupts have the indexes of those lists.
 *
 * What clients are told follows Linux's vfio-platform (vfio_platform_common.c, vfio_platform_irq.c):
 * - a region can be read, and written unless its resource is read-only; it is mappable as a whole, and only if it
 *   consists of whole pages. Linux sets MMAP for every such region; here its author decides, because registers with
 *   handlers behind them cannot be mapped;
 * - each interrupt is an index of its own with one vector. A level masks itself when it is delivered (EVENTFD, MASKABLE,
 *   AUTOMASKED) until the client unmasks it; an edge has EVENTFD alone;
 * - VFIO_DEVICE_FLAGS_RESET is set if there is reset code for the device.
 */
import { VFIO_IRQ_INFO_AUTOMASKED, VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_INFO_MASKABLE } from '../abi/index.ts';
import { type PlacedIrq, PlainDevice, type PlainRegionSpec } from './plain-device.ts';

/** One entry of `reg`. */
export interface PlatformRegionSpec extends PlainRegionSpec {
  /** Clients may map all of it: then it is memory, and no handler sees what they do. Default: not. */
  readonly mappable?: true;
}

/** One entry of `interrupts`. */
export interface PlatformInterruptSpec {
  readonly name: string;
  /** How the line is triggered. Default 'edge'. */
  readonly trigger?: 'edge' | 'level';
}

/** A platform device. */
export interface PlatformDeviceSpec {
  readonly name: string;
  /** In the order of their indexes. */
  readonly regions?: readonly PlatformRegionSpec[];
  /** In the order of their indexes. */
  readonly interrupts?: readonly PlatformInterruptSpec[];
}

/**
 * Base class of platform devices.
 *
 * @example
 * class Timer extends PlatformDevice {
 *   readonly regs = this.addRegisters('control', { COUNT: { offset: 0, width: 4, access: 'rw' } });
 *   constructor() {
 *     super({ name: 'timer', regions: [{ name: 'control', sizeBytes: 4096 }], interrupts: [{ name: 'tick' }] });
 *   }
 * }
 */
export class PlatformDevice extends PlainDevice {
  readonly spec: PlatformDeviceSpec;

  constructor(spec: PlatformDeviceSpec) {
    super({
      name: spec.name,
      kind: 'platform',
      regions: (spec.regions ?? []).map((region, index) => ({ ...region, index })),
      irqs: (spec.interrupts ?? []).map(irqOf),
    });
    this.spec = spec;
  }
}

function irqOf({ name, trigger }: PlatformInterruptSpec, index: number): PlacedIrq {
  const masks = trigger === 'level' ? VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED : 0;
  return { name, index, count: 1, flags: VFIO_IRQ_INFO_EVENTFD | masks };
}
