/*
 * Values as they were computed: a number that a handler stores or compares is kept as the expression that made it, over
 * what a VMA says and what only the driver knows. What it means (a region, a physical page, a length) is read off it.
 */
import type { Place } from './tokens.ts';

export type Op =
  /** The VMA that the handler was called with, and the fault that a fault handler was called with. */
  | 'vma'
  | 'vmf'
  /** `vm_pgoff` as the caller set it. */
  | 'pgoff'
  | 'number'
  | 'name'
  | 'text'
  | 'field'
  | 'index'
  | 'binary'
  | 'unary'
  | 'call'
  /** A place whose address was taken. */
  | 'address'
  /** Kept in 32 bits or fewer. */
  | 'narrow'
  | 'unknown';

/** How a value came about. */
export interface Value {
  readonly op: Op;
  /** Operator, name of a field, function or constant. */
  readonly name: string;
  readonly args: readonly Value[];
  /** Of a number. */
  readonly number: number;
  /** Equal values have equal keys. */
  readonly key: string;
  readonly size: number;
  /** Of a comparison or call: where it stands. */
  readonly place?: Place;
}

/** Beyond this many nodes a value is not worth its memory: it is unknown. */
const MAX_SIZE = 120;

function make(op: Op, name: string, args: readonly Value[] = [], number: number = Number.NaN): Value {
  const size = args.reduce((sum, arg) => sum + arg.size, 1);
  if (size > MAX_SIZE) return UNKNOWN;
  const key = args.length === 0 ? `${op}:${name}` : `${op}:${name}(${args.map((arg) => arg.key).join(',')})`;
  return { op, name, args, number, key, size };
}

export const UNKNOWN: Value = { op: 'unknown', name: '', args: [], number: Number.NaN, key: '?', size: 1 };
export const VMA: Value = make('vma', '');
export const VMF: Value = make('vmf', '');
export const PGOFF: Value = make('pgoff', '');

export const numberValue = (number: number): Value => make('number', String(number), [], number);
export const nameValue = (name: string): Value => make('name', name);
export const textValue = (text: string): Value => make('text', text);
export const fieldValue = (of: Value, name: string): Value => make('field', name, [of]);
export const indexValue = (of: Value, index: Value): Value => make('index', '', [of, index]);
export const callValue = (name: string, args: readonly Value[]): Value => make('call', name, args);
export const addressValue = (of: Value): Value => make('address', '', [of]);
export const unaryValue = (operator: string, of: Value): Value =>
  operator === '-' && of.op === 'number' ? numberValue(-of.number) : make('unary', operator, [of]);

const NARROW_TYPE =
  /^(const )?(unsigned|int|unsigned int|signed|short|unsigned short|char|u8|u16|u32|s8|s16|s32|__u16|__u32|__s32|__le32|uint|uint16_t|uint32_t|int32_t|bool)( const)?$/;
const WIDE_TYPE =
  /^(const )?(unsigned long|long|unsigned long long|long long|u64|s64|__u64|size_t|phys_addr_t|resource_size_t|dma_addr_t|pgoff_t|loff_t|uint64_t|unsigned long int)( const)?$/;

/** What is left of a value in a variable of a type. */
export function convertValue(value: Value, type: string): Value {
  if (NARROW_TYPE.test(type))
    return mentionsVma(value) && value.op !== 'narrow' ? make('narrow', '', [value]) : value;
  // A value that had fitted 32 bits is wide again: what is done to it from here on cannot wrap.
  if (WIDE_TYPE.test(type) && value.op === 'narrow') return make('unary', 'widened', [value]);
  return value;
}

const ARITHMETIC: Readonly<Record<string, (a: number, b: number) => number>> = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '<<': (a, b) => a * 2 ** b,
  '>>': (a, b) => Math.floor(a / 2 ** b),
};

export function binaryValue(operator: string, left: Value, right: Value): Value {
  if (left.op === 'number' && right.op === 'number') {
    const compute = ARITHMETIC[operator];
    if (compute !== undefined) {
      const result = compute(left.number, right.number);
      if (Number.isFinite(result)) return numberValue(result);
    }
  }
  if (operator === '+' && left.op === 'number' && left.number === 0) return right;
  if (
    (operator === '+' || operator === '-' || operator === '|') &&
    right.op === 'number' &&
    right.number === 0
  ) {
    return left;
  }
  // Differences cancel, so that undoing an addition is seen as what it is.
  if (operator === '-' && left.op === 'binary' && left.name === '+') {
    if (left.args[1]!.key === right.key) return left.args[0]!;
    if (left.args[0]!.key === right.key) return left.args[1]!;
  }
  if (operator === '+' && left.op === 'binary' && left.name === '-' && left.args[1]!.key === right.key) {
    return left.args[0]!;
  }
  return make('binary', operator, [left, right]);
}

/** Whether `test` holds for the value or anything that it was made of. */
export function some(value: Value, test: (part: Value) => boolean): boolean {
  return test(value) || value.args.some((arg) => some(arg, test));
}

const isVmaPart = ({ op }: Value): boolean => op === 'pgoff' || op === 'vma' || op === 'vmf';

export const mentionsVma = (value: Value): boolean => some(value, isVmaPart);
export const mentionsPgoff = (value: Value): boolean => some(value, ({ op }) => op === 'pgoff');
export const mentionsField = (value: Value, pattern: RegExp): boolean =>
  some(value, ({ op, name }) => op === 'field' && pattern.test(name));
export const mentionsName = (value: Value, pattern: RegExp): boolean =>
  some(value, ({ op, name }) => (op === 'name' || op === 'call') && pattern.test(name));
