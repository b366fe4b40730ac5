/*
 * MSI-X: the capability in config space, and the table and pending bit array that lie over a BAR.
 *
 * What makes a vector deliverable is its wiring by SET_IRQS: a client such as QEMU emulates the table for its guest
 * and never writes ours. So the mask bit of a table entry, which is set after power-on, counts only once a client has
 * written that entry. The function mask counts always.
 */
import {
  PCI_CAP_ID_MSIX,
  PCI_CAP_MSIX_SIZEOF,
  PCI_MSIX_ENTRY_CTRL_MASKBIT,
  PCI_MSIX_ENTRY_SIZE,
  PCI_MSIX_ENTRY_VECTOR_CTRL,
  PCI_MSIX_FLAGS,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_MSIX_FLAGS_MASKALL,
  PCI_MSIX_PBA,
  PCI_MSIX_TABLE,
} from '../../abi/index.ts';
import { assert, type Irq, type RegionHandler } from '../../core/index.ts';
import type { RegionPart } from '../split-handler.ts';
import { ConfigImage, type ConfigSpace } from './config-space.ts';
import type { BarIndex, MsixSpec } from './spec.ts';

/** Table Size is 11 bits, one less than the number of vectors. */
export const MSIX_VECTOR_LIMIT: number = 2048;

/** Bits that software can change in the four doublewords of an entry: bits 1:0 of the address are 0. */
const ENTRY_MASK: Uint8Array = Uint8Array.of(
  ...[0xfc, 0xff, 0xff, 0xff],
  ...[0xff, 0xff, 0xff, 0xff],
  ...[0xff, 0xff, 0xff, 0xff],
  ...[PCI_MSIX_ENTRY_CTRL_MASKBIT, 0, 0, 0],
);

/** Where table and PBA lie, all defaults applied. */
export interface MsixPlaces {
  readonly tableBar: BarIndex;
  readonly tableOffset: number;
  readonly tableBytes: number;
  readonly pbaBar: BarIndex;
  readonly pbaOffset: number;
  /** Whole quadwords of one bit a vector. */
  readonly pbaBytes: number;
}

export function msixPlaces(spec: MsixSpec): MsixPlaces {
  const { vectors, bar } = spec;
  assert(
    Number.isInteger(vectors) && vectors >= 1 && vectors <= MSIX_VECTOR_LIMIT,
    `msix: ${vectors} vectors; use 1 to ${MSIX_VECTOR_LIMIT}`,
  );
  const tableOffset = spec.tableOffset ?? 0;
  const tableBytes = vectors * PCI_MSIX_ENTRY_SIZE;
  const pbaOffset = spec.pbaOffset ?? tableOffset + tableBytes;
  const aligned = tableOffset % 8 === 0 && pbaOffset % 8 === 0;
  assert(aligned, `msix: table at ${tableOffset}, PBA at ${pbaOffset}; both must be multiples of 8`);
  const pbaBytes = Math.ceil(vectors / 64) * 8;
  return { tableBar: bar, tableOffset, tableBytes, pbaBar: spec.pbaBar ?? bar, pbaOffset, pbaBytes };
}

export function msixImage(spec: MsixSpec): ConfigImage {
  const places = msixPlaces(spec);
  return new ConfigImage(PCI_CAP_MSIX_SIZEOF)
    .u8(0, PCI_CAP_ID_MSIX)
    .u16(PCI_MSIX_FLAGS, spec.vectors - 1, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)
    .u32(PCI_MSIX_TABLE, places.tableOffset + places.tableBar)
    .u32(PCI_MSIX_PBA, places.pbaOffset + places.pbaBar);
}

/** MSI-X of one function. */
export class Msix {
  readonly irq: Irq;
  readonly places: MsixPlaces;
  readonly #config: ConfigSpace;
  readonly #flags: number;
  readonly #table: Uint8Array;
  /** 1 once a client has written the entry. */
  readonly #written: Uint8Array;
  /** 1 where a masked vector was raised. */
  readonly #pending: Uint8Array;

