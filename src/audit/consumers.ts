/*
 * Code that looks up a VMA which may be VFIO's, sees that it maps pages without a `struct page`, and takes its `vm_pgoff`
 * for their physical page number. That was never promised; it held while drivers happened to store it.
 */
import { mappedArgument } from './known-calls.ts';
import type { Ast } from './parser.ts';
import type { Program } from './program.ts';
import { type Place, placeOf, type Token } from './tokens.ts';
import type { FunctionUnit } from './units.ts';

export interface Consumer {
  readonly unit: FunctionUnit;
  readonly place: Place;
  readonly token: Token;
  readonly last: Token;
}

const LOOKUP =
  /^(find_vma\w*|vma_lookup|find_extend_vma\w*|find_exact_vma|vma_find|for_each_vma\w*|lookup_vma|lock_vma_under_rcu)$/;
const RAW_PAGES = /^(VM_PFNMAP|VM_IO|VMA_PFNMAP_BIT|VMA_IO_BIT)$/;
/** There remap_pfn_range itself has stored the page number. */
const COPY_ON_WRITE = /^is_cow_mapping$/;
const PHYSICAL_NAME =
  /^(\w*_)?(pfn\d*|pfns|page_number|phys|physical|paddr|hpa|pa|maddr|host_pfn|start_pfn|base_pfn|base_pa)(_\w+)?$/i;
const PHYSICAL_TYPE = /\b(phys_addr_t|resource_size_t|kvm_pfn_t)\b/;

/** Whether a file is worth looking into, by its text alone. */
export function mayConsume(text: { includes(part: string): boolean }): boolean {
  return (
    text.includes('vm_pgoff') &&
    (text.includes('PFNMAP') || text.includes('VM_IO')) &&
    ['find_vma', 'vma_lookup', 'vma_find', 'find_extend_vma', 'for_each_vma', 'lookup_vma'].some((name) =>
      text.includes(name),
    )
  );
}

export function findConsumers(program: Program, owned: ReadonlySet<FunctionUnit>): Consumer[] {
  const found: Consumer[] = [];
  for (const { functions } of program.files.values()) {
    const lookers = functions.filter(({ body }) => body.some(({ text }) => LOOKUP.test(text)));
    if (lookers.length === 0) continue;
    for (const unit of functions) {
      if (owned.has(unit) || !isSuspect(unit, lookers)) continue;
      const { body } = program.parse(unit);
      const read = body === null ? null : physicalRead(body, unit.name);
      if (read !== null) found.push({ unit, place: placeOf(read.token), token: read.token, last: read.last });
    }
  }
  return found;
}

function isSuspect(unit: FunctionUnit, lookers: readonly FunctionUnit[]): boolean {
  const words = new Set(unit.body.map(({ text }) => text));
  if (!words.has('vm_pgoff')) return false;
  if (lookers.includes(unit)) return seesRawPages([unit]);
  if (!unit.params.some(({ type }) => /\bvm_area_struct\b/.test(type))) return false;
  const callers = lookers.filter(({ body }) => body.some(({ text }) => text === unit.name));
  return callers.length > 0 && seesRawPages([unit, ...callers]);
}

/** Whether functions ask for mappings without a struct page, and not for those that remap_pfn_range has numbered. */
function seesRawPages(units: readonly FunctionUnit[]): boolean {
  const words = units.flatMap(({ body }) => body.map(({ text }) => text));
  return words.some((word) => RAW_PAGES.test(word)) && !words.some((word) => COPY_ON_WRITE.test(word));
}

/** The first read of `vm_pgoff` whose value becomes a physical page or address. */
function physicalRead(body: Ast, functionName: string): Ast | null {
  const types = new Map<string, string>();
  /** Variables that hold what was read, with the read. */
  const holds = new Map<string, Ast>();
  let answer: Ast | null = null;

  const assigned = (target: Ast | undefined, value: Ast | undefined): void => {
    if (target === undefined || value === undefined || answer !== null) return;
    const name =
      target.kind === 'field_expression' ? target.fields['field']!.text : target.text.replace(/^\**\s*/, '');
    const read = readOf(value, holds);
    if (read === null) return;
    const isPhysical = PHYSICAL_NAME.test(name) || PHYSICAL_TYPE.test(types.get(name) ?? '');
    if (isPhysical && !isFileOffset(name)) answer = read;
    else if (target.kind === 'identifier') holds.set(name, read);
  };

  const walk = (ast: Ast): void => {
    if (ast.kind === 'declaration') {
      for (const child of ast.children) {
        const name = child.kind === 'init_declarator' ? child.fields['declarator'] : child;
        if (name !== undefined) types.set(name.text.replace(/^\**\s*/, ''), ast.fields['type']?.text ?? '');
      }
    }
    if (ast.kind === 'init_declarator') assigned(ast.fields['declarator'], ast.fields['value']);
    if (ast.kind === 'assignment_expression') assigned(ast.fields['left'], ast.fields['right']);
    if (ast.kind === 'call_expression') {
      const argument = mappedArgument(ast.fields['function']?.text ?? '');
      if (argument !== null) answer ??= readOf(ast.fields['arguments']?.children[argument], holds);
    }
    if (ast.kind === 'return_statement' && PHYSICAL_NAME.test(functionName))
      answer ??= readOf(ast.children[0], holds);
    for (const child of ast.children) walk(child);
  };
  walk(body);
  return answer;
}

const isFileOffset = (name: string): boolean => /off|index|idx/.test(name);

/** The read of `vm_pgoff` that an arithmetic expression is made of, by itself or through a variable. */
function readOf(ast: Ast | undefined, holds: ReadonlyMap<string, Ast>): Ast | null {
  if (ast === undefined) return null;
  if (ast.kind === 'field_expression') return ast.fields['field']?.text === 'vm_pgoff' ? ast : null;
  if (ast.kind === 'identifier') return holds.get(ast.text) ?? null;
  if (
    ast.kind === 'call_expression' &&
    !/^(PFN_PHYS|__pfn_to_phys)$/.test(ast.fields['function']?.text ?? '')
  )
    return null;
  for (const child of ast.children) {
    const read = readOf(child, holds);
    if (read !== null) return read;
  }
  return null;
}
