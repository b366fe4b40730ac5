/*
 * Register tables: what a block of registers looks like, as data. A device declares each register once, with its
 * offset, width, access kind and reset value; the engine (registers.ts), the driver and the documentation use the
 * same table.
 *
 * This file has the types and the compiler that turns a table into typed arrays, so that an access costs an index
 * and no lookup by name. Mistakes in a table are the device author's: they throw, with the register's name.
 */
import { assert } from '../core/index.ts';

/**
 * What a client's access does to the stored value:
 * - `ro`: reads it; writes are ignored
 * - `rw`: reads it; a write replaces the bits of `mask`
 * - `w1c`: reads it; a 1 written to a bit of `mask` clears the bit
 * - `rc`: reads it and clears the bits of `mask` in the bytes that were read; writes are ignored
 * - `wo`: reads as 0; a write replaces the bits of `mask`
 * - `custom`: `read` and `write` do everything; the engine stores nothing by itself
 */
export type RegisterAccess = 'ro' | 'rw' | 'w1c' | 'rc' | 'wo' | 'custom';

/** Width of a register in bytes. */
export type RegisterWidth = 1 | 2 | 4 | 8;

/** Where a field lies: one bit, or the lowest and the highest bit, both included; at most 32 bits. */
export type FieldSpan = number | readonly [low: number, high: number];

/**
 * The code behind a register. An access calls each at most once, however wide it is.
 *
 * Values are plain numbers. That is exact for all widths up to 4, and for 8 as long as the value is below 2^53;
 * above, a handler that needs every bit uses `low` and `high` of the block. A `read` handler may return a bigint for
 * a register of 8 bytes. The access does not wait for a promise: a client such as QEMU serves no DMA message before
 * it has the reply.
 */
export interface RegisterHandlers {
  /** Gives the value that is read instead of the stored one. `element` counts within an array of registers. */
  read?(element: number): number | bigint;
  /**
   * Called after a write, when the register holds `value`; it held `previous` before. Of a `custom` register `value`
   * is what was written, the bytes that were not written coming from the stored value.
   */
  write?(value: number, previous: number, element: number): void;
}

/** One register, or an array of like registers when `count` is given. */
export interface RegisterDefinition extends RegisterHandlers {
  /** Bytes from the start of the block. Any alignment. */
  readonly offset: number;
  readonly width: RegisterWidth;
  readonly access: RegisterAccess;
  /** Value after a reset. Default 0. */
  readonly reset?: number | bigint;
  /** Bits that a client's write (`rc`: read) can change. Default: all. */
  readonly mask?: number | bigint;
  /** Makes this an array of `count` registers, `stride` bytes apart (default: `width`). */
  readonly count?: number;
  readonly stride?: number;
  readonly fields?: Readonly<Record<string, FieldSpan>>;
  readonly description?: string;
}

/** Registers by their datasheet names: upper case letters, digits and underscores. */
export type RegisterTable = Readonly<Record<string, RegisterDefinition>>;

/** Numbers that stand for the access kinds in the compiled table. */
export const KIND = { ro: 0, rw: 1, w1c: 2, rc: 3, wo: 4, custom: 5 } as const;

/** Registers a block can have, arrays counted by element: slots are kept in an Int16Array. */
export const REGISTER_LIMIT: number = 32_767;

/**
 * Blocks up to this size find a register through an array with one entry a byte (128 KiB of memory at the most);
 * larger ones by binary search.
 */
export const DIRECT_LOOKUP_LIMIT: number = 65_536;

/** Highest end of a block: offsets are kept in 32 bits. */
const EXTENT_LIMIT = 2 ** 31;

const NAME = /^[A-Z][A-Z0-9_]*$/;

/**
 * A table as the engine uses it. A slot is one register (or one element of an array); slots are in ascending order
 * of offset. 8-byte values are kept as two halves of 32 bits.
 */
