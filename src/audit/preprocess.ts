/*
 * Conditionals and macros. No configuration is assumed: both sides of an `#ifdef` inside a function become the two
 * branches of an `if` on a name that stands for the condition, so that paths through either are seen, and the same
 * condition twice is the same choice. Macros of the files at hand are expanded; those of the rest of the kernel stay names.
 */
import { closing, type Macro, type SourceFile, splitAt, type Token, tokenize } from './tokens.ts';

const DIRECTIVE = /^#\s*(\w+)\s*([\s\S]*)$/;
const MAX_EXPANSION_DEPTH = 16;
const MAX_EXPANSION_TOKENS = 20_000;

/** What is left of a file: its tokens without directives, and the macros that it defines. */
export interface Preprocessed {
  readonly tokens: readonly Token[];
  readonly macros: ReadonlyMap<string, Macro>;
}

interface Branch {
  readonly condition: string;
  readonly tokens: Token[];
}

export function preprocess(file: SourceFile): Preprocessed {
  const macros = new Map<string, Macro>();
  const all = tokenize(file);
  let next = 0;

  const block = (outerDepth: number): Token[] => {
    const out: Token[] = [];
    let depth = outerDepth;
    while (next < all.length) {
      const token = all[next]!;
      if (token.kind !== 'directive') {
        if (token.text === '{') depth++;
        else if (token.text === '}') depth--;
        out.push(token);
        next++;
        continue;
      }
      const [, word = '', rest = ''] = DIRECTIVE.exec(token.text) ?? [];
      if (word === 'else' || word === 'elif' || word === 'elifdef' || word === 'endif') return out;
      next++;
      if (word === 'define') define(file, token, macros);
      if (word === 'if' || word === 'ifdef' || word === 'ifndef') {
        const merged = merge(conditional(conditionName(word, rest), depth), depth, out.at(-1), token);
        for (const { text } of merged) depth += text === '{' ? 1 : text === '}' ? -1 : 0;
        for (const kept of merged) out.push(kept);
      }
    }
    return out;
  };

  const conditional = (first: string, depth: number): Branch[] => {
    const branches: Branch[] = [];
    let condition = first;
    for (;;) {
      branches.push({ condition, tokens: block(depth) });
      const end = all[next++];
      if (end === undefined) return branches;
      const [, word = '', rest = ''] = DIRECTIVE.exec(end.text) ?? [];
      if (word === 'endif') return branches;
      condition = word === 'else' ? '' : conditionName(word, rest);
    }
  };

  const tokens: Token[] = [];
  while (next < all.length) {
    for (const token of block(0)) tokens.push(token);
    // A stray #else or #endif is skipped.
    next++;
  }
  return { tokens, macros };
}

function conditionName(word: string, rest: string): string {
  const text = rest.replace(/\/\*[\s\S]*?\*\/|\/\/.*|\\\r?\n/g, ' ').trim();
  return `${word === 'ifndef' ? 'not ' : ''}${text}`;
}

/** One token list out of the branches of a conditional. */
function merge(branches: readonly Branch[], depth: number, before: Token | undefined, at: Token): Token[] {
  const taken = branches.find(({ condition }) => condition === '1');
  const live = taken !== undefined ? [taken] : branches.filter(({ condition }) => condition !== '0');
  const filled = live.filter(({ tokens }) => tokens.length > 0);
  if (filled.length === 0) return [];
  if (live.length === 1 && (taken !== undefined || branches.length > 1)) return live[0]!.tokens;
  if (!filled.every(({ tokens }) => isBalanced(tokens))) return filled[0]!.tokens;
  const together = filled.flatMap(({ tokens }) => tokens);
  const isLists = filled.every(({ tokens }) => tokens.at(-1)!.text === ',');
  if (depth === 0 || isLists) return together;
  const areStatements =
    filled.every(({ tokens }) => tokens.at(-1)!.text === ';' || tokens.at(-1)!.text === '}') &&
    before !== undefined &&
    ['{', '}', ';', ':', ')'].includes(before.text);
  if (!areStatements) return filled.length === 1 ? together : filled[0]!.tokens;
  if (filled.some(({ tokens }) => tokens[0]!.text === 'case' || tokens[0]!.text === 'default'))
    return together;

  const made = (text: string): Token => ({
    kind: /\w/.test(text) ? 'word' : 'punctuation',
    text,
    file: at.file,
    at: at.at,
  });
  const out: Token[] = [];
  live.forEach(({ condition, tokens }, index) => {
    if (index > 0) out.push(made('else'));
    if (condition !== '') {
      const negated = condition.startsWith('not ');
      const name = `CONFIGURED_${condition.replace(/^not /, '').replace(/\W+/g, '_')}`;
      out.push(made('if'), made('('), ...(negated ? [made('!')] : []), made(name), made(')'));
    }
    out.push(made('{'), ...tokens, made('}'));
  });
  return out;
}

