/*
 * What a file defines, found by its brackets alone: functions, and the fields that initializers of structures name.
 * A function whose body nobody could parse still has its name and its place here.
 */
import { closing, lineAt, type SourceFile, splitAt, type Token } from './tokens.ts';

export interface Parameter {
  readonly name: string;
  /** Its type as words, `struct vm_area_struct *`. */
  readonly type: string;
}

export interface FunctionUnit {
  readonly name: string;
  readonly file: SourceFile;
  readonly isStatic: boolean;
  readonly params: readonly Parameter[];
  /** From the opening to the closing brace. */
  readonly body: readonly Token[];
  readonly line: number;
  readonly endLine: number;
}

/** `.field = value` in an initializer of a structure, or `variable.field = value` in a function. */
export interface FieldValue {
  /** `vfio_device_ops`; empty when the type is not said nearby. */
  readonly structType: string;
  readonly variable: string;
  readonly field: string;
  readonly value: readonly Token[];
  /** The names of functions and variables of the whole initializer. */
  readonly neighbours: readonly string[];
  readonly token: Token;
}

const ATTRIBUTE =
  /^(__attribute__|__printf|__scanf|__aligned|__acquires|__releases|__must_hold|__section|__no_sanitize|__cold|__free|__cleanup)$/;
const KEYWORD = /^(if|for|while|switch|return|sizeof|do|else|goto|case)$/;

/** The functions of a file, in its order. */
export function findFunctions(file: SourceFile, tokens: readonly Token[]): FunctionUnit[] {
  const found: FunctionUnit[] = [];
  let start = 0;
  for (let index = 0; index < tokens.length; index++) {
    const { text } = tokens[index]!;
    if (text === ';' || text === '}') start = index + 1;
    else if (text === '(' || text === '[') index = closing(tokens, index) - 1;
    else if (text === '{') {
      const end = closing(tokens, index);
      const unit = asFunction(file, tokens.slice(start, index), tokens.slice(index, end));
      if (unit !== null) {
        found.push(unit);
        start = end;
      }
      index = end - 1;
    }
  }
  return found;
}

function asFunction(file: SourceFile, head: readonly Token[], body: readonly Token[]): FunctionUnit | null {
  let name: Token | null = null;
  let list: readonly Token[] = [];
  for (let index = 0; index < head.length; index++) {
    const { text } = head[index]!;
    if (text === '=') return null;
    if (text !== '(') continue;
    const before = head[index - 1];
    const end = closing(head, index);
    if (before?.kind === 'word' && !ATTRIBUTE.test(before.text) && !KEYWORD.test(before.text)) {
      name = before;
      list = head.slice(index + 1, end - 1);
    }
    index = end - 1;
  }
  if (name === null || body.at(-1)?.text !== '}') return null;
  return {
    name: name.text,
    file,
    isStatic: head.some(({ text }) => text === 'static'),
    params: splitAt(list, ',').map(asParameter),
    body,
    line: lineAt(file, name.at),
    endLine: lineAt(file, body.at(-1)!.at),
  };
}

function asParameter(tokens: readonly Token[]): Parameter {
  const pointer = tokens.findIndex(({ text }, index) => text === '(' && tokens[index + 1]?.text === '*');
  const bracket = tokens.findIndex(({ text }) => text === '[');
  const named = bracket === -1 ? tokens : tokens.slice(0, bracket);
  const at = pointer === -1 ? named.findLastIndex(({ kind }) => kind === 'word') : pointer + 2;
  const name = tokens[at]?.text ?? '';
  const type = tokens.filter((_, index) => index !== at).map(({ text }) => text);
  return { name, type: type.join(' ') };
}

/** Every field that an initializer or an assignment of the file gives a value. */
export function findFieldValues(tokens: readonly Token[]): FieldValue[] {
  const found: FieldValue[] = [];
  const types = new Map<string, string>();

  const initializer = (open: number, structType: string, variable: string): void => {
    const end = closing(tokens, open) - 1;
    const inside = tokens.slice(open + 1, end);
    const neighbours = inside.filter(({ kind }) => kind === 'word').map(({ text }) => text);
    for (const part of splitAt(inside, ',')) {
      const [dot, name, equals] = part;
      const modern = dot?.text === '.' && name?.kind === 'word' && equals?.text === '=';
      const old = dot?.kind === 'word' && name?.text === ':';
      const token = modern ? name : old ? dot : undefined;
      if (token === undefined) continue;
      const value = part.slice(modern ? 3 : 2);
      found.push({ structType, variable, field: token.text, value, neighbours, token });
    }
  };

  for (let index = 0; index < tokens.length; index++) {
    const token = tokens[index]!;
    if (token.text === 'struct') {
      const tag = tokens[index + 1]?.kind === 'word' ? tokens[index + 1]! : null;
      const type = tag?.text ?? '';
      let next = index + (tag === null ? 1 : 2);
      // Defined where it is used: `struct variant { … } variants[] = { … }`.
      if (tokens[next]?.text === '{') next = closing(tokens, next);
      if (tokens[next]?.text === ')' && tokens[next + 1]?.text === '{') initializer(next + 1, type, '');
      while (tokens[next]?.text === '*' || tokens[next]?.text === 'const') next++;
      const variable = tokens[next];
      if (variable?.kind !== 'word') continue;
      types.set(variable.text, type);
      next++;
      while (next < tokens.length && !['=', ';', ',', '{', '}', ')', '('].includes(tokens[next]!.text))
        next++;
      if (tokens[next]?.text === '=' && tokens[next + 1]?.text === '{') {
        initializer(next + 1, type, variable.text);
        for (const inner of nestedInitializers(tokens, next + 1)) initializer(inner, type, variable.text);
      }
    } else if (
      (token.text === '.' || token.text === '->') &&
      tokens[index + 1]?.kind === 'word' &&
      tokens[index + 2]?.text === '=' &&
      tokens[index - 1]?.kind === 'word'
    ) {
      const variable = tokens[index - 1]!.text;
      let end = index + 3;
      while (end < tokens.length && tokens[end]!.text !== ';' && tokens[end]!.text !== ',') end++;
      found.push({
        structType: types.get(variable) ?? '',
        variable,
        field: tokens[index + 1]!.text,
        value: tokens.slice(index + 3, end),
        neighbours: [],
        token: tokens[index + 1]!,
      });
    }
  }
  return found;
}

/** Braces inside an initializer: elements of an array, structures inside the structure. */
function nestedInitializers(tokens: readonly Token[], open: number): number[] {
  const end = closing(tokens, open) - 1;
  const inner: number[] = [];
  for (let index = open + 1; index < end; index++) {
    if (tokens[index]!.text === '{' && tokens[index - 1]!.text !== ')') inner.push(index);
  }
  return inner;
}
