/*
 * One audit: collects files, finds the handlers, judges each, and says what it could not read.
 */
import { type Collected, collect } from './collect.ts';
import { type Consumer, findConsumers } from './consumers.ts';
import { applyEdits, type Edit, type Fix, fixOverwrite } from './fix.ts';
import { findCandidates, type Role } from './handlers.ts';
import { FunctionParser } from './parser.ts';
import { Program } from './program.ts';
import { consumerFinding, type Finding, handlerFindings } from './rules.ts';
import { changedLines, type LineRanges, touches } from './since.ts';
import { fingerprint, isIgnored, readBaseline } from './suppress.ts';
import { type Place, type SourceFile, sourceFile } from './tokens.ts';
import type { FunctionUnit } from './units.ts';
import { analyzeHandler, type Bounds, type HandlerAnalysis, type MappingTime } from './verdict.ts';
import { ZapFinder, type ZapVerdict } from './zap.ts';

export interface AuditOptions {
  /** A kernel tree, folders or files of one. */
  readonly paths: readonly string[];
  /** Only these rules. Default: all. */
  readonly rules?: readonly string[];
  /** A git revision or range: only handlers that it touches. */
  readonly since?: string;
  /** A file that `--json` wrote before: its findings are not reported again. */
  readonly baseline?: string;
  /** Told what is being done, now and then. */
  readonly progress?: (text: string) => void;
}

/** The answers for one handler, as `--json` has them. */
export interface HandlerReport {
  readonly file: string;
  readonly function: string;
  readonly line: number;
  readonly role: Role;
  readonly registered: readonly string[];
  readonly coding: HandlerAnalysis['coding'];
  readonly codingAt: Place | null;
  readonly decode: HandlerAnalysis['decode'];
  readonly decodeAt: Place | null;
  readonly mapping: MappingTime;
  readonly mappedAt: Place | null;
  readonly faultFrom: HandlerAnalysis['faultFrom'];
  readonly zap: ZapVerdict;
  readonly zapAt: Place | null;
  readonly bounds: Bounds;
  /** False when not all that it calls could be followed: the verdict may miss something. */
  readonly complete: boolean;
}

export interface ConsumerReport extends Place {
  readonly function: string;
}

/** How much of what mattered could be read. */
export interface Coverage {
  /** Functions that have to do with a VMA. */
  readonly functions: number;
  readonly parsed: number;
  /** Those that are beyond the grammar, at least in part. */
  readonly failed: readonly ConsumerReport[];
}

export interface AuditReport {
  readonly root: string;
  readonly files: { readonly searched: number; readonly read: number };
  readonly coverage: Coverage;
  readonly handlers: readonly HandlerReport[];
  /** Functions that only hand a VMA on to a handler. */
  readonly dispatchers: readonly ConsumerReport[];
  readonly consumers: readonly ConsumerReport[];
  readonly findings: readonly Finding[];
  /** Findings that a comment or the baseline has taken out. */
  readonly suppressed: number;
}

export interface Audit {
  readonly report: AuditReport;
  /** Text of each file that has a finding, to quote from. */
  readonly texts: ReadonlyMap<string, string>;
  /** What can be done about findings mechanically, and why not. */
  readonly fixes: readonly Fix[];
}

const OF_INTEREST =
  /^(vm_area_struct|vm_fault|vm_pgoff|vm_operations_struct|unmap_mapping_\w+|zap_vma\w*|\w*remap_pfn_range)$/;

/** Rejects with a VfioError that says what to do: ENOENT, EINVAL, EIO from git. */
export async function audit(options: AuditOptions): Promise<Audit> {
  const progress = options.progress ?? (() => {});
  const baseline = options.baseline === undefined ? null : readBaseline(options.baseline);
  const collected = collect(options.paths, progress);
  const changed = options.since === undefined ? null : await changedLines(collected.root, options.since);
  progress(`reading ${collected.sources.length} files`);
  const parser = await FunctionParser.load();
  const program = new Program(collected.sources, parser);
  const candidates = findCandidates(program);
  const units = new Set(candidates.map(({ unit }) => unit));
  const analyses = candidates.map((candidate) => {
    progress(`following ${candidate.unit.name}`);
    return analyzeHandler(program, candidate, units);
  });
  const shared = inheritShared(analyses);
  const zaps = new ZapFinder(program);
  const seen = new Set(analyses.flatMap(({ visited }) => [...visited]));
  const judged = analyses
    .filter(({ isDispatcher }) => !isDispatcher)
    .map((analysis) => ({ analysis: shared(analysis), zap: zaps.analyze(analysis) }))
    .filter(({ analysis, zap }) => {
      const involved = [...analysis.visited, ...zap.units, ...analysis.faultUnits];
      const registered = analysis.registrations.map(({ place }) => ({ ...place, endLine: place.line }));
      return isWanted([...involved.map(spanOf), ...registered], collected, changed);
    });
  const consumers = findConsumers(program, seen).filter(({ unit }) =>
    isWanted([spanOf(unit)], collected, changed),
  );

  const all = [
    ...judged.flatMap(({ analysis, zap }) => handlerFindings(analysis, zap)),
    ...consumers.map(consumerFinding),
  ];
  const sources = new Map(collected.sources.map((source) => [source.path, source]));
  const files = new Map(judged.map(({ analysis }) => [analysis.unit.name, analysis.unit.file.path]));
  const wanted = once(all, (handler) => files.get(handler)).filter(
    ({ rule }) => options.rules === undefined || options.rules.includes(rule),
  );
  const findings = wanted.filter(
    (finding) => !isIgnored(finding, sources) && baseline?.has(fingerprint(finding)) !== true,
  );
  const fixes = judged
    .map(({ analysis }) => analysis)
    .filter(({ unit, write }) => write !== null && isReported(findings, unit))
    .map((analysis) =>
      fixOverwrite(analysis, program, (path, edits) =>
        judgeEdited(analysis, collected.sources, parser, path, edits),
      ),
    );
  return {
    report: {
      root: collected.root,
      files: { searched: collected.searched, read: collected.sources.length },
      coverage: coverageOf(program, seen),
      handlers: judged.map(({ analysis, zap }) => ({
        file: analysis.unit.file.path,
        function: analysis.unit.name,
        line: analysis.unit.line,
        role: analysis.role,
        registered: analysis.registrations.map(
          ({ structType, variable, place }) =>
            `${analysis.unit.name} is .mmap of ${structType} ${variable} (${place.file}:${place.line})`,
        ),
        coding: analysis.coding,
        codingAt: analysis.write?.place ?? null,
        decode: analysis.decode,
        decodeAt: analysis.decodeAt,
        mapping: analysis.mapping,
        mappedAt: analysis.mappedAt,
        faultFrom: analysis.faultFrom,
        zap: zap.zap,
        zapAt: zap.at,
        bounds: analysis.bounds,
        complete: analysis.isComplete,
      })),
      dispatchers: analyses.filter(({ isDispatcher }) => isDispatcher).map(({ unit }) => placeOfUnit(unit)),
      consumers: consumers.map(asReport),
      findings,
      suppressed: wanted.length - findings.length,
    },
    texts: new Map(findings.map(({ file }) => [file, sources.get(file)?.text ?? ''])),
    fixes: onceByPlace(fixes),
  };
}

