/*
 * Named bit fields of registers: the same declaration serves the device, the driver and the register dump.
 * Fields may lie anywhere in a register of up to 64 bits, so the arithmetic works on 32-bit halves.
 */
import { assert } from '../core/index.ts';
import { type FieldSpan, fieldBits, highHalf, lowHalf, type RegisterDefinition } from './register-table.ts';

/** The names of a register's fields, from its literal. */
export type FieldName<D> = D extends { readonly fields: infer F } ? keyof F & string : never;

/** The span of a field. Throws when the register has no such field, which only an untyped caller can bring about. */
export function spanOf(definition: RegisterDefinition, field: string): FieldSpan {
  const span = definition.fields?.[field];
  assert(
    span !== undefined,
    `there is no field ${field} in the register at 0x${definition.offset.toString(16)}`,
  );
  return span;
}

/** The bits of `span` in a value given as halves. */
export function extract(low: number, high: number, span: FieldSpan): number {
  const { shift, bits } = fieldBits(span);
  const mask = bits === 32 ? 0xffff_ffff : 2 ** bits - 1;
  if (shift >= 32) return ((high >>> (shift - 32)) & mask) >>> 0;
  const fromLow = low >>> shift;
  const fromHigh = shift === 0 ? 0 : high << (32 - shift);
  return ((fromLow | fromHigh) & mask) >>> 0;
}

/** Which bits of the lower or upper half a field has, and its value moved there. Both halves are unsigned. */
export function spread(
  value: number,
  span: FieldSpan,
): { maskLow: number; maskHigh: number; low: number; high: number } {
  const { shift, bits } = fieldBits(span);
  const mask = (1n << BigInt(bits)) - 1n;
  const moved = (BigInt(value >>> 0) & mask) << BigInt(shift);
  const place = mask << BigInt(shift);
  return { maskLow: lowHalf(place), maskHigh: highHalf(place), low: lowHalf(moved), high: highHalf(moved) };
}

/**
 * The field's value within a register's value; for handlers and drivers, which hold the value already:
 * `fieldOf(REGISTERS.CONTROL, 'MODE', value)`.
 */
export function fieldOf<D extends RegisterDefinition>(
  definition: D,
  field: FieldName<D>,
  value: number,
): number {
  return extract(lowHalf(value), highHalf(value), spanOf(definition, field));
}

/** `value` with one field replaced. Bits of `fieldValue` beyond the field are dropped. */
export function withField<D extends RegisterDefinition>(
  definition: D,
  field: FieldName<D>,
  value: number,
  fieldValue: number,
): number {
  const { maskLow, maskHigh, low, high } = spread(fieldValue, spanOf(definition, field));
  const newLow = ((lowHalf(value) & ~maskLow) | low) >>> 0;
  const newHigh = ((highHalf(value) & ~maskHigh) | high) >>> 0;
  return newHigh * 2 ** 32 + newLow;
}
