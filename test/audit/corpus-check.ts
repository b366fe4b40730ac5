/*
 * Says what is wrong with the auditor's corpus, one sentence each: fields with unknown values, findings that do not
 * follow from the fields, lines that do not say what they are cited for.
 */
import {
  type DriverEntry,
  isPart,
  type KernelTable,
  type Mutation,
  mutated,
  type Place,
  RULES,
  type RuleName,
  type Verdict,
} from './corpus.ts';

const VALUES: Readonly<Record<string, readonly (string | null)[]>> = {
  role: ['vfio_device_ops', 'vfio_pci_regops', 'mdev', 'file_operations'],
  coding: ['kept', 'pfn', 'own'],
  decode: ['offset-shift', 'helper', 'own', 'none'],
  mapping: ['at-mmap', 'fault', 'both', 'delegated', 'none'],
  faultFrom: ['region', 'pgoff-as-pfn', 'own', null],
  zap: ['hits', 'misses', 'never'],
};

/** The text of a file, or undefined where the sources at hand do not have it. */
export type Reader = (file: string) => string | undefined;

/** The line at a place; undefined where there is no such file, empty where there is no such line. */
function lineAt(read: Reader, place: Place): string | undefined {
  const text = read(place.file);
  return text === undefined ? undefined : (text.split('\n')[place.line - 1] ?? '');
}

/** The rules that a verdict breaks by its fields, before any suppression. */
export function brokenRules(verdict: Verdict): RuleName[] {
  const rules: RuleName[] = [];
  if (verdict.coding === 'pfn') rules.push('pgoff-overwritten');
  if (verdict.zap === 'misses') rules.push('zap-misses-mappings');
  if (verdict.coding === 'own') rules.push('pgoff-own-coding');
  if (verdict.decode === 'own') rules.push('decode-own-scheme');
  if (verdict.bounds?.size === false) rules.push('bounds-size-unchecked');
  if (verdict.bounds?.shared === false) rules.push('bounds-shared-unchecked');
  if (verdict.bounds?.overflow === true) rules.push('bounds-overflow');
  return rules;
}

function fieldProblems(verdict: Verdict): string[] {
  const name = `${verdict.file} ${verdict.function}`;
  const problems: string[] = [];
  for (const [field, known] of Object.entries(VALUES)) {
    const value = (verdict as unknown as Record<string, string | null | undefined>)[field];
    if (value !== undefined && !known.includes(value)) problems.push(`${name}: ${field} is ${value}`);
  }
  if ((verdict.codingAt === null) !== (verdict.coding === 'kept')) {
    problems.push(`${name}: codingAt names the write of a coding that is not kept, and only that`);
  }
  const faults = verdict.mapping === 'fault' || verdict.mapping === 'both';
  if (faults && verdict.faultFrom === null) problems.push(`${name}: a fault handler without faultFrom`);
  if (verdict.mapping === 'at-mmap' && verdict.faultFrom) problems.push(`${name}: faultFrom without faults`);
  return problems;
}

const sorted = (rules: Iterable<string>): string => [...new Set(rules)].toSorted().join(' ');

/** What a table of a kernel says that cannot be, without its sources. */
export function tableProblems(table: KernelTable): string[] {
  return table.handlers.flatMap((handler) => {
    const problems = fieldProblems(handler);
    const name = `${handler.file} ${handler.function}`;
    if (handler.registered.length === 0) problems.push(`${name}: nobody registers it`);
    if (!/\d/.test(handler.why)) problems.push(`${name}: why names no line`);
    if (sorted(handler.findings) !== sorted(brokenRules(handler))) {
      problems.push(`${name}: findings ${sorted(handler.findings)} do not follow from its fields`);
    }
    return problems;
  });
}