function isBalanced(tokens: readonly Token[]): boolean {
  let braces = 0;
  let parens = 0;
  for (const { text } of tokens) {
    if (text === '{') braces++;
    else if (text === '}') braces--;
    else if (text === '(') parens++;
    else if (text === ')') parens--;
    if (braces < 0 || parens < 0) return false;
  }
  return braces === 0 && parens === 0;
}

function define(file: SourceFile, directive: Token, macros: Map<string, Macro>): void {
  const head = /^#\s*define\s+([A-Za-z_]\w*)(\(([^)]*)\))?/.exec(directive.text);
  if (head === null) return;
  const [whole, name = '', parentheses, list = ''] = head;
  const params =
    parentheses === undefined ? null : list.split(',').map((text) => text.replace(/\\\s/g, '').trim());
  const start = directive.at + whole.length;
  const body = tokenize(file, start, directive.at + directive.text.length, true);
  macros.set(name, { name, params: params?.[0] === '' ? [] : params, body, file });
}

/** Expands what `lookup` knows, except names for which it answers null. */
export function expand(tokens: readonly Token[], lookup: (name: string) => Macro | null): Token[] {
  const out: Token[] = [];
  let budget = MAX_EXPANSION_TOKENS + tokens.length * 4;

  const walk = (list: readonly Token[], active: readonly string[]): void => {
    for (let index = 0; index < list.length; index++) {
      const token = list[index]!;
      if (budget-- < 0) return;
      const macro =
        token.kind === 'word' && !active.includes(token.text) && active.length < MAX_EXPANSION_DEPTH
          ? lookup(token.text)
          : null;
      if (macro === null) {
        out.push(token);
        continue;
      }
      let args: Token[][] = [];
      if (macro.params !== null) {
        if (list[index + 1]?.text !== '(') {
          out.push(token);
          continue;
        }
        const end = closing(list, index + 1);
        args = splitAt(list.slice(index + 2, end - 1), ',');
        index = end - 1;
      }
      walk(substitute(macro, args, token), [...active, macro.name]);
    }
  };
  walk(tokens, []);
  return out;
}

function substitute(macro: Macro, args: readonly Token[][], use: Token): Token[] {
  const out: Token[] = [];
  const placed = (token: Token): Token => ({
    ...token,
    file: use.file,
    at: use.at,
    macro: use.macro ?? macro,
  });
  const argument = (name: string): readonly Token[] | null => {
    const params = macro.params ?? [];
    const rest = params.at(-1)?.endsWith('...') === true ? params.length - 1 : -1;
    const restName = rest === -1 ? '' : params[rest]!.replace('...', '').trim() || '__VA_ARGS__';
    if (rest !== -1 && name === restName) {
      return args
        .slice(rest)
        .flatMap((tokens, index) =>
          index === 0 ? tokens : [{ ...use, kind: 'punctuation' as const, text: ',' }, ...tokens],
        );
    }
    const index = params.indexOf(name);
    return index === -1 ? null : (args[index] ?? []);
  };
  const { body } = macro;
  for (let index = 0; index < body.length; index++) {
    const token = body[index]!;
    if (token.text === '#' && macro.params !== null) {
      const text = (argument(body[++index]?.text ?? '') ?? []).map((part) => part.text).join(' ');
      out.push({ ...placed(token), kind: 'string', text: JSON.stringify(text) });
      continue;
    }
    const given = token.kind === 'word' ? argument(token.text) : null;
    // What an argument says was written at the use, and not by the macro.
    const made = given === null ? [placed(token)] : given;
    if (body[index - 1]?.text === '##' && out.length > 0 && made.length > 0) {
      const left = out.pop()!;
      if (left.text === ',') out.push(left, ...made);
      else out.push({ ...left, text: left.text + made[0]!.text }, ...made.slice(1));
    } else if (token.text !== '##') out.push(...made);
  }
  return out;
}
