/*
 * Whether a driver ever takes its mappings away, and whether it finds them: by a range of file offsets, which must be in
 * the numbers that the VMAs have in `vm_pgoff`, or by a list of VMAs, which must hold them.
 */
import { dirname } from 'node:path/posix';
import { type ZapRange, zapRange } from './classify.ts';
import { argumentsOf, Executor } from './execute.ts';
import { RANGE_ZAP, VMA_ZAP } from './known-calls.ts';
import { Program } from './program.ts';
import { State } from './state.ts';
import type { Place } from './tokens.ts';
import type { FunctionUnit } from './units.ts';
import type { HandlerAnalysis } from './verdict.ts';

export type ZapVerdict = 'hits' | 'misses' | 'never';

export interface ZapAnalysis {
  readonly zap: ZapVerdict;
  /** The call that counted. */
  readonly at: Place | null;
  readonly units: readonly FunctionUnit[];
}

interface FoundZap {
  readonly kind: ZapRange | 'list';
  /** The first region of the range, where it is a constant. */
  readonly firstRegion: number | null;
  readonly place: Place;
  readonly unit: FunctionUnit;
}

const LIST_ADD = /^(list_add\w*|hlist_add\w*|xa_store|xa_alloc|radix_tree_insert|mtree_store)$/;
const MOST_OWNER_FILES = 200;

export class ZapFinder {
  readonly #program: Program;
  /** Zaps by file, once they were looked for. */
  readonly #found = new Map<string, readonly FoundZap[]>();
  readonly #uses = new Map<string, ReadonlySet<string>>();
  readonly #wrappers = new Set<string>();

  constructor(program: Program) {
    this.#program = program;
    for (const file of program.files.values()) {
      for (const unit of file.functions) {
        const callsZap = unit.body.some(({ text }) => RANGE_ZAP.test(text));
        if (callsZap && this.#zapsOf(unit).isWrapper) this.#wrappers.add(unit.name);
      }
    }
  }

  analyze(handler: HandlerAnalysis): ZapAnalysis {
    const owner = this.#owner(handler);
    const zaps = owner.flatMap((path) => this.#zapsIn(path));
    const lists = zaps.filter(({ kind }) => kind === 'list');
    if (lists.length > 0 && this.#isListed(handler, owner)) return answer('hits', lists[0]!);
    const ranges = zaps.filter(({ kind }) => kind !== 'list');
    const hit = ranges.find((found) => isHit(found, handler));
    if (hit !== undefined) return answer('hits', hit);
    if (ranges.length > 0 && !reachesOnlyRegions(handler)) return answer('misses', ranges[0]!);
    return { zap: 'never', at: null, units: [] };
  }

  /** The files of a driver: where its handler and its operations are, and what they use, in their folder or in VFIO. */
  #owner(handler: HandlerAnalysis): string[] {
    const start = [handler.unit.file.path, ...handler.registrations.map(({ place }) => place.file)];
    // A handler that many drivers register is judged by the files that it needs itself.
    const first = handler.registrations.length > 1 ? [handler.unit.file.path] : start;
    const folders = new Set(first.map((path) => dirname(path)));
    const seen = new Set(first);
    const queue = [...first];
    for (let path = queue.pop(); path !== undefined && seen.size < MOST_OWNER_FILES; path = queue.pop()) {
      for (const used of this.#usedFiles(path)) {
        if (seen.has(used) || !(folders.has(dirname(used)) || Program.isSubsystem(used))) continue;
        seen.add(used);
        queue.push(used);
      }
    }
    return [...seen];
  }

  #usedFiles(path: string): ReadonlySet<string> {
    let used = this.#uses.get(path);
    if (used !== undefined) return used;
    const found = new Set<string>();
    const names = new Set<string>();
    for (const { kind, text } of this.#program.files.get(path)?.preprocessed.tokens ?? []) {
      if (kind === 'word') names.add(text);
    }
    for (const name of names) {
      for (const unit of this.#program.functionsNamed(name, path)) found.add(unit.file.path);
    }
    used = found;
    this.#uses.set(path, used);
    return used;
  }

  #zapsIn(path: string): readonly FoundZap[] {
    let found = this.#found.get(path);
    if (found === undefined) {
      found = (this.#program.files.get(path)?.functions ?? [])
        .filter(({ body }) =>
          body.some(({ text }) => RANGE_ZAP.test(text) || VMA_ZAP.test(text) || this.#wrappers.has(text)),
        )
        .flatMap((unit) => this.#zapsOf(unit).zaps);
      this.#found.set(path, found);
    }
    return found;
  }

  #zapsOf(unit: FunctionUnit): { zaps: FoundZap[]; isWrapper: boolean } {
    const executor = new Executor(this.#program, () => false);
    executor.run(unit, argumentsOf(unit), new State(), null);
    const zaps: FoundZap[] = [];
    let isWrapper = false;
    for (const { name, args, place } of executor.zaps) {
      if (VMA_ZAP.test(name)) {
        // Its own VMA, in an error path or when a process forks: that takes nothing away from anybody.
        if (args[0] !== undefined && args[0].op !== 'vma')
          zaps.push({ kind: 'list', firstRegion: null, place, unit });
        continue;
      }
      const [, start, length] = args;
      const range =
        start === undefined || length === undefined
          ? null
          : zapRange(
              start,
              length,
              name === 'unmap_mapping_pages' ? 'pages' : 'bytes',
              this.#program,
              unit.file.path,
            );
      if (range === null) isWrapper = true;
      else zaps.push({ kind: range.range, firstRegion: range.firstRegion, place, unit });
    }
    return { zaps, isWrapper };
  }

  /** Whether what a handler maps gets onto the list; where nobody is seen to fill it, it is taken for granted. */
  #isListed(handler: HandlerAnalysis, owner: readonly string[]): boolean {
    const adders = owner.flatMap((path) =>
      (this.#program.files.get(path)?.functions ?? []).filter(
        ({ params, body }) =>
          params.some(({ type }) => /\bvm_(area_struct|fault)\b/.test(type)) &&
          body.some(({ text }) => LIST_ADD.test(text)),
      ),
    );
    return adders.length === 0 || adders.some((unit) => handler.visited.has(unit));
  }
}

/** Regions of their own, which are no BARs: a zap of the BARs is right to leave them alone. */
const reachesOnlyRegions = (handler: HandlerAnalysis): boolean => handler.role === 'vfio_pci_regops';

function isHit({ kind, firstRegion }: FoundZap, { coding, regionsBelow }: HandlerAnalysis): boolean {
  if (kind === 'everything') return true;
  if (kind === 'physical') return coding === 'pfn';
  const isBeyond = firstRegion !== null && regionsBelow !== null && firstRegion >= regionsBelow;
  return kind === 'coding' && coding === 'kept' && !isBeyond;
}

const answer = (zap: ZapVerdict, { place, unit }: FoundZap): ZapAnalysis => ({
  zap,
  at: place,
  units: [unit],
});
