/*
 * What the auditor of kernel sources is measured by. Nothing here comes from running it: the tables of expected/ were
 * found by reading three kernels, the verdicts on drivers/ follow from how each file was written, and run/ confirms
 * them by calling the handlers.
 *
 * How the words are meant where a handler leaves room:
 * - Every field but `mapping` speaks of the whole call: a handler that delegates has the coding, fault, zap and bounds
 *   of what it delegates to, and a check made by its only caller counts.
 * - `codingAt` is the statement in a function; where a macro writes, the line that uses the macro. Of several writes
 *   it is the last that survives a success. What remap_pfn_range does to a private mapping by itself (it stores the pfn)
 *   is not the driver's write.
 * - `overflow` is about values: a sum that a mask or a wide type keeps from wrapping is no overflow.
 * - `zap` of an owner whose zaps leave a kind of mapping out on purpose (the device-specific regions of vfio-pci) is
 *   `never` for that kind. A range of length 0 is everything from its start. A range in one numbering misses mappings
 *   in the other, even where a low physical address would fall into it by luck.
 * - A field that is left out of an entry of drivers/ is not judged: more than one answer would be right.
 * - Each entry of drivers/ is audited by itself, together with the files it names in `with`.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const RULES = [
  'pgoff-overwritten',
  'zap-misses-mappings',
  'pgoff-own-coding',
  'decode-own-scheme',
  'bounds-size-unchecked',
  'bounds-shared-unchecked',
  'bounds-overflow',
  'pgoff-read-as-pfn',
] as const;
export type RuleName = (typeof RULES)[number];

/** A path relative to the tree (or to drivers/) and a line, counted from 1. */
export interface Place {
  readonly file: string;
  readonly line: number;
}

export interface Verdict {
  readonly file: string;
  readonly function: string;
  readonly role: 'vfio_device_ops' | 'vfio_pci_regops' | 'mdev' | 'file_operations';
  readonly coding: 'kept' | 'pfn' | 'own';
  readonly codingAt: Place | null;
  readonly decode?: 'offset-shift' | 'helper' | 'own' | 'none';
  readonly mapping: 'at-mmap' | 'fault' | 'both' | 'delegated' | 'none';
  readonly faultFrom?: 'region' | 'pgoff-as-pfn' | 'own' | null;
  readonly zap?: 'hits' | 'misses' | 'never';
  readonly bounds?: { readonly size: boolean; readonly shared: boolean; readonly overflow: boolean };
}

/** A handler of a kernel: all fields, who registers it, which rules it breaks, and the lines that say so. */
export interface ReadVerdict extends Required<Verdict> {
  readonly registered: readonly (Place & { readonly ops: string })[];
  readonly findings: readonly RuleName[];
  readonly why: string;
}

export interface ReadFunction extends Place {
  readonly function: string;
  readonly why: string;
}

export interface KernelTable {
  readonly version: string;
  /** Debian's package that has the sources. */
  readonly package: string;
  readonly handlers: readonly ReadVerdict[];
  /** Only pass a call on through a table of functions: may be listed as `delegated`, must get no finding. */
  readonly dispatchers: readonly ReadFunction[];
  /** Ops of VFIO without an mmap: nothing to report. */
  readonly withoutMmap: readonly (Place & { readonly ops: string })[];
  /** Look like handlers and map something else. */
  readonly notHandlers: readonly ReadFunction[];
  /** Read vm_pgoff of a VMA that may be VFIO's as a pfn. */
  readonly consumers: readonly ReadFunction[];
  /** Read vm_pgoff of somebody's VMA, and are right to. */
  readonly notConsumers: readonly ReadFunction[];
}

export interface DriverEntry {
  /** The one thing this file is about: its second line. */
  readonly trait: string;
  /** Files that are audited together with this one. */
  readonly with?: readonly string[];
  readonly handlers: readonly Verdict[];
  readonly consumers: readonly (Place & { readonly function: string })[];
  /** All findings; `line` where a rule is about one statement. */
  readonly findings: readonly { readonly rule: RuleName; readonly file: string; readonly line?: number }[];
}

/** A file that is half of another entry. */
export interface DriverPart {
  readonly trait: string;
  readonly partOf: string;
}

/** One edit that breaks a rule which the file kept. At least one of `rules` must be found, and the fields must hold. */
export interface Mutation {
  readonly file: string;
  readonly why: string;
  readonly find: string;
  readonly replace: string;
  readonly expect: Partial<Omit<Verdict, 'bounds'>> & {
    readonly function: string;
    readonly rules: readonly RuleName[];
    readonly bounds?: Partial<NonNullable<Verdict['bounds']>>;
  };
}

export const KERNEL_VERSIONS: readonly string[] = ['5.10', '6.1', '7.3'];
export const AUDIT_FOLDER: string = fileURLToPath(new URL('.', import.meta.url));
export const DRIVERS_FOLDER: string = `${AUDIT_FOLDER}drivers/`;

const parse = (path: string): unknown => JSON.parse(readFileSync(AUDIT_FOLDER + path, 'utf8'));

export function kernelTable(version: string): KernelTable {
  return parse(`expected/linux-${version}.json`) as KernelTable;
}

export function driverEntries(): Readonly<Record<string, DriverEntry | DriverPart>> {
  return parse('drivers/expected.json') as Record<string, DriverEntry | DriverPart>;
}

export function isPart(entry: DriverEntry | DriverPart): entry is DriverPart {
  return 'partOf' in entry;
}

export function mutations(): readonly Mutation[] {
  return parse('mutations.json') as Mutation[];
}

export function driverFiles(): string[] {
  return readdirSync(DRIVERS_FOLDER).filter((name) => name.endsWith('.c'));
}

export function driverText(file: string): string {
  return readFileSync(DRIVERS_FOLDER + file, 'utf8');
}

/** The text after the edit. `find` is in the file exactly once. */
export function mutated(mutation: Mutation, text: string): string {
  const at = text.indexOf(mutation.find);
  if (at < 0 || text.indexOf(mutation.find, at + 1) >= 0) {
    throw new Error(`${mutation.file} (${mutation.why}): the text to replace must be there exactly once`);
  }
  return text.slice(0, at) + mutation.replace + text.slice(at + mutation.find.length);
}
