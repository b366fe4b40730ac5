/*
 * One device of each kind that is not PCI, all with the same three regions: registers, memory that other devices may
 * reach, and memory that they may not; and two interrupts. For tests of what must hold whatever the kind is.
 */
import {
  ConfigSpace,
  FslMcDevice,
  MdevDevice,
  type MdevParent,
  PlatformDevice,
  type Registers,
} from '../../src/bus/index.ts';
import type { DeviceKind, VfioDevice } from '../../src/core/index.ts';

export const KIND_REGISTERS = {
  SCRATCH: { offset: 0, width: 4, access: 'rw', reset: 0x1111 },
  RAISE: { offset: 4, width: 4, access: 'wo' },
  LOWER: { offset: 8, width: 4, access: 'wo' },
} as const;

export const MEMORY_BYTES = 0x10000;
export const PRIVATE_BYTES = 0x2000;

const CONTROL = { name: 'control', sizeBytes: 0x1000 } as const;
const MEMORY = {
  name: 'memory',
  sizeBytes: MEMORY_BYTES,
  mappable: true,
  dma: 'allow',
  resetClears: true,
} as const;
const PRIVATE = { name: 'private', sizeBytes: PRIVATE_BYTES, mappable: true } as const;

/** What each of them has. */
export type KindDevice = VfioDevice & {
  readonly regs: Registers<typeof KIND_REGISTERS>;
  resets: number;
};

/** A 'level' interrupt at index 0 and an 'edge' at index 1. */
export class Platform extends PlatformDevice {
  readonly regs: Registers<typeof KIND_REGISTERS>;
  resets = 0;

  constructor() {
    super({
      name: 'platform',
      regions: [CONTROL, MEMORY, PRIVATE],
      interrupts: [{ name: 'level', trigger: 'level' }, { name: 'edge' }],
    });
    this.regs = this.addRegisters('control', KIND_REGISTERS, {
      RAISE: { write: () => this.raiseInterrupt('level') },
      LOWER: { write: () => this.lowerInterrupt('level') },
    });
  }

  protected override onReset(): void {
    this.resets++;
  }
}

/** An object with two messages. */
export class FslMc extends FslMcDevice {
  readonly regs: Registers<typeof KIND_REGISTERS>;
  resets = 0;

  constructor() {
    super({
      name: 'dpio.3',
      objectType: 'dpio',
      regions: [CONTROL, MEMORY, PRIVATE],
      interrupts: ['first', 'second'],
    });
    this.regs = this.addRegisters('control', KIND_REGISTERS, {
      RAISE: { write: () => this.raiseInterrupt('first') },
    });
  }

  protected override onReset(): void {
    this.resets++;
  }
}

/** As `Platform` to clients. */
export class PlatformMdev extends MdevDevice {
  readonly regs: Registers<typeof KIND_REGISTERS>;
  resets = 0;

  constructor(parent?: MdevParent) {
    super({
      name: 'mdev',
      api: 'vfio-platform',
      regions: [CONTROL, MEMORY, PRIVATE],
      interrupts: [{ name: 'level', trigger: 'level' }, { name: 'edge' }],
      ...(parent === undefined ? {} : { parent }),
    });
    this.regs = this.addRegisters('control', KIND_REGISTERS, {
      RAISE: { write: () => this.raiseInterrupt('level') },
    });
  }

  protected override onReset(): void {
    this.resets++;
  }
}

/** A PCI device to clients: config space with ids, INTx and MSI, and a device-specific region for what others may not reach. */
export class PciMdev extends MdevDevice {
  readonly regs: Registers<typeof KIND_REGISTERS>;
  readonly config: ConfigSpace = new ConfigSpace(256);
  resets = 0;

  constructor(parent?: MdevParent) {
    super({
      name: 'vgpu',
      api: 'vfio-pci',
      regions: [
        { ...CONTROL, index: 0 },
        { ...MEMORY, index: 2 },
        { name: 'config', index: 7, sizeBytes: 256 },
        { ...PRIVATE, index: 9, type: { type: 0x8000_1234, subtype: 3 } },
      ],
      interrupts: [
        { name: 'intx', trigger: 'level' },
        { name: 'msi', vectors: 4, noResize: true },
      ],
      ...(parent === undefined ? {} : { parent }),
    });
    this.config.set16(0, 0x1234);
    this.config.set16(2, 0x5678);
    this.setRegionHandler('config', this.config);
    this.regs = this.addRegisters('control', KIND_REGISTERS, {
      RAISE: { write: () => this.raiseInterrupt('intx') },
    });
  }

  protected override onReset(): void {
    this.resets++;
  }
}

/** A kind, and what linux/vfio.h says that its clients are told. */
export interface KindCase {
  readonly name: string;
  readonly make: () => KindDevice;
  /** VFIO_DEVICE_FLAGS_*, RESET included. */
  readonly flags: number;
  readonly seenAs: DeviceKind;
  /** Region indexes. */
  readonly control: number;
  readonly memory: number;
  readonly private: number;
  readonly regionCount: number;
  /** Count and VFIO_IRQ_INFO_* by index: EVENTFD 1, MASKABLE 2, AUTOMASKED 4, NORESIZE 8. */
  readonly irqs: readonly (readonly [count: number, flags: number])[];
}

const PLAIN = { control: 0, memory: 1, private: 2, regionCount: 3 } as const;
const LEVEL_AND_EDGE = [
  [1, 7],
  [1, 1],
] as const;

export const KIND_CASES: readonly KindCase[] = [
  {
    name: 'platform',
    make: () => new Platform(),
    flags: (1 << 2) | 1,
    seenAs: 'platform',
    ...PLAIN,
    irqs: LEVEL_AND_EDGE,
  },
  {
    name: 'fsl-mc',
    make: () => new FslMc(),
    flags: (1 << 6) | 1,
    seenAs: 'fsl-mc',
    ...PLAIN,
    irqs: [
      [1, 1],
      [1, 1],
    ],
  },
  {
    name: 'mdev that speaks vfio-platform',
    make: () => new PlatformMdev(),
    flags: (1 << 2) | 1,
    seenAs: 'platform',
    ...PLAIN,
    irqs: LEVEL_AND_EDGE,
  },
  {
    name: 'mdev that speaks vfio-pci',
    make: () => new PciMdev(),
    flags: (1 << 1) | 1,
    seenAs: 'pci',
    control: 0,
    memory: 2,
    private: 9,
    regionCount: 10,
    irqs: [
      [1, 7],
      [4, 9],
      [0, 0],
      [0, 0],
      [0, 0],
    ],
  },
];
