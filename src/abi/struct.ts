/*
 * C struct layouts as data. `struct()` turns a list of fields into offsets (`at`), a size and a codec. Hot paths
 * use a DataView with `view.getUint32(base + layout.at.field, true)`, which allocates nothing; `encode` and
 * `decode` are for messages that are rare.
 *
 * All numbers are little endian: the protocol says "host byte order", and so is every machine the addon is built for.
 */

/** Scalar types of C fields. */
export type FieldType = 'u8' | 'u16' | 'u32' | 's32' | 'u64';

/** Field names to types, in the order of the C declaration. */
export type Fields = Readonly<Record<string, FieldType>>;

/** A struct's layout as a C compiler for x86-64 or arm64 lays it out (natural alignment, padded at the end). */
export interface Struct<F extends Fields> {
  readonly name: string;
  /** `sizeof`, in bytes. */
  readonly size: number;
  readonly fields: F;
  /** `offsetof` each field, in bytes. */
  readonly at: { readonly [K in keyof F]: number };
  /** Writes all `size` bytes at `view[at]`: the given fields, and zero in the others and in padding. */
  encode(view: DataView, at: number, values: { readonly [K in keyof F]?: number }): void;
  /** Reads all fields from `view[at]`. A u64 above 2^53 comes out rounded; see `isExactU64`. */
  decode(view: DataView, at: number): { [K in keyof F]: number };
}

const TYPE_SIZE: Readonly<Record<FieldType, number>> = { u8: 1, u16: 2, u32: 4, s32: 4, u64: 8 };
const TWO_POW_32 = 0x100000000;

/** Reads a u64 as a number: exact up to 2^53, above it rounded to 53 significant bits (see `isExactU64`). */
export function readU64(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * TWO_POW_32 + view.getUint32(at, true);
}

/** Writes a non-negative integer below 2^64 as a u64. */
export function writeU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / TWO_POW_32), true);
}

/**
 * Whether the u64 at `view[at]` is read back by `readU64` without rounding: at most 53 significant bits. Alignment
 * must be checked on the low word, because rounding can make an odd value look aligned.
 */
export function isExactU64(view: DataView, at: number): boolean {
  const value = readU64(view, at);
  if (value <= Number.MAX_SAFE_INTEGER) return true;
  return (
    value < TWO_POW_32 * TWO_POW_32 &&
    value >>> 0 === view.getUint32(at, true) &&
    Math.floor(value / TWO_POW_32) === view.getUint32(at + 4, true)
  );
}

/** Lays `fields` out as C does and returns offsets, size and codec. */
export function struct<const F extends Fields>(name: string, fields: F): Struct<F> {
  const at: Record<string, number> = {};
  const names = Object.keys(fields);
  let end = 0;
  let alignment = 1;
  for (const field of names) {
    const size = TYPE_SIZE[fields[field]!];
    alignment = Math.max(alignment, size);
    at[field] = Math.ceil(end / size) * size;
    end = at[field] + size;
  }
  const size = Math.ceil(end / alignment) * alignment;
  return {
    name,
    size,
    fields,
    at: at as Struct<F>['at'],
    encode(view, base, values) {
      for (let i = 0; i < size; i++) view.setUint8(base + i, 0);
      for (const field of names) writeField(view, base + at[field]!, fields[field]!, values[field] ?? 0);
    },
    decode(view, base) {
      const values: Record<string, number> = {};
      for (const field of names) values[field] = readField(view, base + at[field]!, fields[field]!);
      return values as { [K in keyof F]: number };
    },
  };
}

function writeField(view: DataView, at: number, type: FieldType, value: number): void {
  switch (type) {
    case 'u8':
      view.setUint8(at, value);
      break;
    case 'u16':
      view.setUint16(at, value, true);
      break;
    case 'u32':
      view.setUint32(at, value, true);
      break;
    case 's32':
      view.setInt32(at, value, true);
      break;
    case 'u64':
      writeU64(view, at, value);
  }
}

function readField(view: DataView, at: number, type: FieldType): number {
  switch (type) {
    case 'u8':
      return view.getUint8(at);
    case 'u16':
      return view.getUint16(at, true);
    case 'u32':
      return view.getUint32(at, true);
    case 's32':
      return view.getInt32(at, true);
    case 'u64':
      return readU64(view, at);
  }
}
