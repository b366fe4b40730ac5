/*
 * Conditions: the one form that facts are kept in, and whether one is decided by what a path already knows.
 */
import type { Fact } from './state.ts';
import { binaryValue, type Value } from './value.ts';

const COMPARISON = /^(<|>|<=|>=|==|!=)$/;

/** A condition in the one form that facts are kept in: only `<`, `==` and plain truth. */
export function normalize(value: Value): { value: Value; negated: boolean } {
  if (value.op === 'unary' && value.name === '!') {
    const inner = normalize(value.args[0]!);
    return { value: inner.value, negated: !inner.negated };
  }
  if (value.op !== 'binary' || !COMPARISON.test(value.name)) return { value, negated: false };
  const [left, right] = value.args as [Value, Value];
  const isZero = right.op === 'number' && right.number === 0;
  switch (value.name) {
    case '==':
      return isZero
        ? { value: normalize(left).value, negated: !normalize(left).negated }
        : { value, negated: false };
    case '!=':
      return isZero ? normalize(left) : { value: binaryValue('==', left, right), negated: true };
    case '>':
      return { value: binaryValue('<', right, left), negated: false };
    case '>=':
      return { value: binaryValue('<', left, right), negated: true };
    case '<=':
      return { value: binaryValue('<', right, left), negated: true };
    default:
      return { value, negated: false };
  }
}

/** Whether a condition is already decided. */
export function truthOf(value: Value, facts: ReadonlyMap<string, Fact>): boolean | null {
  if (value.op === 'number') return value.number !== 0;
  const known = facts.get(value.key);
  if (known !== undefined) return known.truth;
  if (value.op === 'address' || value.op === 'vma') return true;
  if (value.op === 'unary' && value.name === '-' && value.args[0]!.op === 'name') return true;
  if (value.op === 'binary' && (value.name === '<' || value.name === '==')) {
    const [left, right] = value.args as [Value, Value];
    const a = signOf(left);
    const b = signOf(right);
    if (value.name === '==' && left.key === right.key && left.op !== 'unknown') return true;
    if (left.op === 'number' && right.op === 'number') {
      return value.name === '<' ? left.number < right.number : left.number === right.number;
    }
    if (value.name === '<' && a === -1 && b === 0) return true;
    // A value that is known to be zero is not below zero.
    if (value.name === '<' && b === 0 && facts.get(left.key)?.truth === false) return false;
  }
  return null;
}

/** -1 for `-EINVAL`, 0 for zero, null when nobody knows. */
export function signOf(value: Value): -1 | 0 | 1 | null {
  if (value.op === 'number') return Math.sign(value.number) as -1 | 0 | 1;
  if (value.op === 'unary' && value.name === '-' && value.args[0]!.op === 'name') {
    return /^E[A-Z0-9]+$/.test(value.args[0]!.name) ? -1 : null;
  }
  return null;
}