/** What a table says of lines that the sources do not bear out. Files that are not at hand are passed over. */
export function sourceProblems(table: KernelTable, read: Reader): string[] {
  const problems: string[] = [];
  const expect = (place: Place, ...needed: string[]): void => {
    const line = lineAt(read, place);
    if (line === undefined) return;
    for (const word of needed) {
      if (!line.includes(word)) problems.push(`${place.file}:${place.line} has no ${word}: ${line.trim()}`);
    }
  };
  const defined = (file: string, name: string): void => {
    const text = read(file);
    if (text !== undefined && !new RegExp(`\\b${name}\\(`).test(text)) problems.push(`${file}: no ${name}`);
  };
  for (const handler of table.handlers) {
    if (read(handler.file) === undefined) problems.push(`${handler.file}: not in the sources`);
    defined(handler.file, handler.function);
    if (handler.codingAt) expect(handler.codingAt, 'vm_pgoff');
    for (const place of handler.registered) {
      expect(place, '.mmap', handler.function);
      if (!read(place.file)?.includes(place.ops)) problems.push(`${place.file}: no ${place.ops}`);
    }
  }
  for (const place of table.dispatchers) expect(place, 'mmap(');
  for (const place of table.withoutMmap) expect(place, place.ops);
  for (const place of table.notHandlers) expect(place, place.function);
  for (const place of [...table.consumers, ...table.notConsumers]) expect(place, 'vm_pgoff');
  for (const group of [table.dispatchers, table.notHandlers, table.consumers, table.notConsumers]) {
    for (const entry of group) defined(entry.file, entry.function);
  }
  return problems;
}

/** What one entry of the drivers says that its files do not bear out. */
export function driverProblems(file: string, entry: DriverEntry, read: Reader): string[] {
  const problems = entry.handlers.flatMap(fieldProblems);
  const files = [file, ...(entry.with ?? [])];
  const places = [
    ...entry.consumers,
    ...entry.findings,
    ...entry.handlers.map((handler) => handler.codingAt),
  ];
  for (const place of places) {
    if (place === null) continue;
    if (!files.includes(place.file)) problems.push(`${file}: ${place.file} is not one of its files`);
    if (place.line === undefined) continue;
    const line = lineAt(read, { file: place.file, line: place.line });
    if (!line?.trim()) problems.push(`${file}: ${place.file}:${place.line} is empty`);
  }
  for (const handler of entry.handlers) {
    if (!read(handler.file)?.includes(handler.function)) {
      problems.push(`${file}: ${handler.file} has no ${handler.function}`);
    }
  }
  const found = sorted(entry.findings.map((finding) => finding.rule));
  const broken = sorted([
    ...entry.handlers.flatMap(brokenRules),
    ...entry.consumers.map(() => 'pgoff-read-as-pfn'),
  ]);
  const silenced = /vfio-audit: ignore ([\w-]+)/.exec(read(file) ?? '')?.[1];
  const left = sorted(broken.split(' ').filter((rule) => rule !== silenced && rule !== ''));
  if (found !== left) problems.push(`${file}: findings '${found}' do not follow from its fields ('${left}')`);
  return problems;
}

/** What is wrong with an edit: it must apply, change something, and break a rule that the file kept. */
export function mutationProblems(mutation: Mutation, entry: DriverEntry | undefined, read: Reader): string[] {
  const name = `${mutation.file} (${mutation.why})`;
  const text = read(mutation.file);
  if (text === undefined || entry === undefined || isPart(entry)) return [`${name}: no such driver`];
  const problems: string[] = [];
  try {
    const after = mutated(mutation, text);
    if (after === text) problems.push(`${name}: changes nothing`);
    if (!after.includes(mutation.expect.function)) problems.push(`${name}: no ${mutation.expect.function}`);
  } catch (error) {
    problems.push((error as Error).message);
  }
  for (const rule of mutation.expect.rules) {
    if (!RULES.includes(rule)) problems.push(`${name}: no rule ${rule}`);
    if (entry.findings.some((finding) => finding.rule === rule))
      problems.push(`${name}: ${rule} was broken before`);
  }
  if (mutation.expect.rules.length === 0) problems.push(`${name}: breaks no rule`);
  return problems;
}
