/*
 * MSI capability: up to 32 vectors, a 32 or 64-bit address, and per-vector masking if the function has it. Where a
 * message goes is the client's business (SET_IRQS wires each vector); what counts here are the number of vectors that
 * software enabled and the masks.
 */
import {
  PCI_CAP_ID_MSI,
  PCI_MSI_ADDRESS_HI,
  PCI_MSI_ADDRESS_LO,
  PCI_MSI_DATA_32,
  PCI_MSI_DATA_64,
  PCI_MSI_FLAGS,
  PCI_MSI_FLAGS_64BIT,
  PCI_MSI_FLAGS_ENABLE,
  PCI_MSI_FLAGS_MASKBIT,
  PCI_MSI_FLAGS_QSIZE,
  PCI_MSI_MASK_32,
  PCI_MSI_MASK_64,
  PCI_MSI_PENDING_32,
  PCI_MSI_PENDING_64,
} from '../../abi/index.ts';
import { assert, type Irq } from '../../core/index.ts';
import { ConfigImage, type ConfigSpace } from './config-space.ts';
import type { MsiSpec } from './spec.ts';

/** Vectors that the capability can express: Multiple Message Capable is a power of two up to 2^5. */
export const MSI_VECTOR_LIMIT: number = 32;

/** Bits 1:0 of a message address are 0: it is a doubleword's. */
const ADDRESS_MASK = 0xffff_fffc;
const MULTIPLE_MESSAGE_CAPABLE_SHIFT = 1;
const MULTIPLE_MESSAGE_ENABLE_SHIFT = 4;

export function msiImage(spec: MsiSpec): ConfigImage {
  const vectors = spec.vectors ?? 1;
  const wide = spec.address64 ?? true;
  const maskable = spec.maskable ?? false;
  const shift = Math.log2(vectors);
  assert(
    Number.isInteger(shift) && vectors <= MSI_VECTOR_LIMIT,
    `msi: ${vectors} vectors; use a power of two up to 32`,
  );
  const data = wide ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32;
  const mask = wide ? PCI_MSI_MASK_64 : PCI_MSI_MASK_32;
  const pending = wide ? PCI_MSI_PENDING_64 : PCI_MSI_PENDING_32;
  const image = new ConfigImage(maskable ? pending + 4 : data + 2)
    .u8(0, PCI_CAP_ID_MSI)
    .u16(
      PCI_MSI_FLAGS,
      (shift << MULTIPLE_MESSAGE_CAPABLE_SHIFT) |
        (wide ? PCI_MSI_FLAGS_64BIT : 0) |
        (maskable ? PCI_MSI_FLAGS_MASKBIT : 0),
      PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE,
    )
    .u32(PCI_MSI_ADDRESS_LO, 0, ADDRESS_MASK);
  if (wide) image.u32(PCI_MSI_ADDRESS_HI, 0, 0xffff_ffff);
  image.u16(data, 0, 0xffff);
  if (maskable) image.u32(mask, 0, allOf(vectors)).u32(pending, 0);
  return image;
}

function allOf(vectors: number): number {
  return vectors === 32 ? 0xffff_ffff : 2 ** vectors - 1;
}

/** MSI of one function. */
export class Msi {
  readonly irq: Irq;
  readonly #config: ConfigSpace;
  readonly #flags: number;
  /** Offsets of the mask and pending bits; -1 without per-vector masking. */
  readonly #mask: number = -1;
  readonly #pending: number = -1;

  constructor(config: ConfigSpace, at: number, spec: MsiSpec, irq: Irq) {
    this.irq = irq;
    this.#config = config;
    this.#flags = at + PCI_MSI_FLAGS;
    if (!(spec.maskable ?? false)) return;
    const wide = spec.address64 ?? true;
    this.#mask = at + (wide ? PCI_MSI_MASK_64 : PCI_MSI_MASK_32);
    this.#pending = at + (wide ? PCI_MSI_PENDING_64 : PCI_MSI_PENDING_32);
    config.onWrite(this.#mask, 4, () => this.#deliver());
  }

  get enabled(): boolean {
    return (this.#config.get16(this.#flags) & PCI_MSI_FLAGS_ENABLE) !== 0;
  }

  /**
   * Sends a vector's message, or leaves it pending while it is masked. A function that was given fewer vectors than
   * it asked for sends the lower ones instead.
   */
  raise(vector: number): boolean {
    const given = this.irq.wired(vector) ? vector : vector % this.#enabledVectors();
    if (this.#mask >= 0 && (this.#config.get32(this.#mask) & (1 << given)) !== 0) {
      this.#config.set32(this.#pending, this.#config.get32(this.#pending) | (1 << given));
      return false;
    }
    return this.irq.raise(given);
  }

  /** Off, nothing masked, nothing pending: as a newly opened device is. */
  disable(): void {
    const flags = this.#config.get16(this.#flags) & ~(PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE);
    this.#config.set16(this.#flags, flags);
    if (this.#mask >= 0) this.#config.set32(this.#mask, 0);
    this.clearPending();
  }

  clearPending(): void {
    if (this.#pending >= 0) this.#config.set32(this.#pending, 0);
  }

  #enabledVectors(): number {
    const shift = (this.#config.get16(this.#flags) & PCI_MSI_FLAGS_QSIZE) >>> MULTIPLE_MESSAGE_ENABLE_SHIFT;
    return Math.min(2 ** shift, this.irq.count);
  }

  /** After a write of the mask bits: what waited and is not masked any more goes out. */
  #deliver(): void {
    const ready = this.#config.get32(this.#pending) & ~this.#config.get32(this.#mask);
    if (ready === 0) return;
    this.#config.set32(this.#pending, this.#config.get32(this.#pending) & ~ready);
    for (let vector = 0; vector < this.irq.count; vector++) {
      if ((ready & (1 << vector)) !== 0) this.irq.raise(vector);
    }
  }
}