export class CompiledTable {
  readonly names: readonly string[];
  readonly definitions: readonly RegisterDefinition[];
  /** Slot of the register with this number (the place of its name in `names`); of an array, its first element's. */
  readonly firstSlot: Int16Array;
  /** By slot. */
  readonly offset: Int32Array;
  readonly width: Uint8Array;
  readonly kind: Uint8Array;
  readonly register: Int16Array;
  readonly element: Int16Array;
  readonly resetLow: Uint32Array;
  readonly resetHigh: Uint32Array;
  readonly maskLow: Uint32Array;
  readonly maskHigh: Uint32Array;
  /** End of the last register in bytes. */
  readonly extent: number;
  /** Slot by byte, -1 where there is no register; null for blocks above DIRECT_LOOKUP_LIMIT. */
  readonly slotByByte: Int16Array | null;

  constructor(table: RegisterTable) {
    this.names = Object.keys(table);
    this.definitions = this.names.map((name) => checked(name, table[name]!));
    const registers = this.definitions.length;
    this.firstSlot = new Int16Array(registers);
    const places = placesOf(this.names, this.definitions);
    this.offset = new Int32Array(places.length);
    this.width = new Uint8Array(places.length);
    this.kind = new Uint8Array(places.length);
    this.register = new Int16Array(places.length);
    this.element = new Int16Array(places.length);
    this.resetLow = new Uint32Array(places.length);
    this.resetHigh = new Uint32Array(places.length);
    this.maskLow = new Uint32Array(places.length);
    this.maskHigh = new Uint32Array(places.length);
    places.forEach((place, slot) => {
      this.#fill(slot, place);
    });
    const last = places.length - 1;
    this.extent = last < 0 ? 0 : this.offset[last]! + this.width[last]!;
    this.slotByByte = this.extent <= DIRECT_LOOKUP_LIMIT ? byteIndex(this) : null;
  }

  /** The slot of the register that holds this byte, or -1. */
  slotAt(offset: number): number {
    const slots = this.slotByByte;
    if (slots !== null) return offset < slots.length ? slots[offset]! : -1;
    let low = 0;
    let high = this.offset.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if (this.offset[middle]! > offset) high = middle - 1;
      else if (this.offset[middle]! + this.width[middle]! <= offset) low = middle + 1;
      else return middle;
    }
    return -1;
  }

  #fill(slot: number, place: Place): void {
    const definition = this.definitions[place.register]!;
    const all = allOnes(definition.width);
    this.offset[slot] = place.offset;
    this.width[slot] = definition.width;
    this.kind[slot] = KIND[definition.access];
    this.register[slot] = place.register;
    this.element[slot] = place.element;
    this.resetLow[slot] = lowHalf(definition.reset ?? 0);
    this.resetHigh[slot] = highHalf(definition.reset ?? 0);
    this.maskLow[slot] = lowHalf(definition.mask ?? all);
    this.maskHigh[slot] = highHalf(definition.mask ?? all);
    if (place.element === 0) this.firstSlot[place.register] = slot;
  }
}

interface Place {
  readonly offset: number;
  readonly register: number;
  readonly element: number;
}

/** Lower 32 bits of a value, as an unsigned number. */
export function lowHalf(value: number | bigint): number {
  return typeof value === 'number' ? value >>> 0 : Number(value & 0xffff_ffffn);
}

/** Bits 32 to 63 of a value, as an unsigned number. */
export function highHalf(value: number | bigint): number {
  if (typeof value === 'number') return Math.floor(value / 2 ** 32) >>> 0;
  return Number((value >> 32n) & 0xffff_ffffn);
}

/** Splits a span into its lowest bit and its number of bits. */
export function fieldBits(span: FieldSpan): { shift: number; bits: number } {
  if (typeof span === 'number') return { shift: span, bits: 1 };
  return { shift: span[0], bits: span[1] - span[0] + 1 };
}

function allOnes(width: RegisterWidth): bigint {
  return (1n << BigInt(8 * width)) - 1n;
}

