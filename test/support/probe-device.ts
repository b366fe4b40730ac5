/*
 * A PCI device that does what its COMMAND register says, for tests of the test helper: every kind of register, DMA of
 * each kind, interrupts by whichever mechanism a test wants.
 */
import {
  type CapabilitySpec,
  type MaybePromise,
  PciDevice,
  type PciReset,
  type Registers,
} from '../../src/bus/pci/index.ts';
import { type DmaWindow, isDmaFault } from '../../src/core/index.ts';

export const PROBE_REGISTERS = {
  BYTE: { offset: 0x00, width: 1, access: 'rw', reset: 0x5a },
  HALF: { offset: 0x02, width: 2, access: 'rw' },
  COMMAND: { offset: 0x04, width: 4, access: 'wo' },
  SCRATCH: { offset: 0x08, width: 4, access: 'rw', fields: { LOW: [0, 3], BIT: 4, TOP: [28, 31] } },
  ADDRESS: { offset: 0x10, width: 8, access: 'rw', fields: { TOP: [60, 63] } },
  STATUS: { offset: 0x18, width: 4, access: 'w1c', fields: { DONE: 0, FAULT: 1, SPARE: 2 } },
  ONCE: { offset: 0x1c, width: 4, access: 'rc', reset: 7 },
  SLOTS: { offset: 0x20, width: 2, access: 'rw', count: 4, stride: 4 },
  BROKEN: { offset: 0x30, width: 4, access: 'custom' },
} as const;

/** Values of COMMAND; RAISE has the vector above it, from bit 8 on. */
export const PROBE = {
  READ: 1,
  WRITE: 2,
  WINDOW: 3,
  RAISE: 4,
  LOWER: 5,
  /** Sets STATUS.DONE after three timers of 0. */
  LATER: 6,
  /** 1100 reads of one byte. */
  MANY: 7,
  /** Goes on for ever, a DMA a turn. */
  RESTLESS: 8,
  /** Raises vector 0 twice before anybody can hear of it. */
  TWICE: 9,
} as const;

export interface ProbeOptions {
  readonly capabilities?: readonly CapabilitySpec[];
  readonly pin?: boolean;
  readonly commandAtOpen?: number;
}

/** BAR0: the registers. BAR2: 8 KiB of mappable memory that others may reach. BAR4: for MSI-X. */
export class Probe extends PciDevice {
  readonly regs: Registers<typeof PROBE_REGISTERS>;
  readonly buffer: Uint8Array = new Uint8Array(16);
  readonly resets: PciReset[] = [];
  readonly heard: string[] = [];
  window: DmaWindow | null = null;
  /** What a reset waits for. */
  gate: Promise<void> | null = null;
  #restless: NodeJS.Timeout | null = null;

  constructor(options: ProbeOptions = {}) {
    super({
      name: 'probe',
      vendorId: 0x1234,
      deviceId: 0x0001,
      classCode: 0xff0000,
      ...(options.pin === false ? {} : { interruptPin: 1 as const }),
      ...(options.commandAtOpen === undefined ? {} : { commandAtOpen: options.commandAtOpen }),
      bars: {
        0: { type: 'mem32', sizeBytes: 4096 },
        2: { type: 'mem32', sizeBytes: 8192, mappable: true, dma: 'allow' },
        4: { type: 'mem32', sizeBytes: 4096 },
      },
      capabilities: options.capabilities ?? [],
    });
    const handlers = {
      COMMAND: { write: (value: number) => this.#command(value) },
      BROKEN: {
        read: (): number => {
          throw new Error('the handler threw');
        },
      },
    };
    this.regs = this.addRegisters(0, PROBE_REGISTERS, handlers, {
      onIncident: (incident) => this.heard.push(incident),
    });
  }

  override closed(): void {
    super.closed();
    if (this.#restless !== null) clearInterval(this.#restless);
  }

  protected override onReset(kind: PciReset): MaybePromise<void> {
    this.resets.push(kind);
    return this.gate ?? undefined;
  }

  #command(value: number): void {
    const what = value & 0xff;
    if (what === PROBE.RAISE) this.raiseInterrupt(value >>> 8);
    else if (what === PROBE.TWICE) {
      this.raiseInterrupt();
      this.raiseInterrupt();
    } else if (what === PROBE.LOWER) this.lowerInterrupt();
    else if (what === PROBE.LATER) this.#later(3);
    else if (what === PROBE.RESTLESS)
      this.#restless = setInterval(() => void this.dma.read(0, this.buffer), 0);
    else queueMicrotask(() => void this.#transfer(what));
  }

  async #transfer(what: number): Promise<void> {
    const iova = this.regs.ADDRESS;
    if (what === PROBE.WINDOW) {
      const window = this.dma.window(iova, 4096, true);
      this.window = isDmaFault(window) ? null : window;
      return;
    }
    if (what === PROBE.MANY) {
      for (let i = 0; i < 1100; i++) await this.dma.read(iova, this.buffer, 0, 1);
      return;
    }
    const fault = await this.dma[what === PROBE.READ ? 'read' : 'write'](iova, this.buffer);
    this.regs.set('STATUS', fault === null ? 'DONE' : 'FAULT', 1);
  }

  #later(timers: number): void {
    setTimeout(() => {
      if (timers > 1) this.#later(timers - 1);
      else this.regs.set('STATUS', 'DONE', 1);
    }, 0);
  }
}
