/*
 * C source text as tokens. Comments and layout are gone, every token knows where in its file it stands, and a
 * preprocessor directive is one token. Whoever rewrites tokens (macros, attributes) keeps their places, so whatever is
 * found later can still name file and line.
 */

/** One file of the tree that is audited. */
export interface SourceFile {
  /** Relative to the tree, with slashes. */
  readonly path: string;
  readonly text: string;
  /** Offset of each line's first character. */
  readonly lineStarts: readonly number[];
}

export type TokenKind = 'word' | 'number' | 'string' | 'punctuation' | 'directive';

export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  readonly file: SourceFile;
  /** Offset in the file; for what a macro expanded to, where the macro was used. */
  readonly at: number;
  /** The outermost macro that it came from. */
  readonly macro?: Macro;
}

export interface Macro {
  readonly name: string;
  /** Null for one without parentheses. */
  readonly params: readonly string[] | null;
  readonly body: readonly Token[];
  readonly file: SourceFile;
}

/** A place that people can open. */
export interface Place {
  readonly file: string;
  /** From 1. */
  readonly line: number;
}

const LEXEME =
  /\s+|\\\r?\n|\/\/(?:\\\r?\n|[^\n])*|\/\*[\s\S]*?(?:\*\/|$)|(?<string>[LuU]?"(?:\\[\s\S]|[^"\\\n])*"?|[LuU]?'(?:\\[\s\S]|[^'\\\n])*'?)|(?<word>[A-Za-z_$][\w$]*)|(?<number>\.?\d(?:[eEpP][+-]|[\w.])*)|(?<directive>#(?:\\\r?\n|\/\*[\s\S]*?\*\/|[^\n])*)|(?<punctuation><<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|[\s\S])/y;
/** A body of a macro has `#` and `##` inside a line, where they are operators. */
const HASH_OPERATOR = /^##?/;

export function sourceFile(path: string, text: string): SourceFile {
  const lineStarts = [0];
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) lineStarts.push(at + 1);
  return { path, text, lineStarts };
}

/** Line number, from 1, of an offset. */
export function lineAt(file: SourceFile, at: number): number {
  let low = 0;
  let high = file.lineStarts.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (file.lineStarts[middle]! <= at) low = middle;
    else high = middle;
  }
  return low + 1;
}

export function placeOf(token: Token): Place {
  return { file: token.file.path, line: lineAt(token.file, token.at) };
}

/** The tokens of `[start, end)` of a file. `inMacro`: `#` is an operator and not the beginning of a directive. */
export function tokenize(
  file: SourceFile,
  start: number = 0,
  end: number = file.text.length,
  inMacro: boolean = false,
): Token[] {
  const tokens: Token[] = [];
  const { text } = file;
  LEXEME.lastIndex = start;
  while (LEXEME.lastIndex < end) {
    const at = LEXEME.lastIndex;
    const match = LEXEME.exec(text);
    if (match === null) break;
    const { string, word, number, directive, punctuation } = match.groups as Record<
      string,
      string | undefined
    >;
    if (word !== undefined) tokens.push({ kind: 'word', text: word, file, at });
    else if (punctuation !== undefined) tokens.push({ kind: 'punctuation', text: punctuation, file, at });
    else if (number !== undefined) tokens.push({ kind: 'number', text: number, file, at });
    else if (string !== undefined) tokens.push({ kind: 'string', text: string, file, at });
    else if (directive !== undefined) {
      if (inMacro) {
        const operator = HASH_OPERATOR.exec(directive)![0];
        tokens.push({ kind: 'punctuation', text: operator, file, at });
        LEXEME.lastIndex = at + operator.length;
      } else tokens.push({ kind: 'directive', text: directive, file, at });
    }
  }
  return tokens;
}

/** The index just after the bracket that closes the one at `open`; the end when it never closes. */
export function closing(tokens: readonly Token[], open: number): number {
  let depth = 0;
  for (let index = open; index < tokens.length; index++) {
    const { text, kind } = tokens[index]!;
    if (kind !== 'punctuation') continue;
    if (text === '(' || text === '{' || text === '[') depth++;
    else if (text === ')' || text === '}' || text === ']') {
      depth--;
      if (depth <= 0) return index + 1;
    }
  }
  return tokens.length;
}

/** The parts between separators that stand in no bracket. */
export function splitAt(tokens: readonly Token[], separator: string): Token[][] {
  const parts: Token[][] = [[]];
  let depth = 0;
  for (const token of tokens) {
    const { text } = token;
    if (text === '(' || text === '[' || text === '{') depth++;
    else if (text === ')' || text === ']' || text === '}') depth--;
    if (text === separator && depth === 0) parts.push([]);
    else parts.at(-1)!.push(token);
  }
  return parts.length === 1 && parts[0]!.length === 0 ? [] : parts;
}
