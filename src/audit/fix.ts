/*
 * The mechanical fix for a handler that overwrites `vm_pgoff` on the way to a call that maps: the page number goes into a
 * local, the call gets the local, and the VMA keeps its coding. Where somebody else reads what was stored, a fault
 * handler for example, no fix is mechanical. Each fix is judged again: exactly what was mapped before must be mapped.
 */
import type { Ast } from './parser.ts';
import type { Program } from './program.ts';
import type { Place } from './tokens.ts';
import type { FunctionUnit } from './units.ts';
import type { HandlerAnalysis } from './verdict.ts';

/** A replacement in a file's text. */
export interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

export interface Fix {
  readonly handler: string;
  readonly place: Place;
  /** Empty when the fix is not mechanical. */
  readonly edits: readonly Edit[];
  /** Why not. */
  readonly reason: string;
}

const LOCAL_NAMES = ['pfn', 'map_pfn', 'first_pfn', 'remap_pfn'];

/** `verify` judges the handler again with the edits done to a file of it. */
export function fixOverwrite(
  handler: HandlerAnalysis,
  program: Program,
  verify: (path: string, edits: readonly Edit[]) => HandlerAnalysis | null,
): Fix {
  const fix = proposeFix(handler, program);
  if (fix.edits.length === 0) return fix;
  const after = verify(fix.place.file, fix.edits);
  if (after?.coding !== 'kept') return { ...fix, edits: [], reason: 'it is written in more than one place' };
  // A fix that maps anything else than before would be worse than what it fixes.
  if (after.mapped !== handler.mapped)
    return { ...fix, edits: [], reason: 'what is mapped depends on it in another way' };
  return fix;
}

function proposeFix(handler: HandlerAnalysis, program: Program): Fix {
  const write = handler.write!;
  const { unit, expression, place } = write;
  const fail = (reason: string): Fix => ({ handler: handler.unit.name, place, edits: [], reason });
  if (handler.faultFrom === 'pgoff-as-pfn')
    return fail('the fault handler reads the page number from vm_pgoff');
  if (isOfMacro(expression)) return fail('a macro does it');
  const whole = unit.file.text.slice(unit.body[0]!.at, unit.body.at(-1)!.at);
  if (/^[ \t]*#/m.test(whole)) return fail('the function depends on the configuration');
  if (expression.kind !== 'assignment_expression' || expression.operator !== '=') {
    return fail('it is no plain assignment');
  }
  const { body } = program.parse(unit);
  if (body === null) return fail('the function cannot be parsed');
  const target = expression.fields['left']!;
  const accesses = findAccesses(body, normalized(target.text));
  const writes = accesses.filter(({ isWrite }) => isWrite);
  if (writes.length !== 1) return fail('vm_pgoff is written more than once');
  const statement = findParent(body, expression);
  if (statement?.kind !== 'expression_statement') return fail('the assignment is part of an expression');
  if (isOfMacro(target)) return fail('a macro does it');
  const later = accesses.filter(({ ast, isWrite }) => !isWrite && ast.token.at > expression.last.at);
  if (later.length === 0) {
    if (findParent(body, statement)?.kind !== 'compound_statement')
      return fail('nothing else is in its branch');
    return { handler: handler.unit.name, place, edits: [removal(unit, statement)], reason: '' };
  }
  const name = LOCAL_NAMES.find(
    (one) => !unit.body.some(({ text }) => text === one) && !unit.params.some((param) => param.name === one),
  );
  if (name === undefined) return fail('no name for a local is free');

  const edits: Edit[] = [{ ...rangeOf(target), text: name }];
  for (const { ast } of later) {
    if (isOfMacro(ast)) return fail('a macro reads it afterwards');
    edits.push({ ...rangeOf(ast), text: name });
  }
  edits.push(declaration(unit, body, name));
  return { handler: handler.unit.name, place, edits, reason: '' };
}

/** Whether the ends of a piece of code are not in the file as they were parsed. */
const isOfMacro = ({ token, last }: Ast): boolean => token.macro !== undefined || last.macro !== undefined;

const normalized = (text: string): string => text.replace(/\s+/g, '');

interface Access {
  readonly ast: Ast;
  readonly isWrite: boolean;
}

function findAccesses(body: Ast, target: string): Access[] {
  const found: Access[] = [];
  const walk = (ast: Ast, isWrite: boolean): void => {
    if (ast.kind === 'field_expression' && normalized(ast.text) === target) {
      found.push({ ast, isWrite });
      return;
    }
    for (const child of ast.children) {
      const writes =
        (ast.kind === 'assignment_expression' && child === ast.fields['left']) ||
        ast.kind === 'update_expression' ||
        (ast.kind === 'pointer_expression' && ast.operator === '&');
      walk(child, writes);
    }
  };
  walk(body, false);
  return found;
}

function findParent(ast: Ast, wanted: Ast): Ast | null {
  for (const child of ast.children) {
    if (child === wanted) return ast;
    const found = findParent(child, wanted);
    if (found !== null) return found;
  }
  return null;
}

function rangeOf(ast: Ast): { start: number; end: number } {
  return { start: ast.token.at, end: ast.last.at + ast.last.text.length };
}

/** Takes a statement out, with its lines where nothing else is on them. */
function removal(unit: FunctionUnit, statement: Ast): Edit {
  const { text } = unit.file;
  const { start, end } = rangeOf(statement);
  const lineStart = text.lastIndexOf('\n', start - 1) + 1;
  const lineEnd = text.indexOf('\n', end);
  const isAlone = text.slice(lineStart, start).trim() === '' && text.slice(end, lineEnd).trim() === '';
  return isAlone ? { start: lineStart, end: lineEnd + 1, text: '' } : { start, end, text: '' };
}

/** The new local, after the declarations that the function begins with, or as its first line. */
function declaration(unit: FunctionUnit, body: Ast, name: string): Edit {
  const { text } = unit.file;
  let after = unit.body[0]!.at + 1;
  for (const child of body.children) {
    if (child.kind !== 'declaration') break;
    after = child.last.at + child.last.text.length;
  }
  const end = text.indexOf('\n', after);
  const at = end === -1 ? after : end;
  const first = body.children[0];
  const indent = first === undefined ? '\t' : indentOf(text, first.token.at);
  const hasDeclarations = first?.kind === 'declaration';
  return { start: at, end: at, text: `\n${indent}unsigned long ${name};${hasDeclarations ? '' : '\n'}` };
}

function indentOf(text: string, at: number): string {
  const start = text.lastIndexOf('\n', at - 1) + 1;
  return /^[ \t]*/.exec(text.slice(start, at))![0];
}

/** A text with edits done. */
export function applyEdits(text: string, edits: readonly Edit[]): string {
  let out = text;
  for (const { start, end, text: replacement } of [...edits].sort((a, b) => b.start - a.start)) {
    out = out.slice(0, start) + replacement + out.slice(end);
  }
  return out;
}
