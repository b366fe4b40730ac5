/*
 * Makes a function of the kernel's dialect into plain C that a grammar can read: attribute words go, loops and blocks
 * that macros open become `while` and plain blocks, a type that is handed to a macro becomes a name. Nothing that the
 * rules look at is touched, and what is left keeps its place.
 */
import { closing, type Token } from './tokens.ts';

const ATTRIBUTE_WORDS = new Set(
  (
    '__user __iomem __force __rcu __percpu __kernel __bitwise __init __exit __devinit __initdata __maybe_unused __always_unused ' +
    '__unused __used __must_check __always_inline __inline __inline__ noinline __read_mostly __ro_after_init __cold __hot __ref ' +
    '__refdata __weak __pure __noreturn __deprecated __packed __visible __private __nocast __safe asmlinkage notrace ' +
    'noinline_for_stack fallthrough __nonstring __counted_by_ptr __le __be __releases_all __extension__ __meminit __sched'
  ).split(' '),
);
const ATTRIBUTE_CALLS =
  /^(__attribute__|__attribute|__aligned|__printf|__scanf|__acquires|__releases|__must_hold|__section|__free|__cleanup|__no_sanitize|__counted_by|__bos|__guarded_by|__cond_acquires|__asm__)$/;
const TYPE_OF = /^(typeof|__typeof__|__typeof|typeof_unqual|__typeof_unqual__)$/;
/** Their block runs once. */
const BLOCK_MACRO = /^(scoped_\w+|__scoped_\w+|with_\w+)$/;
const CONTROL =
  /^(if|for|while|switch|return|sizeof|do|else|goto|case|default|break|continue|typeof|__typeof__|__typeof|asm|__asm__|_Alignof|alignof)$/;
const TYPE_WORD =
  /^(unsigned|signed|int|long|short|char|void|const|volatile|struct|union|enum|float|double|bool|_Bool)$/;
/** What may follow a call that is part of an expression or a declaration. */
const GOES_ON = new Set(
  ';,.)]}([=?:+-*/%&|^<>'
    .split('')
    .concat([
      '->',
      '==',
      '!=',
      '<=',
      '>=',
      '&&',
      '||',
      '<<',
      '>>',
      '++',
      '--',
      '+=',
      '-=',
      '*=',
      '/=',
      '%=',
      '&=',
      '|=',
      '^=',
      '<<=',
      '>>=',
      '...',
    ]),
);

export function prepareBody(body: readonly Token[]): Token[] {
  return rewriteStatements(dropAttributes(body));
}

function dropAttributes(tokens: readonly Token[]): Token[] {
  const out: Token[] = [];
  for (let index = 0; index < tokens.length; index++) {
    const token = tokens[index]!;
    const next = tokens[index + 1];
    if (token.kind === 'word') {
      if (ATTRIBUTE_WORDS.has(token.text)) continue;
      if (ATTRIBUTE_CALLS.test(token.text) && next?.text === '(') {
        index = closing(tokens, index + 1) - 1;
        continue;
      }
      // Any type will do that takes a value of 64 bits.
      if (TYPE_OF.test(token.text) && next?.text === '(') {
        index = closing(tokens, index + 1) - 1;
        out.push({ ...token, text: 'size_t' });
        continue;
      }
      if (token.text === '__auto_type' || token.text === 'auto') {
        out.push({ ...token, text: 'size_t' });
        continue;
      }
    }
    // A range of a switch is as good as its first value: nobody asks which case was taken.
    if (token.text === '...' && isInCase(out)) {
      while (tokens[index + 1] !== undefined && tokens[index + 1]!.text !== ':') index++;
      continue;
    }
    out.push(token);
  }
  return out;
}

function isInCase(out: readonly Token[]): boolean {
  for (let index = out.length - 1; index >= 0; index--) {
    const { text } = out[index]!;
    if (text === 'case') return true;
    if (text === ';' || text === '{' || text === '}') return false;
  }
  return false;
}

function rewriteStatements(tokens: readonly Token[]): Token[] {
  const out: Token[] = [];
  for (let index = 0; index < tokens.length; index++) {
    const token = tokens[index]!;
    const next = tokens[index + 1];
    if (token.kind !== 'word' || next?.text !== '(' || CONTROL.test(token.text)) {
      out.push(token);
      continue;
    }
    const end = closing(tokens, index + 1);
    const after = tokens[end];
    const before = out.at(-1);
    const opensStatement =
      before === undefined || [';', '{', '}', ')', ':', 'else', 'do'].includes(before.text);
    const hasBlock = after !== undefined && !GOES_ON.has(after.text) && after.kind !== 'string';
    if (opensStatement && hasBlock && BLOCK_MACRO.test(token.text)) {
      index = end - 1;
      continue;
    }
    if (opensStatement && hasBlock && (after.text === '{' || after.kind === 'word')) {
      out.push({ ...token, text: 'while' });
    } else out.push(token);
    out.push(next);
    for (const inner of rewriteStatements(typeArguments(tokens.slice(index + 2, end - 1)))) out.push(inner);
    if (end - 1 < tokens.length) out.push(tokens[end - 1]!);
    index = end - 1;
  }
  return out;
}

/** In what stands between the parentheses of a call: arguments that are types become names. */
function typeArguments(inside: readonly Token[]): Token[] {
  const out: Token[] = [];
  let part: Token[] = [];
  let depth = 0;
  const flush = (): void => {
    const isType =
      part.length > 1
        ? part.every(({ kind, text }) => kind === 'word' || text === '*') &&
          (TYPE_WORD.test(part[0]!.text) || part.at(-1)!.text === '*')
        : part.length === 1 && TYPE_WORD.test(part[0]!.text);
    const declares = part.length > 2 && part[0]!.text === 'struct' && part.some(({ text }) => text === '=');
    if (isType) out.push({ ...part[0]!, kind: 'word', text: 'TYPE_ARGUMENT' });
    else
      for (const token of declares ? part.slice(part.findIndex(({ text }) => text === '=') - 1) : part)
        out.push(token);
    part = [];
  };
  for (const token of inside) {
    if ('([{'.includes(token.text)) depth++;
    else if (')]}'.includes(token.text)) depth--;
    if (token.text === ',' && depth === 0) {
      flush();
      out.push(token);
    } else part.push(token);
  }
  flush();
  return out;
}
