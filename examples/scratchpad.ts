/** A scratchpad without PCI: memory that clients map, a register that fills it, a level when that is done. */
import { PlatformDevice, type Registers } from 'vfio';

export const REGISTERS = {
  FILL: { offset: 0x0, width: 4, access: 'wo', description: 'fills the memory with this byte' },
  STATUS: { offset: 0x4, width: 4, access: 'w1c', fields: { DONE: 0 } },
} as const;

export class Scratchpad extends PlatformDevice {
  readonly #regs: Registers<typeof REGISTERS>;

  constructor() {
    super({
      name: 'scratchpad',
      regions: [
        { name: 'control', sizeBytes: 4096 },
        { name: 'memory', sizeBytes: 0x10000, mappable: true, dma: 'allow', resetClears: true },
      ],
      interrupts: [{ name: 'done', trigger: 'level' }],
    });
    this.#regs = this.addRegisters('control', REGISTERS, {
      FILL: { write: (value) => this.#fill(value) },
      STATUS: { write: (value) => value === 0 && this.lowerInterrupt('done') },
    });
  }

  #fill(value: number): void {
    this.regionNamed('memory').memory?.bytesAt(0).fill(value);
    this.#regs.set('STATUS', 'DONE', 1);
    this.raiseInterrupt('done');
  }

  /** Registers, memory and interrupts are done. To have a reset is what lets clients ask for one. */
  protected override onReset(): void {}
}

export default Scratchpad;