function checked(name: string, definition: RegisterDefinition): RegisterDefinition {
  const { offset, width, access, count, stride } = definition;
  const at = `register ${name}`;
  assert(NAME.test(name), `${at}: names are upper case (A-Z, 0-9, _), as in a datasheet`);
  assert(Number.isInteger(offset) && offset >= 0, `${at}: offset ${offset} is not a whole number of bytes`);
  assert([1, 2, 4, 8].includes(width), `${at}: width ${width}; use 1, 2, 4 or 8 bytes`);
  assert(access in KIND, `${at}: unknown access '${access}'`);
  assert(
    count === undefined || (Number.isInteger(count) && count > 0),
    `${at}: count ${count} is not positive`,
  );
  assert(
    stride === undefined || (Number.isInteger(stride) && stride >= width),
    `${at}: stride ${stride} is less than the width ${width}`,
  );
  assert(count !== undefined || stride === undefined, `${at}: a stride needs a count`);
  checkValue(at, 'reset', width, definition.reset);
  checkValue(at, 'mask', width, definition.mask);
  checkFields(at, definition);
  checkHandlers(at, access, definition);
  return definition;
}

/** Throws when a handler makes no sense for the access kind; also for handlers that are added to a table later. */
export function checkHandlers(at: string, access: RegisterAccess, handlers: RegisterHandlers): void {
  const canWrite = access === 'rw' || access === 'w1c' || access === 'wo' || access === 'custom';
  assert(handlers.write === undefined || canWrite, `${at}: '${access}' never calls write; use 'custom'`);
  const canRead = access !== 'wo' && access !== 'rc';
  assert(handlers.read === undefined || canRead, `${at}: '${access}' never calls read; use 'custom'`);
}

function checkValue(
  at: string,
  what: string,
  width: RegisterWidth,
  value: number | bigint | undefined,
): void {
  if (value === undefined) return;
  const whole = typeof value === 'bigint' || Number.isSafeInteger(value);
  assert(whole, `${at}: ${what} ${value} is not an exact whole number; above 2^53 write it as a bigint`);
  const big = BigInt(value);
  assert(big >= 0n && big <= allOnes(width), `${at}: ${what} ${value} does not fit ${width} byte(s)`);
}

function checkFields(at: string, definition: RegisterDefinition): void {
  let taken = 0n;
  for (const [name, span] of Object.entries(definition.fields ?? {})) {
    const { shift, bits } = fieldBits(span);
    const fits = Number.isInteger(shift) && Number.isInteger(bits) && shift >= 0 && bits >= 1 && bits <= 32;
    assert(fits && shift + bits <= 8 * definition.width, `${at}: field ${name} does not lie in the register`);
    const mask = ((1n << BigInt(bits)) - 1n) << BigInt(shift);
    assert((taken & mask) === 0n, `${at}: field ${name} overlaps another field`);
    taken |= mask;
  }
}

function placesOf(names: readonly string[], definitions: readonly RegisterDefinition[]): Place[] {
  const places: Place[] = [];
  definitions.forEach((definition, register) => {
    const count = definition.count ?? 1;
    assert(
      places.length + count <= REGISTER_LIMIT,
      `register ${names[register]}: a block has at most ${REGISTER_LIMIT} registers`,
    );
    for (let element = 0; element < count; element++) {
      places.push({
        offset: definition.offset + element * (definition.stride ?? definition.width),
        register,
        element,
      });
    }
  });
  places.sort((a, b) => a.offset - b.offset);
  checkOverlaps(names, definitions, places);
  return places;
}

function checkOverlaps(
  names: readonly string[],
  definitions: readonly RegisterDefinition[],
  places: readonly Place[],
): void {
  let end = 0;
  let owner = '';
  for (const place of places) {
    const name = names[place.register]!;
    assert(
      place.offset >= end,
      `registers ${owner} and ${name} overlap at offset 0x${place.offset.toString(16)}`,
    );
    end = place.offset + definitions[place.register]!.width;
    assert(end <= EXTENT_LIMIT, `register ${name} ends above 2 GiB; split the block`);
    owner = name;
  }
}

function byteIndex(table: CompiledTable): Int16Array {
  const index = new Int16Array(table.extent).fill(-1);
  table.offset.forEach((offset, slot) => {
    index.fill(slot, offset, offset + table.width[slot]!);
  });
  return index;
}
