/*
 * A PCI device in versions, for tests of replacing one by the next under a client.
 */
import {
  PciDevice,
  type PciDeviceSpec,
  type Registers,
  type RegisterTable,
  registers,
} from '../../src/bus/pci/index.ts';
import type { RegionHandler } from '../../src/core/index.ts';

export const CARD_REGISTERS = {
  VERSION: { offset: 0, width: 4, access: 'ro' },
  SCRATCH: { offset: 4, width: 4, access: 'rw', reset: 0x1111 },
} as const;

export const MEMORY_BYTES = 0x10000;
/** Where BAR4's handler waits for `gate`. */
export const SLOW = 0x20;
/** COMMAND of the header, PMCSR of the first capability, Device Control of the second, MSI-X of the third. */
export const AT = { COMMAND: 0x04, STATUS: 0x06, BAR2: 0x18, PMCSR: 0x44, MSIX: 0x84 } as const;

const SPEC = {
  name: 'card',
  vendorId: 0x1234,
  deviceId: 0x5678,
  classCode: 0x058000,
  interruptPin: 1,
  capabilities: [
    { type: 'power-management', noSoftReset: true },
    { type: 'express' },
    { type: 'msix', vectors: 2, bar: 5 },
  ],
  bars: {
    0: { type: 'mem32', sizeBytes: 4096 },
    2: { type: 'mem32', sizeBytes: MEMORY_BYTES, mappable: true, dma: 'allow' },
    4: { type: 'mem32', sizeBytes: 4096 },
    5: { type: 'mem32', sizeBytes: 4096 },
  },
} as const satisfies PciDeviceSpec;

/** BAR0 registers, BAR2 memory, BAR4 a slow handler, BAR5 MSI-X. */
export class Card extends PciDevice {
  readonly regs: Registers<typeof CARD_REGISTERS>;
  readonly calls: string[] = [];
  /** What accesses of SLOW wait for. */
  gate: Promise<void> | null = null;

  constructor(version: number, change: Partial<PciDeviceSpec> = {}, table: RegisterTable = CARD_REGISTERS) {
    super({ ...SPEC, ...change });
    const block = registers(table);
    this.setBarHandler(0, block);
    this.regs = block as unknown as Registers<typeof CARD_REGISTERS>;
    this.regs.VERSION = version;
    const answer = (value: number, view: DataView, at: number): number => {
      view.setUint32(at, value, true);
      return 0;
    };
    const slow: RegionHandler = {
      read: (offset, _count, view, at) => {
        if (offset !== SLOW || this.gate === null) return answer(version, view, at);
        return this.gate.then(() => answer(version, view, at));
      },
      write: (offset) => {
        this.calls.push(`write ${offset}`);
        return offset === SLOW && this.gate !== null ? this.gate.then(() => 0) : 0;
      },
    };
    this.setBarHandler(4, slow);
    this.on('release', () => this.calls.push('release'));
  }

  override opened(): void {
    super.opened();
    this.calls.push(`opened, DMA ${this.dma.attached ? 'attached' : 'not attached'}`);
  }

  override closed(): void {
    super.closed();
    this.calls.push('closed');
  }

  protected override onReset(): void {
    this.calls.push('reset');
  }
}

/** A card whose state goes from one version to the next. */
export class CarryingCard extends Card {
  count = 0;

  override saveState(): { count: number } {
    return { count: this.count };
  }

  override restoreState(state: { count: number }): void {
    this.count = state.count;
  }
}
