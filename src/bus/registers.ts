/*
 * Registers as a device author sees them: a table literal becomes a block whose stored values are typed properties.
 * The engine that serves a client's accesses is in register-block.ts, the table's rules in register-table.ts.
 */
import { compiled, type RegisterArray, RegisterBlock, type RegisterOptions } from './register-block.ts';
import type { RegisterDefinition, RegisterTable } from './register-table.ts';

export {
  type RegisterArray,
  RegisterBlock,
  type RegisterDescription,
  type RegisterIncident,
  type RegisterOptions,
} from './register-block.ts';
export { type FieldName, fieldOf, withField } from './register-fields.ts';
export type {
  FieldSpan,
  RegisterAccess,
  RegisterDefinition,
  RegisterHandlers,
  RegisterTable,
  RegisterWidth,
} from './register-table.ts';

/**
 * The stored values by name. Reading and setting run no handler and ignore access kind and mask: this is the
 * device's side. A set value is cut to the register's width, as in hardware, so `regs.COUNT += 1` wraps. A value of
 * 8 bytes is exact up to 2^53; see `low`, `high` and `setHalves`.
 */
export type RegisterValues<T extends RegisterTable> = {
  -readonly [Name in keyof T]: T[Name] extends { readonly count: number } ? RegisterArray : number;
};

/** A register block with its values as properties: `regs.STATUS |= 1`. */
export type Registers<T extends RegisterTable> = RegisterBlock<T> & RegisterValues<T>;

/**
 * Makes a register block.
 *
 * @example
 * const regs = registers({
 *   STATUS: { offset: 0x0, width: 4, access: 'w1c', mask: 0x3 },
 *   COMMAND: { offset: 0x4, width: 2, access: 'wo', write: (value) => start(value) },
 * });
 * regs.STATUS |= 1;
 */
export function registers<const T extends RegisterTable>(
  table: T,
  options: RegisterOptions<NoInfer<T>> = {},
): Registers<T> {
  return new (blockClass(table))(table, options) as Registers<T>;
}

type BlockClass = new (table: RegisterTable, options: RegisterOptions<RegisterTable>) => RegisterBlock;

const blockClasses = new WeakMap<RegisterTable, BlockClass>();

/** A subclass whose prototype has the properties: blocks of one table share it and stay fast objects. */
function blockClass(table: RegisterTable): BlockClass {
  const known = blockClasses.get(table);
  if (known !== undefined) return known;
  class Block extends RegisterBlock {}
  compiled(table).definitions.forEach((definition, register) => {
    const name = compiled(table).names[register]!;
    Object.defineProperty(Block.prototype, name, propertyOf(definition, register));
  });
  blockClasses.set(table, Block);
  return Block;
}

function propertyOf(definition: RegisterDefinition, register: number): PropertyDescriptor {
  if (definition.count === undefined) {
    return {
      enumerable: true,
      get(this: RegisterBlock) {
        return this.valueAt(register, 0);
      },
      set(this: RegisterBlock, value: number) {
        this.setValueAt(register, 0, value);
      },
    };
  }
  return {
    enumerable: true,
    get(this: RegisterBlock): RegisterArray {
      return this.arrayOf(register);
    },
  };
}
