/*
 * Registers as the guest sees them, by name from the author's own table: each read and write is one access of the
 * register's width through the BAR, so handlers run, write-only registers read as 0, and a read clears where it does.
 */
import { CompiledTable, fieldBits } from '../bus/register-table.ts';
import type { FieldName, RegisterDefinition, RegisterTable } from '../bus/registers.ts';
import type { DeviceHandle } from '../client/index.ts';
import { assert } from '../core/index.ts';

/** Some fields of a register; `never` for a register without fields. */
export type FieldValues<D> = D extends { readonly fields: infer F }
  ? { readonly [Name in keyof F]?: number }
  : never;

/** An array of like registers. */
export interface GuestRegisterArray<D extends RegisterDefinition> {
  readonly length: number;
  at(element: number): GuestRegister<D>;
}

/** The registers of a table by name. */
export type GuestRegisters<T extends RegisterTable> = {
  readonly [Name in keyof T]: T[Name] extends { readonly count: number }
    ? GuestRegisterArray<T[Name]>
    : GuestRegister<T[Name]>;
};

/** Where registers are. The handle may change: a client leaves and another one comes. */
export interface RegisterPlace {
  readonly handle: () => DeviceHandle;
  readonly bar: number;
  /** Bytes of the BAR. */
  readonly sizeBytes: number;
  /** Of the table in the BAR. */
  readonly offset: number;
}

/** One register. Whatever the BAR answers with an error (EIO while it is not decoded) rejects with a VfioError. */
export class GuestRegister<D extends RegisterDefinition> {
  readonly name: string;
  /** In the BAR. */
  readonly offset: number;
  readonly definition: D;
  readonly #place: RegisterPlace;

  /** @internal */
  constructor(name: string, offset: number, definition: D, place: RegisterPlace) {
    this.name = name;
    this.offset = offset;
    this.definition = definition;
    this.#place = place;
  }

  /** The value as a number, whatever the width. Rejects rather than rounds above 2^53: see `readBig`. */
  async read(): Promise<number> {
    const value = await this.readBig();
    const exact = value <= BigInt(Number.MAX_SAFE_INTEGER);
    assert(exact, `${this.name} reads 0x${value.toString(16)}, which no number holds exactly; use readBig()`);
    return Number(value);
  }

  /** The value as a bigint, exact for 8 bytes too. */
  async readBig(): Promise<bigint> {
    const { width } = this.definition;
    const { bar, handle } = this.#place;
    if (width === 8) return handle().readRegister(bar, this.offset, width);
    return BigInt(await handle().readRegister(bar, this.offset, width));
  }

  /** All fields, from one read. */
  async fields(): Promise<{ [Name in FieldName<D>]: number }> {
    const value = await this.readBig();
    const entries = Object.entries(this.definition.fields ?? {}).map(([name, span]) => {
      const { shift, bits } = fieldBits(span);
      return [name, Number((value >> BigInt(shift)) & ((1n << BigInt(bits)) - 1n))];
    });
    return Object.fromEntries(entries) as { [Name in FieldName<D>]: number };
  }

  /** Writes a value, or fields: those that are not named are 0, which is what w1c registers need. */
  async write(value: number | bigint | FieldValues<D>): Promise<void> {
    const whole = typeof value === 'object' ? this.#withFields(0n, value) : this.#checked(value);
    const { bar, handle } = this.#place;
    await handle().writeRegister(bar, this.offset, this.definition.width, whole);
  }

  /** Reads, replaces the named fields and writes back: two accesses, as drivers do it. */
  async modify(fields: FieldValues<D>): Promise<void> {
    await this.write(this.#withFields(await this.readBig(), fields));
  }

  #checked(value: number | bigint): bigint {
    const { width } = this.definition;
    const whole = typeof value === 'bigint' || Number.isSafeInteger(value);
    const fits = whole && BigInt(value) >= 0n && BigInt(value) < 1n << BigInt(8 * width);
    assert(
      fits,
      `${value} is no unsigned number of ${width} byte(s), which ${this.name} has; write what a guest can`,
    );
    return BigInt(value);
  }

  #withFields(value: bigint, fields: object): bigint {
    let result = value;
    for (const [name, field] of Object.entries(fields) as [string, number][]) {
      const span = this.definition.fields?.[name];
      assert(span !== undefined, `${this.name} has no field ${name}`);
      const { shift, bits } = fieldBits(span);
      const fits = Number.isInteger(field) && field >= 0 && field < 2 ** bits;
      assert(fits, `${field} does not fit field ${name} of ${this.name}, which has ${bits} bit(s)`);
      const mask = ((1n << BigInt(bits)) - 1n) << BigInt(shift);
      result = (result & ~mask) | (BigInt(field) << BigInt(shift));
    }
    return result;
  }
}

/** Throws when the table does not lie in the BAR: that is not the table of this BAR. */
export function guestRegisters<T extends RegisterTable>(table: T, place: RegisterPlace): GuestRegisters<T> {
  const end = place.offset + new CompiledTable(table).extent;
  assert(
    end <= place.sizeBytes,
    `the table ends at ${end}, beyond BAR${place.bar}, which has ${place.sizeBytes} bytes; is it the table of this BAR?`,
  );
  const made = Object.entries(table).map(([name, definition]) => [name, registerOf(name, definition, place)]);
  return Object.fromEntries(made) as GuestRegisters<T>;
}

function registerOf(
  name: string,
  definition: RegisterDefinition,
  place: RegisterPlace,
): GuestRegister<RegisterDefinition> | GuestRegisterArray<RegisterDefinition> {
  const { count, width, stride = width } = definition;
  const start = place.offset + definition.offset;
  if (count === undefined) return new GuestRegister(name, start, definition, place);
  return {
    length: count,
    at: (element) => {
      const inside = Number.isInteger(element) && element >= 0 && element < count;
      assert(inside, `${name} has ${count} elements; there is no ${element}`);
      return new GuestRegister(`${name}[${element}]`, start + element * stride, definition, place);
    },
  };
}
