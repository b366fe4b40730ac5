/*
 * The register engine: a region handler made from a register table. It deals once for all devices with what an
 * access can be (narrow, wide, unaligned, across several registers and gaps, 64 bits in two halves), so that a
 * device says only what its registers mean.
 *
 * Rules of an access:
 * - registers are touched in ascending order, each at most once, so a side effect happens at most once;
 * - bytes of a register that an access does not write keep their value;
 * - bytes without a register read as ones (option `unknown`), writes to them are dropped, and `onIncident` is told;
 * - a guest cannot make an access fail: read and write always return 0.
 *
 * The path of an access allocates nothing. 8-byte registers are two 32-bit halves inside; BigInt appears only when a
 * `read` handler returns one.
 */
import type { RegionHandler } from '../core/index.ts';
import { cut, highByteMask, lowByteMask, written } from './register-bits.ts';
import { extract, type FieldName, spanOf, spread } from './register-fields.ts';
import {
  CompiledTable,
  checkHandlers,
  highHalf,
  KIND,
  lowHalf,
  type RegisterHandlers,
  type RegisterTable,
} from './register-table.ts';

/** What an access did that a correct driver does not do. */
export type RegisterIncident =
  | 'unknown register read'
  | 'unknown register write'
  | 'access size not supported';

export interface RegisterOptions<T extends RegisterTable> {
  /** Handlers for a table that is shared data; they go before handlers in the table itself. */
  readonly handlers?: { readonly [Name in keyof T]?: RegisterHandlers };
  /** What bytes without a register read as. Default 'ones', as on a PCI bus. */
  readonly unknown?: 'ones' | 'zeros';
  /**
   * Access sizes in bytes that the block supports; others, and accesses that are not naturally aligned, read as
   * `unknown` and write nothing. Default: every size and alignment.
   */
  readonly widths?: readonly number[];
  /** Told of each access to bytes without a register and of each unsupported size. For diagnostics only. */
  readonly onIncident?: (incident: RegisterIncident, offset: number, count: number) => void;
}

/** The registers of an array, by element. */
export interface RegisterArray {
  readonly length: number;
  /** The stored value. */
  get(element: number): number;
  /** Sets the stored value; no handler runs. */
  set(element: number, value: number): void;
}

/** One register as it is now, for dumps and inspection. */
export interface RegisterDescription {
  readonly name: string;
  readonly offset: number;
  readonly width: number;
  readonly access: string;
  /** Stored value; no handler was run to get it. */
  readonly value: bigint;
  readonly fields: Readonly<Record<string, number>>;
  readonly description: string;
}

type ReadHandler = (element: number) => number | bigint;
type WriteHandler = (value: number, previous: number, element: number) => void;

/** The engine behind `registers`. */
export class RegisterBlock<T extends RegisterTable = RegisterTable> implements RegionHandler {
  readonly table: T;
  /** As the option of that name. May be replaced, by a test for instance. */
  onIncident: ((incident: RegisterIncident, offset: number, count: number) => void) | null;
  readonly #compiled: CompiledTable;
  readonly #low: Uint32Array;
  readonly #high: Uint32Array;
  /** By slot. */
  readonly #reads: (ReadHandler | null)[];
  readonly #writes: (WriteHandler | null)[];
  /** Low and high half of the value being read: a place to return two numbers without an object. */
  readonly #value: Uint32Array = new Uint32Array(2);
  readonly #arrays: RegisterArray[] = [];
  readonly #filler: number;
  /** Bit n set: accesses of n bytes are supported; 0: all are. */
  readonly #widths: number;

  constructor(table: T, options: RegisterOptions<T> = {}) {
    this.table = table;
    this.#compiled = compiled(table);
    const { definitions, names, register } = this.#compiled;
    const handlers = definitions.map((definition, index) => {
      const own = options.handlers?.[names[index]!] ?? {};
      checkHandlers(`register ${names[index]}`, definition.access, own);
      return { read: own.read ?? definition.read ?? null, write: own.write ?? definition.write ?? null };
    });
    this.#reads = Array.from(register, (index) => handlers[index]!.read);
    this.#writes = Array.from(register, (index) => handlers[index]!.write);
    this.#low = new Uint32Array(register.length);
    this.#high = new Uint32Array(register.length);
    this.#filler = options.unknown === 'zeros' ? 0 : 0xff;
    this.#widths = (options.widths ?? []).reduce((bits, width) => bits | (1 << width), 0);
    this.onIncident = options.onIncident ?? null;
    this.reset();
  }