  constructor(config: ConfigSpace, at: number, spec: MsixSpec, irq: Irq) {
    this.irq = irq;
    this.places = msixPlaces(spec);
    this.#config = config;
    this.#flags = at + PCI_MSIX_FLAGS;
    this.#table = new Uint8Array(this.places.tableBytes);
    this.#written = new Uint8Array(spec.vectors);
    this.#pending = new Uint8Array(spec.vectors);
    this.#clearTable();
    config.onWrite(this.#flags, 2, () => this.#deliverAll());
  }

  get enabled(): boolean {
    return (this.#config.get16(this.#flags) & PCI_MSIX_FLAGS_ENABLE) !== 0;
  }

  /** What answers accesses to `bar` before its own handler. */
  partsOf(bar: number): RegionPart[] {
    const { tableBar, tableOffset, tableBytes, pbaBar, pbaOffset, pbaBytes } = this.places;
    const parts: RegionPart[] = [];
    if (bar === tableBar)
      parts.push({ offset: tableOffset, sizeBytes: tableBytes, handler: this.#tableHandler() });
    if (bar === pbaBar) parts.push({ offset: pbaOffset, sizeBytes: pbaBytes, handler: this.#pbaHandler() });
    return parts;
  }

  /** Whether the vector may not be sent now. */
  masked(vector: number): boolean {
    if ((this.#config.get16(this.#flags) & PCI_MSIX_FLAGS_MASKALL) !== 0) return true;
    if (this.#written[vector] === 0) return false;
    const control = this.#table[vector * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL]!;
    return (control & PCI_MSIX_ENTRY_CTRL_MASKBIT) !== 0;
  }

  /** The vector's pending bit as the PBA shows it: raised, and masked or not wired yet. */
  pending(vector: number): boolean {
    return this.#pending[vector] === 1 || this.irq.pending(vector);
  }

  /** Sends a vector's message, or leaves it pending while it is masked. */
  raise(vector: number): boolean {
    if (this.masked(vector)) {
      this.#pending[vector] = 1;
      return false;
    }
    return this.irq.raise(vector);
  }

  /** Off and as after power-on: for the next client that opens the device. */
  disable(): void {
    const flags = this.#config.get16(this.#flags) & ~(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    this.#config.set16(this.#flags, flags);
    this.clearPending();
    this.#clearTable();
  }

  /** What a reset does: the table stays, as the kernel writes it back afterwards. */
  clearPending(): void {
    this.#pending.fill(0);
  }

  /** Takes table and pending bits of `other`, which has as many vectors. */
  takeOver(other: Msix): void {
    this.#table.set(other.#table);
    this.#written.set(other.#written);
    for (let i = 0; i < this.#pending.length; i++) this.#pending[i] = this.#pending[i]! | other.#pending[i]!;
  }

  #clearTable(): void {
    this.#table.fill(0);
    this.#written.fill(0);
    for (let at = PCI_MSIX_ENTRY_VECTOR_CTRL; at < this.#table.length; at += PCI_MSIX_ENTRY_SIZE) {
      this.#table[at] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
    }
  }

  #deliverAll(): void {
    for (let vector = 0; vector < this.#pending.length; vector++) this.#deliver(vector);
  }

  #deliver(vector: number): void {
    if (this.#pending[vector] === 0 || this.masked(vector)) return;
    this.#pending[vector] = 0;
    this.irq.raise(vector);
  }

  #tableHandler(): RegionHandler {
    const base = this.places.tableOffset;
    return {
      read: (offset, count, view, at) => {
        for (let i = 0; i < count; i++) view.setUint8(at + i, this.#table[offset - base + i]!);
        return 0;
      },
      write: (offset, count, view, at) => {
        for (let i = 0; i < count; i++) this.#writeTable(offset - base + i, view.getUint8(at + i));
        const first = Math.floor((offset - base) / PCI_MSIX_ENTRY_SIZE);
        const last = Math.floor((offset - base + count - 1) / PCI_MSIX_ENTRY_SIZE);
        for (let vector = first; vector <= last; vector++) this.#deliver(vector);
        return 0;
      },
    };
  }

  #writeTable(at: number, data: number): void {
    const mask = ENTRY_MASK[at % PCI_MSIX_ENTRY_SIZE]!;
    this.#table[at] = (this.#table[at]! & ~mask) | (data & mask);
    this.#written[Math.floor(at / PCI_MSIX_ENTRY_SIZE)] = 1;
  }

  /** Read only: the function sets and clears the bits. */
  #pbaHandler(): RegionHandler {
    const base = this.places.pbaOffset;
    return {
      read: (offset, count, view, at) => {
        for (let i = 0; i < count; i++) view.setUint8(at + i, this.#pbaByte(offset - base + i));
        return 0;
      },
      write: () => 0,
    };
  }

  #pbaByte(byte: number): number {
    let bits = 0;
    for (let bit = 0; bit < 8; bit++) {
      const vector = 8 * byte + bit;
      if (vector < this.#pending.length && this.pending(vector)) bits |= 1 << bit;
    }
    return bits;
  }
}
