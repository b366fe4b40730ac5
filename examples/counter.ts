/** A counter: each write to STEP adds to COUNT; at LIMIT it writes COUNT to memory by DMA and interrupts. */
import { PciDevice, type Registers } from 'vfio';

export const REGISTERS = {
  STEP: { offset: 0x00, width: 4, access: 'wo' },
  COUNT: { offset: 0x04, width: 4, access: 'ro' },
  LIMIT: { offset: 0x08, width: 4, access: 'rw', reset: 10 },
  STATUS: { offset: 0x0c, width: 4, access: 'w1c', fields: { REACHED: 0, DMA_FAULT: 1 } },
  TARGET: { offset: 0x10, width: 8, access: 'rw', description: 'bus address that COUNT is written to' },
} as const;

export class Counter extends PciDevice {
  readonly #regs: Registers<typeof REGISTERS>;

  constructor() {
    super({
      name: 'counter',
      vendorId: 0x1234,
      deviceId: 0xc0de,
      classCode: 0xff0000,
      interruptPin: 1,
      bars: { 0: { type: 'mem32', sizeBytes: 4096 } },
      capabilities: [{ type: 'msi' }],
    });
    this.#regs = this.addRegisters(0, REGISTERS, {
      STEP: { write: (value) => this.#step(value) },
      STATUS: { write: (value) => value === 0 && this.lowerInterrupt() },
    });
  }

  #step(value: number): void {
    this.#regs.COUNT += value;
    // DMA comes after the answer to this write: the client may be waiting for it.
    if (this.#regs.COUNT >= this.#regs.LIMIT) queueMicrotask(() => this.#report());
  }

  async #report(): Promise<void> {
    const count = Uint32Array.of(this.#regs.COUNT);
    const fault = await this.dma.write(this.#regs.TARGET, new Uint8Array(count.buffer));
    this.#regs.COUNT = 0;
    this.#regs.set('STATUS', 'REACHED', 1);
    this.#regs.set('STATUS', 'DMA_FAULT', fault === null ? 0 : 1);
    this.raiseInterrupt();
  }
}

export default Counter;
