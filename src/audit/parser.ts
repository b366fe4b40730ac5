/*
 * One function at a time through tree-sitter's C grammar. The grammar (grammar/tree-sitter-c.wasm) is part of this
 * package; its runtime is an optional dependency that is loaded when the first function is parsed.
 */
import { fileURLToPath } from 'node:url';
import type { Language, Node, Parser } from 'web-tree-sitter';
import { VfioError } from '../core/index.ts';
import { prepareBody } from './prepare.ts';
import type { Token } from './tokens.ts';
import type { FunctionUnit } from './units.ts';

/** A node of a parsed function, with the names of tree-sitter's C grammar. */
export interface Ast {
  readonly kind: string;
  readonly text: string;
  readonly children: readonly Ast[];
  readonly fields: Readonly<Record<string, Ast>>;
  /** Its first and its last token. */
  readonly token: Token;
  readonly last: Token;
  /** Of binary expressions and assignments. */
  readonly operator: string;
}

/** A parsed body, or null when it is beyond the grammar. `hasError`: parts of it are. */
export interface Parsed {
  readonly body: Ast | null;
  readonly hasError: boolean;
}

const GRAMMAR = fileURLToPath(new URL('../../grammar/tree-sitter-c.wasm', import.meta.url));
const MAX_DEPTH = 1_000;
const FIELDS =
  'left right operator value argument field function arguments condition consequence alternative body declarator type label initializer update index size designator'.split(
    ' ',
  );

/** A C parser. Its results are plain objects; nothing has to be freed. */
export class FunctionParser {
  readonly #parser: Parser;

  private constructor(parser: Parser) {
    this.#parser = parser;
  }

  /** Rejects with ENOENT and the next step where the runtime is not installed. */
  static async load(): Promise<FunctionParser> {
    let runtime: typeof import('web-tree-sitter');
    try {
      runtime = await import('web-tree-sitter');
    } catch (error) {
      throw new VfioError(
        'ENOENT',
        'the C parser web-tree-sitter is not installed (npm leaves optional dependencies out on request). ' +
          'Run npm install web-tree-sitter@0.27',
        { cause: error },
      );
    }
    await runtime.Parser.init();
    const language: Language = await runtime.Language.load(GRAMMAR);
    const parser = new runtime.Parser();
    parser.setLanguage(language);
    return new FunctionParser(parser);
  }

  parse(unit: FunctionUnit): Parsed {
    const tokens = prepareBody(unit.body);
    const starts: number[] = [];
    let text = 'void f(void) ';
    for (const token of tokens) {
      starts.push(text.length);
      text += `${token.text.replace(/\s+/g, ' ')} `;
    }
    const tree = this.#parser.parse(text);
    if (tree === null) return { body: null, hasError: true };
    try {
      const root = tree.rootNode;
      const definition = root.namedChild(0);
      const body = definition?.childForFieldName('body') ?? null;
      if (body === null || definition?.type !== 'function_definition') return { body: null, hasError: true };
      const converted = convert(body, tokens, starts, text);
      return { body: converted, hasError: converted === null || root.hasError };
    } finally {
      tree.delete();
    }
  }
}

/** Null for what is nested so deeply that following it would exhaust the stack. */
function convert(node: Node, tokens: readonly Token[], starts: readonly number[], text: string): Ast | null {
  let isTooDeep = false;
  const at = (offset: number): Token => {
    let low = 0;
    let high = starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (starts[middle]! <= offset) low = middle;
      else high = middle;
    }
    return tokens[low]!;
  };
  const walk = (current: Node, depth: number): Ast => {
    if (depth > MAX_DEPTH) isTooDeep = true;
    const children: Ast[] = [];
    const fields: Record<string, Ast> = {};
    let operator = '';
    const below = isTooDeep ? [] : current.children;
    below.forEach((child, index) => {
      if (child === null || child.type === 'comment') return;
      const name = current.fieldNameForChild(index);
      if (name === 'operator') operator = child.type;
      if (!child.isNamed) {
        if (operator === '' && current.type === 'field_expression') operator = child.type;
        return;
      }
      const made = walk(child, depth + 1);
      children.push(made);
      if (name !== null && FIELDS.includes(name)) fields[name] ??= made;
    });
    return {
      kind: current.type,
      text: text.slice(current.startIndex, current.endIndex).trim(),
      children,
      fields,
      token: at(current.startIndex),
      last: at(Math.max(current.startIndex, current.endIndex - 1)),
      operator,
    };
  };
  const made = walk(node, 0);
  return isTooDeep ? null : made;
}