  /** End of the last register in bytes; a region for this block is at least that large. */
  get sizeBytes(): number {
    return this.#compiled.extent;
  }

  /** Gives all registers their reset values. No handler runs. */
  reset(): void {
    this.#low.set(this.#compiled.resetLow);
    this.#high.set(this.#compiled.resetHigh);
  }

  /** A client's read: fills view[at..at+count). Always 0: a guest's mistake is a bus value. */
  read(offset: number, count: number, view: DataView, at: number): number {
    if (!this.#supported(offset, count)) {
      this.#fill(view, at, count);
      this.#report('access size not supported', offset, count);
      return 0;
    }
    const slot = this.#compiled.slotAt(offset);
    if (slot >= 0 && this.#whole(slot, offset, count)) {
      this.#load(slot);
      if (this.#compiled.kind[slot] === KIND.rc) this.#clearRead(slot, 0, count);
      this.#put(view, at, count);
      return 0;
    }
    this.#readParts(offset, offset + count, view, at);
    return 0;
  }

  /** A client's write of view[at..at+count). Always 0. */
  write(offset: number, count: number, view: DataView, at: number): number {
    if (!this.#supported(offset, count)) {
      this.#report('access size not supported', offset, count);
      return 0;
    }
    const slot = this.#compiled.slotAt(offset);
    if (slot >= 0 && this.#whole(slot, offset, count)) {
      this.#take(view, at, 0, count);
      this.#store(slot, 0, count);
      return 0;
    }
    this.#writeParts(offset, offset + count, view, at);
    return 0;
  }

  /** The value of a field, from the stored value. */
  get<Name extends keyof T & string>(name: Name, field: FieldName<T[Name]>): number {
    const slot = this.#slotOf(name);
    return extract(this.#low[slot]!, this.#high[slot]!, spanOf(this.table[name]!, field));
  }

  /** Sets a field of the stored value; bits beyond the field are dropped. No handler runs. */
  set<Name extends keyof T & string>(name: Name, field: FieldName<T[Name]>, value: number): void {
    const slot = this.#slotOf(name);
    const { maskLow, maskHigh, low, high } = spread(value, spanOf(this.table[name]!, field));
    this.#low[slot] = (this.#low[slot]! & ~maskLow) | low;
    this.#high[slot] = (this.#high[slot]! & ~maskHigh) | high;
  }

  /** Bits 0 to 31 of the stored value, exact. */
  low(name: keyof T & string, element: number = 0): number {
    return this.#low[this.#slotOf(name, element)]!;
  }

  /** Bits 32 to 63 of the stored value, exact; 0 for narrower registers. */
  high(name: keyof T & string, element: number = 0): number {
    return this.#high[this.#slotOf(name, element)]!;
  }

  /** Sets an 8-byte value exactly. */
  setHalves(name: keyof T & string, low: number, high: number, element: number = 0): void {
    const slot = this.#slotOf(name, element);
    this.#low[slot] = cut(low, this.#compiled.width[slot]!);
    this.#high[slot] = this.#compiled.width[slot] === 8 ? high : 0;
  }

  /** All registers as they are now, in the order of their offsets. Runs no handler. */
  describe(): RegisterDescription[] {
    const { names, definitions, register, offset, width, element } = this.#compiled;
    return Array.from(register, (index, slot) => {
      const definition = definitions[index]!;
      const low = this.#low[slot]!;
      const high = this.#high[slot]!;
      const fields = Object.entries(definition.fields ?? {}).map(([name, span]) => [
        name,
        extract(low, high, span),
      ]);
      return {
        name: definition.count === undefined ? names[index]! : `${names[index]}[${element[slot]}]`,
        offset: offset[slot]!,
        width: width[slot]!,
        access: definition.access,
        value: (BigInt(high) << 32n) | BigInt(low),
        fields: Object.fromEntries(fields),
        description: definition.description ?? '',
      };
    });
  }

  /**
   * Takes the stored values of `other`, an older version of this block perhaps, by the names of the registers; those that
   * it does not have keep theirs. No handler runs.
   */
  copyValues(other: RegisterBlock): void {
    const { names, definitions } = this.#compiled;
    for (const [register, name] of names.entries()) {
      const before = other.#compiled.names.indexOf(name);
      if (before < 0) continue;
      const count = definitions[register]!.count ?? 1;
      const known = Math.min(count, other.#compiled.definitions[before]!.count ?? 1);
      for (let element = 0; element < known; element++) {
        const slot = other.#elementSlot(before, element);
        this.setHalves(name, other.#low[slot]!, other.#high[slot]!, element);
      }
    }
  }

  /** The name of a register with a byte in [offset, offset + size), or null. */
  nameIn(offset: number, size: number): string | null {
    const { offset: starts, width, register, names } = this.#compiled;
    const slot = starts.findIndex((start, index) => start < offset + size && start + width[index]! > offset);
    return slot < 0 ? null : names[register[slot]!]!;
  }

  /** @internal The value of an element, for the properties that `registers` makes. */
  valueAt(register: number, element: number): number {
    const slot = this.#elementSlot(register, element);
    return this.#high[slot]! * 2 ** 32 + this.#low[slot]!;
  }

  /** @internal */
  setValueAt(register: number, element: number, value: number): void {
    const slot = this.#elementSlot(register, element);
    const width = this.#compiled.width[slot]!;
    this.#low[slot] = cut(value, width);
    if (width === 8) this.#high[slot] = highHalf(value);
  }

  /** @internal The array's accessor, the same object each time. */
  arrayOf(register: number): RegisterArray {
    const known = this.#arrays[register];
    if (known !== undefined) return known;
    const made: RegisterArray = {
      length: this.#compiled.definitions[register]!.count ?? 1,
      get: (element) => this.valueAt(register, element),
      set: (element, value) => this.setValueAt(register, element, value),
    };
    this.#arrays[register] = made;
    return made;
  }

  #slotOf(name: string, element: number = 0): number {
    const register = this.#compiled.names.indexOf(name);
    if (register < 0) throw new Error(`vfio: there is no register ${name} in this block`);
    return this.#elementSlot(register, element);
  }

  #elementSlot(register: number, element: number): number {
    if (element === 0) return this.#compiled.firstSlot[register]!;
    const definition = this.#compiled.definitions[register]!;
    if (!(element > 0 && element < (definition.count ?? 1))) {
      throw new Error(`vfio: register ${this.#compiled.names[register]} has no element ${element}`);
    }
    return this.#compiled.slotAt(definition.offset + element * (definition.stride ?? definition.width));
  }

  #supported(offset: number, count: number): boolean {
    if (this.#widths === 0) return true;
    return count < 32 && (this.#widths & (1 << count)) !== 0 && offset % count === 0;
  }

  #whole(slot: number, offset: number, count: number): boolean {
    return this.#compiled.offset[slot] === offset && this.#compiled.width[slot] === count;
  }

  #readParts(offset: number, end: number, view: DataView, at: number): void {
    let position = offset;
    let unknown = false;
    while (position < end) {
      const slot = this.#compiled.slotAt(position);
      if (slot < 0) {
        unknown = true;
        view.setUint8(at + position - offset, this.#filler);
        position++;
        continue;
      }
      const start = this.#compiled.offset[slot]!;
      const from = position - start;
      const to = Math.min(this.#compiled.width[slot]!, end - start);
      this.#load(slot);
      const low = this.#value[0]!;
      const high = this.#value[1]!;
      if (this.#compiled.kind[slot] === KIND.rc) this.#clearRead(slot, from, to);
      for (let byte = from; byte < to; byte++) {
        const value = byte < 4 ? low >>> (8 * byte) : high >>> (8 * (byte - 4));
        view.setUint8(at + start + byte - offset, value & 0xff);
      }
      position = start + to;
    }
    if (unknown) this.#report('unknown register read', offset, end - offset);
  }

  #writeParts(offset: number, end: number, view: DataView, at: number): void {
    let position = offset;
    let unknown = false;
    while (position < end) {
      const slot = this.#compiled.slotAt(position);
      if (slot < 0) {
        unknown = true;
        position++;
        continue;
      }
      const start = this.#compiled.offset[slot]!;
      const from = position - start;
      const to = Math.min(this.#compiled.width[slot]!, end - start);
      this.#take(view, at + position - offset, from, to);
      this.#store(slot, from, to);
      position = start + to;
    }
    if (unknown) this.#report('unknown register write', offset, end - offset);
  }

  /** Puts what a client reads from a register into `#value`. */
  #load(slot: number): void {
    const handler = this.#reads[slot]!;
    if (handler !== null) {
      const value = handler(this.#compiled.element[slot]!);
      this.#value[0] = cut(lowHalf(value), this.#compiled.width[slot]!);
      this.#value[1] = this.#compiled.width[slot] === 8 ? highHalf(value) : 0;
    } else if (this.#compiled.kind[slot] === KIND.wo) {
      this.#value.fill(0);
    } else {
      this.#value[0] = this.#low[slot]!;
      this.#value[1] = this.#high[slot]!;
    }
  }

  #clearRead(slot: number, from: number, to: number): void {
    this.#low[slot] = this.#low[slot]! & ~(this.#compiled.maskLow[slot]! & lowByteMask(from, to));
    this.#high[slot] = this.#high[slot]! & ~(this.#compiled.maskHigh[slot]! & highByteMask(from, to));
  }

  #put(view: DataView, at: number, count: number): void {
    if (count === 4) {
      view.setUint32(at, this.#value[0]!, true);
    } else if (count === 8) {
      view.setUint32(at, this.#value[0]!, true);
      view.setUint32(at + 4, this.#value[1]!, true);
    } else if (count === 2) {
      view.setUint16(at, this.#value[0]!, true);
    } else {
      view.setUint8(at, this.#value[0]!);
    }
  }

  /** Takes bytes [from, to) of a register from the view into their places in `#value`. */
  #take(view: DataView, at: number, from: number, to: number): void {
    if (from === 0 && to === 4) {
      this.#value[0] = view.getUint32(at, true);
      return;
    }
    let low = 0;
    let high = 0;
    for (let byte = from; byte < to; byte++) {
      const value = view.getUint8(at + byte - from);
      if (byte < 4) low |= value << (8 * byte);
      else high |= value << (8 * (byte - 4));
    }
    this.#value[0] = low;
    this.#value[1] = high;
  }

  /** A client's write of bytes [from, to), whose data lie in `#value`. */
  #store(slot: number, from: number, to: number): void {
    const kind = this.#compiled.kind[slot]!;
    if (kind === KIND.ro || kind === KIND.rc) return;
    const clears = kind === KIND.w1c;
    const maskLow = this.#compiled.maskLow[slot]! & lowByteMask(from, to);
    const oldLow = this.#low[slot]!;
    const newLow = written(oldLow, this.#value[0]!, maskLow, clears);
    const oldHigh = this.#high[slot]!;
    let newHigh = 0;
    if (this.#compiled.width[slot] === 8) {
      const maskHigh = this.#compiled.maskHigh[slot]! & highByteMask(from, to);
      newHigh = written(oldHigh, this.#value[1]!, maskHigh, clears);
    }
    if (kind !== KIND.custom) {
      this.#low[slot] = newLow;
      this.#high[slot] = newHigh;
    }
    const handler = this.#writes[slot]!;
    if (handler === null) return;
    handler(newHigh * 2 ** 32 + newLow, oldHigh * 2 ** 32 + oldLow, this.#compiled.element[slot]!);
  }

  #fill(view: DataView, at: number, count: number): void {
    for (let index = at; index < at + count; index++) view.setUint8(index, this.#filler);
  }

  #report(incident: RegisterIncident, offset: number, count: number): void {
    if (this.onIncident !== null) this.onIncident(incident, offset, count);
  }
}

/** Tables are compiled once, however many devices use them. */
const compiledTables = new WeakMap<RegisterTable, CompiledTable>();

/** The compiled form of a table. */
export function compiled(table: RegisterTable): CompiledTable {
  let result = compiledTables.get(table);
  if (result === undefined) {
    result = new CompiledTable(table);
    compiledTables.set(table, result);
  }
  return result;
}
