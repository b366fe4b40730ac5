/**
 * The ram device: memory that other devices may reach, with every way of losing it that a PCI function has.
 */
import { PciDevice } from '../../bus/pci/index.ts';
import type { Consent, MappableArea } from '../../core/index.ts';
import { RAM_REGISTERS } from './registers.ts';
import {
  RAM_BAR0_SIZE,
  RAM_CLASS,
  RAM_CONSENT_SCRATCH,
  RAM_DEFAULT_SIZE,
  RAM_DEVICE_ID,
  RAM_MAX_AREAS,
  RAM_MAX_SIZE,
  RAM_MEMORY_BAR,
  RAM_MIN_SIZE,
  RAM_REGISTERS_BAR,
  RAM_REVISION_ID,
  RAM_SCRATCH_REGION,
  RAM_SCRATCH_SIZE,
  RAM_SCRATCH_SUBTYPE,
  RAM_SCRATCH_TYPE,
  RAM_VENDOR_ID,
} from './spec.ts';

export interface RamOptions {
  /** Default 'ram'. */
  readonly name?: string;
  /** Size of BAR2: a power of two from 4 KiB to 64 GiB. Default 16 MiB. */
  readonly sizeBytes?: number;
  /** Whether BAR2 is a DMA target of other devices. Default 'allow'. */
  readonly dma?: Consent;
  /** Mappable parts of BAR2, each with its own consent, instead of all of it with `dma`. At most 31. */
  readonly areas?: readonly MappableArea[];
  /** Whether region 9 is a DMA target. Default 'deny'. */
  readonly scratchDma?: Consent;
  /** A reset clears BAR2. Default false. */
  readonly clearOnReset?: boolean;
}

export class Ram extends PciDevice {
  constructor(options: RamOptions = {}) {
    const sizeBytes = options.sizeBytes ?? RAM_DEFAULT_SIZE;
    checkOptions(sizeBytes, options);
    super({
      name: options.name ?? 'ram',
      vendorId: RAM_VENDOR_ID,
      deviceId: RAM_DEVICE_ID,
      revisionId: RAM_REVISION_ID,
      classCode: RAM_CLASS << 8,
      bars: {
        [RAM_REGISTERS_BAR]: { type: 'mem32', sizeBytes: RAM_BAR0_SIZE },
        [RAM_MEMORY_BAR]: {
          type: 'mem64',
          sizeBytes,
          prefetchable: true,
          mappable: options.areas ?? [{ offset: 0, size: sizeBytes, dma: options.dma ?? 'allow' }],
          resetClears: options.clearOnReset ?? false,
        },
      },
      capabilities: [{ type: 'power-management' }, { type: 'express' }],
      extraRegions: [
        {
          index: RAM_SCRATCH_REGION,
          name: 'scratch',
          sizeBytes: RAM_SCRATCH_SIZE,
          areas: [{ offset: 0, size: RAM_SCRATCH_SIZE, dma: options.scratchDma ?? 'deny' }],
          type: { type: RAM_SCRATCH_TYPE, subtype: RAM_SCRATCH_SUBTYPE },
        },
      ],
    });
    this.addRegisters(RAM_REGISTERS_BAR, RAM_REGISTERS, {
      SIZE_LOW: { read: () => sizeBytes % 2 ** 32 },
      SIZE_HIGH: { read: () => Math.floor(sizeBytes / 2 ** 32) },
      AREAS: { read: () => this.region(RAM_MEMORY_BAR).areas.length },
      CONSENT: { read: () => this.#consentBits() },
    });
  }

  #consentBits(): number {
    let bits = this.region(RAM_SCRATCH_REGION).areas[0]!.dma === 'allow' ? RAM_CONSENT_SCRATCH : 0;
    this.region(RAM_MEMORY_BAR).areas.forEach((area, index) => {
      if (area.dma === 'allow') bits += 2 ** index;
    });
    return bits;
  }
}

function checkOptions(sizeBytes: number, options: RamOptions): void {
  const inRange = sizeBytes >= RAM_MIN_SIZE && sizeBytes <= RAM_MAX_SIZE;
  if (!inRange || !Number.isInteger(Math.log2(sizeBytes))) {
    throw new RangeError(`ram has ${sizeBytes} bytes; use a power of two from 4 KiB to 64 GiB`);
  }
  if (options.areas === undefined) return;
  if (options.areas.length === 0 || options.areas.length > RAM_MAX_AREAS) {
    throw new RangeError(`ram has ${options.areas.length} areas; use 1 to ${RAM_MAX_AREAS}`);
  }
  if (options.dma !== undefined)
    throw new TypeError('ram has both dma and areas; each area has its own consent');
}
