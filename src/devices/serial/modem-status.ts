/**
 * The modem status register: four inputs, and a bit for each that changed since the register was read last.
 */
import { MSR_RI, MSR_TERI } from './bits.ts';

const INPUTS = 0xf0;
const DELTAS = 0x0f;
/** An input and its delta are this many bits apart. */
const DELTA_SHIFT = 4;

export class ModemStatus {
  #value = 0;

  /** Whether an input changed since the last read. */
  get changed(): boolean {
    return (this.#value & DELTAS) !== 0;
  }

  get value(): number {
    return this.#value;
  }

  /** The register's value for the guest, whose read clears the deltas. */
  read(): number {
    const value = this.#value;
    this.#value &= INPUTS;
    return value;
  }

  /** Sets the inputs: MSR_CTS, MSR_DSR, MSR_RI, MSR_DCD. Of RI only the end of a ring counts as a change (TERI). */
  set(inputs: number): void {
    const changed = (this.#value ^ inputs) & INPUTS;
    let deltas = changed >>> DELTA_SHIFT;
    if ((inputs & MSR_RI) !== 0) deltas &= ~MSR_TERI;
    this.#value = (inputs & INPUTS) | (this.#value & DELTAS) | deltas;
  }

  reset(inputs: number): void {
    this.#value = inputs & INPUTS;
  }
}
