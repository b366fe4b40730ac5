/*
 * Plain data as TypeScript: what JSON can say, written as people write it.
 */
import { visible } from './text.ts';

/** Objects and lists that fit into so many columns stay on one line. */
const COLUMNS = 100;
const PLAIN_KEY = /^[A-Za-z_$][\w$]*$/;

/** The value as an expression. `indent` is that of the line it begins on, in spaces. */
export function literal(value: unknown, indent: number = 0): string {
  if (typeof value === 'string') return quoted(value);
  if (Object.is(value, -0)) return '-0';
  if (typeof value !== 'object' || value === null) return String(value);
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}'];
  const parts = (each: number): string[] =>
    Array.isArray(value)
      ? value.map((item) => literal(item, each))
      : Object.entries(value)
          .filter(([, item]) => item !== undefined)
          .map(([key, item]) => `${keyOf(key)}: ${literal(item, each)}`);
  const flat = parts(0);
  if (flat.length === 0) return open + close;
  const space = open === '{' ? ' ' : '';
  const line = open + space + flat.join(', ') + space + close;
  if (!line.includes('\n') && indent + line.length <= COLUMNS) return line;
  const inner = ' '.repeat(indent + 2);
  const rows = Array.isArray(value) && value.every((item) => typeof item === 'number') ? filled(flat) : null;
  const lines = rows ?? parts(indent + 2).map((part) => `${part},`);
  return `${open}\n${lines.map((part) => inner + part).join('\n')}\n${' '.repeat(indent)}${close}`;
}

/** Numbers side by side. */
function filled(numbers: readonly string[]): string[] {
  const lines: string[] = [];
  for (const number of numbers) {
    const last = lines.at(-1);
    if (last === undefined || last.length + number.length + 2 > COLUMNS) lines.push(`${number},`);
    else lines[lines.length - 1] = `${last} ${number},`;
  }
  return lines;
}

/** A string literal without a character that cannot be seen. */
export function quoted(text: string): string {
  const escaped = text.replace(/\\/g, '\\\\').replace(/'/g, "\\'");
  return `'${visible(escaped)}'`;
}

/** `__proto__: x` would set the prototype. */
function keyOf(key: string): string {
  if (key === '__proto__') return "['__proto__']";
  return PLAIN_KEY.test(key) ? key : quoted(key);
}