const placeOfUnit = (unit: FunctionUnit): ConsumerReport => ({
  file: unit.file.path,
  line: unit.line,
  function: unit.name,
});
const asReport = ({ unit, place }: Consumer): ConsumerReport => ({ ...place, function: unit.name });

/** The verdict on a handler when one of its files had been edited. */
function judgeEdited(
  { unit, visited, registrations }: HandlerAnalysis,
  sources: readonly SourceFile[],
  parser: FunctionParser,
  path: string,
  edits: readonly Edit[],
): HandlerAnalysis | null {
  const needed = new Set([...visited].map(({ file }) => file.path));
  for (const { place } of registrations) needed.add(place.file);
  const own = sources
    .filter((source) => needed.has(source.path) || source.path.endsWith('.h'))
    .map((source) => (source.path === path ? sourceFile(path, applyEdits(source.text, edits)) : source));
  const program = new Program(own, parser);
  const candidates = findCandidates(program);
  const edited = candidates.find(
    (one) => one.unit.name === unit.name && one.unit.file.path === unit.file.path,
  );
  return edited === undefined
    ? null
    : analyzeHandler(program, edited, new Set(candidates.map((one) => one.unit)));
}

interface Span extends Place {
  readonly endLine: number;
}

const spanOf = ({ file, line, endLine }: FunctionUnit): Span => ({ file: file.path, line, endLine });

/** Whether a user who named files or a range of commits asked for something in these places. */
function isWanted(spans: readonly Span[], { named }: Collected, changed: LineRanges | null): boolean {
  const isNamed = named === null || spans.some(({ file }) => named.has(file));
  return isNamed && (changed === null || spans.some((span) => touches(changed, span)));
}

/** A handler of a region gets its VMA from a dispatcher, which may have required VM_SHARED already. */
function inheritShared(analyses: readonly HandlerAnalysis[]): (analysis: HandlerAnalysis) => HandlerAnalysis {
  const dispatchers = analyses.filter(({ role, mapping, dispatchesShared, unit }) => {
    return role === 'vfio_device_ops' && mapping !== 'none' && dispatchesShared && unit !== undefined;
  });
  return (analysis) =>
    analysis.role === 'vfio_pci_regops' && dispatchers.length > 0
      ? { ...analysis, bounds: { ...analysis.bounds, shared: true } }
      : analysis;
}

/** Handlers that share a helper find the same thing there: one finding, under the handler that is nearest. */
function once(findings: readonly Finding[], fileOf: (handler: string) => string | undefined): Finding[] {
  const byPlace = new Map<string, Finding>();
  for (const finding of findings) {
    const key = `${finding.rule} ${finding.file} ${finding.line} ${finding.column}`;
    const before = byPlace.get(key);
    if (before === undefined) {
      byPlace.set(key, finding);
      continue;
    }
    const handlers = [...new Set([...before.handlers, ...finding.handlers])];
    const nearest = fileOf(finding.function) === finding.file ? finding : before;
    byPlace.set(key, { ...nearest, handlers });
  }
  return [...byPlace.values()];
}

function onceByPlace(fixes: readonly Fix[]): Fix[] {
  return [...new Map(fixes.map((fix) => [`${fix.place.file}:${fix.place.line}`, fix])).values()];
}

const isReported = (findings: readonly Finding[], unit: FunctionUnit): boolean =>
  findings.some(({ rule, handlers }) => rule === 'pgoff-overwritten' && handlers.includes(unit.name));

function coverageOf(program: Program, visited: ReadonlySet<FunctionUnit>): Coverage {
  let functions = 0;
  const failed: ConsumerReport[] = [];
  for (const file of program.files.values()) {
    for (const unit of file.functions) {
      const isOfInterest =
        visited.has(unit) ||
        unit.params.some(({ type }) => type.split(' ').some((word) => OF_INTEREST.test(word))) ||
        unit.body.some(({ text }) => OF_INTEREST.test(text));
      if (!isOfInterest) continue;
      functions++;
      if (program.parse(unit).hasError) failed.push(placeOfUnit(unit));
    }
  }
  return { functions, parsed: functions - failed.length, failed };
}
