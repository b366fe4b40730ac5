/*
 * Configuration space as bytes with masks: which bits a write replaces, and which it clears with a one. Every access
 * of any width and offset works on single bytes, so a write in the middle of a register, or over several registers,
 * does what the hardware would do. What must happen because of a write is a hook on a range of bytes; it runs once
 * an access, after all bytes are in place.
 */
import { assert, type RegionHandler } from '../../core/index.ts';

/** Registers on their way into config space: power-on values and masks, built by name and width. */
export class ConfigImage {
  readonly bytes: Uint8Array;
  /** Bits that a write replaces. */
  readonly writable: Uint8Array;
  /** Bits that a written 1 clears. */
  readonly clearable: Uint8Array;

  constructor(sizeBytes: number) {
    this.bytes = new Uint8Array(sizeBytes);
    this.writable = new Uint8Array(sizeBytes);
    this.clearable = new Uint8Array(sizeBytes);
  }

  u8(at: number, value: number, writable: number = 0, clearable: number = 0): this {
    return this.#put(at, 1, value, writable, clearable);
  }

  u16(at: number, value: number, writable: number = 0, clearable: number = 0): this {
    return this.#put(at, 2, value, writable, clearable);
  }

  u32(at: number, value: number, writable: number = 0, clearable: number = 0): this {
    return this.#put(at, 4, value, writable, clearable);
  }

  #put(at: number, width: number, value: number, writable: number, clearable: number): this {
    for (let i = 0; i < width; i++) {
      this.bytes[at + i] = value >>> (8 * i);
      this.writable[at + i] = writable >>> (8 * i);
      this.clearable[at + i] = clearable >>> (8 * i);
    }
    return this;
  }
}

interface Hook {
  readonly start: number;
  readonly end: number;
  readonly run: () => void;
}

/** The config region of one function: 256 bytes, or 4096 with PCI Express. Undefined bytes read 0 and ignore writes. */
export class ConfigSpace implements RegionHandler {
  readonly sizeBytes: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #powerOn: Uint8Array;
  readonly #writable: Uint8Array;
  readonly #clearable: Uint8Array;
  readonly #defined: Uint8Array;
  /** 1 where a reset leaves the value alone, as vfio-pci saves and restores it. */
  readonly #kept: Uint8Array;
  readonly #hooks: Hook[] = [];

  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
    this.#bytes = new Uint8Array(sizeBytes);
    this.#view = new DataView(this.#bytes.buffer);
    this.#powerOn = new Uint8Array(sizeBytes);
    this.#writable = new Uint8Array(sizeBytes);
    this.#clearable = new Uint8Array(sizeBytes);
    this.#defined = new Uint8Array(sizeBytes);
    this.#kept = new Uint8Array(sizeBytes);
  }

  /** Puts registers at `offset`. `kept`: a reset does not change them. */
  define(offset: number, image: ConfigImage, kept: boolean): void {
    const end = offset + image.bytes.length;
    assert(end <= this.sizeBytes, `config space: registers at 0x${offset.toString(16)} end beyond it`);
    const free = this.#defined.subarray(offset, end).every((byte) => byte === 0);
    assert(free, `config space: registers at 0x${offset.toString(16)} overlap others`);
    this.#defined.fill(1, offset, end);
    this.#bytes.set(image.bytes, offset);
    this.#powerOn.set(image.bytes, offset);
    this.#writable.set(image.writable, offset);
    this.#clearable.set(image.clearable, offset);
    if (kept) this.#kept.fill(1, offset, end);
  }

  /** Calls `run` once after each write access that touches [start, start + size). Hooks run by ascending start. */
  onWrite(start: number, size: number, run: () => void): void {
    this.#hooks.push({ start, end: start + size, run });
    this.#hooks.sort((a, b) => a.start - b.start);
  }

  /** Changes what a register holds after power-on, and now: for links that are known only when all is placed. */
  patch8(offset: number, value: number): void {
    this.#powerOn[offset] = value;
    this.#bytes[offset] = value;
  }

  /** As patch8, 4 bytes. */
  patch32(offset: number, value: number): void {
    for (let i = 0; i < 4; i++) this.patch8(offset + i, (value >>> (8 * i)) & 0xff);
  }

  get8(offset: number): number {
    return this.#view.getUint8(offset);
  }

  get16(offset: number): number {
    return this.#view.getUint16(offset, true);
  }

  get32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  /** The device's side: no mask applies, no hook runs. */
  set8(offset: number, value: number): void {
    this.#view.setUint8(offset, value);
  }

  set16(offset: number, value: number): void {
    this.#view.setUint16(offset, value, true);
  }

  set32(offset: number, value: number): void {
    this.#view.setUint32(offset, value, true);
  }

  /** A copy of all bytes as a client reads them. */
  dump(): Uint8Array {
    return this.#bytes.slice();
  }

  /**
   * Back to power-on values. What was defined as kept stays, but for the error bits that a written 1 clears. No hook
   * runs: the caller derives the state anew.
   */
  reset(): void {
    for (let i = 0; i < this.sizeBytes; i++) {
      this.#bytes[i] = this.#kept[i] === 1 ? this.#bytes[i]! & ~this.#clearable[i]! : this.#powerOn[i]!;
    }
  }

  /** Takes the values of `other`, which has the same registers. No hook runs: the caller derives the state anew. */
  takeOver(other: ConfigSpace): void {
    this.#bytes.set(other.#bytes);
  }

  /** Where software would see that `other` is another function: what it cannot write, and what it can. By offset. */
  differences(other: ConfigSpace): number[] {
    const found: number[] = [];
    for (let i = 0; i < Math.min(this.sizeBytes, other.sizeBytes); i++) {
      const writable = this.#writable[i] !== other.#writable[i] || this.#clearable[i] !== other.#clearable[i];
      const changing = this.#writable[i]! | this.#clearable[i]!;
      const fixed = ((this.#powerOn[i]! ^ other.#powerOn[i]!) & ~changing) !== 0;
      if (writable || fixed) found.push(i);
    }
    return found;
  }

  read(offset: number, count: number, view: DataView, at: number): number {
    if (count === 4) {
      view.setUint32(at, this.#view.getUint32(offset));
      return 0;
    }
    for (let i = 0; i < count; i++) view.setUint8(at + i, this.#bytes[offset + i]!);
    return 0;
  }

  write(offset: number, count: number, view: DataView, at: number): number {
    for (let i = 0; i < count; i++) {
      const data = view.getUint8(at + i);
      const writable = this.#writable[offset + i]!;
      const merged = (this.#bytes[offset + i]! & ~writable) | (data & writable);
      this.#bytes[offset + i] = merged & ~(data & this.#clearable[offset + i]!);
    }
    const end = offset + count;
    for (let i = 0; i < this.#hooks.length; i++) {
      const hook = this.#hooks[i]!;
      if (hook.start < end && hook.end > offset) hook.run();
    }
    return 0;
  }
}
