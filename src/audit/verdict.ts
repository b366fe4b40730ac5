/*
 * The answers for one handler: how it leaves `vm_pgoff`, how it finds the region, how it maps, what its fault handler
 * goes by, and whether the request is held inside the region. Each is read off the paths on which the call succeeds.
 */
import {
  boundOf,
  type Coding,
  codingOf,
  type Decode,
  decodeOf,
  type FaultFrom,
  faultSource,
  isRegionIndex,
  regionOf,
  requiresShared,
} from './classify.ts';
import { signOf, truthOf } from './conditions.ts';
import { VM_OPS, VM_OPS_DELEGATED } from './evaluate.ts';
import { argumentsOf, Executor } from './execute.ts';
import type { Frame } from './frame.ts';
import type { Candidate, Registration, Role } from './handlers.ts';
import { CHECKS_SIZE } from './known-calls.ts';
import { Program } from './program.ts';
import { State, type Write } from './state.ts';
import type { Place } from './tokens.ts';
import type { FunctionUnit } from './units.ts';
import { binaryValue, mentionsPgoff, numberValue, type Value } from './value.ts';

export interface Bounds {
  readonly size: boolean;
  readonly shared: boolean;
  readonly overflow: boolean;
}

export type MappingTime = 'at-mmap' | 'fault' | 'both' | 'delegated' | 'none';

/** All that was found out about a handler but what its driver zaps. */
export interface HandlerAnalysis {
  readonly unit: FunctionUnit;
  readonly role: Role;
  readonly registrations: readonly Registration[];
  readonly coding: Coding;
  readonly write: Write | null;
  readonly decode: Decode;
  readonly decodeAt: Place | null;
  readonly mapping: MappingTime;
  readonly mappedAt: Place | null;
  /** What is mapped on all paths, to compare with. */
  readonly mapped: string;
  readonly faultFrom: FaultFrom | null;
  readonly faultUnits: readonly FunctionUnit[];
  readonly bounds: Bounds;
  /** The condition whose arithmetic wraps, or the first call that maps what was not checked. */
  readonly boundsAt: Place | null;
  /** Every region that it maps has a smaller index; null when that is not known. */
  readonly regionsBelow: number | null;
  /** Hands the VMA to a pointer and does nothing else. */
  readonly isDispatcher: boolean;
  /** Whether VM_SHARED holds wherever it hands the VMA on through a pointer. */
  readonly dispatchesShared: boolean;
  readonly visited: ReadonlySet<FunctionUnit>;
  /** False when the handler calls more than could be followed. */
  readonly isComplete: boolean;
}

interface Path {
  readonly state: State;
  readonly value: Value;
}

const SEVERITY: readonly Coding[] = ['kept', 'own', 'pfn'];

export function analyzeHandler(
  program: Program,
  candidate: Candidate,
  all: ReadonlySet<FunctionUnit>,
): HandlerAnalysis {
  const { unit, role, registrations } = candidate;
  const executor = new Executor(program, (other) => all.has(other));
  const paths = executor.run(unit, argumentsOf(unit), new State(), null).filter(succeeds);

  let coding: Coding = 'kept';
  let write: Write | null = null;
  for (const { state } of paths) {
    const found = codingOf(state.pgoff);
    if (SEVERITY.indexOf(found) > SEVERITY.indexOf(coding)) {
      coding = found;
      write = state.write;
    }
  }

  const fault = analyzeFault(program, paths, all);
  const usesStart = fault.from === 'region' || fault.from === 'pgoff-as-pfn';
  const decode = decodeFrom(executor, program, unit, paths);
  const bounds = boundsOf(paths, usesStart, decode.isFixed);
  const own = paths.flatMap(({ state }) => state.mappings.filter(({ isDelegated }) => !isDelegated));
  const delegated = paths.some(
    ({ state }) =>
      state.delegations.length > 0 ||
      state.mappings.some(({ isDelegated }) => isDelegated) ||
      (state.memory.has(VM_OPS) && state.memory.get(VM_OPS_DELEGATED)?.number === 1),
  );
  const mapping: MappingTime =
    own.length > 0
      ? fault.isOwn
        ? 'both'
        : 'at-mmap'
      : fault.isOwn
        ? 'fault'
        : delegated || callsHandler(executor.visited, unit, all)
          ? 'delegated'
          : 'none';
  const handsOn =
    callsHandler(executor.visited, unit, all) ||
    paths.some(({ state }) => state.delegations.some(({ name }) => name !== 'mmap'));
  const dispatching = paths.filter(({ state }) => state.delegations.length > 0);
  return {
    unit,
    role,
    registrations,
    coding,
    write,
    decode: decode.decode === 'none' && mapping === 'delegated' && handsOn ? 'helper' : decode.decode,
    decodeAt: decode.at,
    mapping,
    mappedAt: own[0]?.place ?? null,
    mapped: [
      ...new Set(
        paths.flatMap(({ state }) => state.mappings.map(({ name, pages }) => `${name} ${pages.key}`)),
      ),
    ]
      .sort()
      .join('\n'),
    faultFrom: fault.from,
    faultUnits: fault.units,
    bounds: bounds.bounds,
    boundsAt: bounds.at,
    regionsBelow: highestRegion(paths, program, unit.file.path),
    isDispatcher: mapping === 'delegated' && dispatching.length > 0 && !handsOn,
    dispatchesShared:
      dispatching.length > 0 &&
      dispatching.every(({ state }) => [...state.facts.values()].some(requiresShared)),
    visited: new Set([...executor.visited, ...fault.visited]),
    isComplete: !executor.isCutShort && executor.visited.size > 0 && program.parse(unit).body !== null,
  };
}

const callsHandler = (
  visited: ReadonlySet<FunctionUnit>,
  unit: FunctionUnit,
  all: ReadonlySet<FunctionUnit>,
): boolean => [...visited].some((other) => other !== unit && all.has(other));

/** Whether mmap() can have succeeded at the end of a path. */
function succeeds({ state, value }: Path): boolean {
  if (signOf(value) === -1) return false;
  if (value.op === 'number') return value.number === 0;
  if (truthOf(value, state.facts) === true) return false;
  return state.facts.get(binaryValue('<', value, numberValue(0)).key)?.truth !== true;
}

interface FaultAnalysis {
  readonly from: FaultFrom | null;
  readonly isOwn: boolean;
  readonly units: readonly FunctionUnit[];
  readonly visited: ReadonlySet<FunctionUnit>;
}

const FAULT_FIELDS = ['fault', 'huge_fault', 'map_pages', 'pfn_mkwrite'];
const WORST_FIRST: readonly FaultFrom[] = ['pgoff-as-pfn', 'region', 'own'];

/** Runs the fault handlers of every vm_operations_struct that the paths leave in the VMA. */
function analyzeFault(
  program: Program,
  paths: readonly Path[],
  all: ReadonlySet<FunctionUnit>,
): FaultAnalysis {
  const found = new Set<FaultFrom>();
  const units = new Set<FunctionUnit>();
  const visited = new Set<FunctionUnit>();
  let isOwn = false;
  const names = new Map<string, boolean>();
  for (const { state } of paths) {
    const ops = state.memory.get(VM_OPS);
    if (ops === undefined) continue;
    const name = (ops.op === 'address' ? ops.args[0]! : ops).name;
    const isDelegated = state.memory.get(VM_OPS_DELEGATED)?.number === 1;
    names.set(name, (names.get(name) ?? true) && isDelegated);
  }
  for (const [name, isDelegated] of names) {
    for (const field of FAULT_FIELDS) {
      for (const given of program.fieldValues(field)) {
        if (given.structType !== 'vm_operations_struct' || given.variable !== name) continue;
        for (const { text } of given.value.filter(({ kind }) => kind === 'word')) {
          for (const unit of program.functionsNamed(text, given.token.file.path)) {
            units.add(unit);
            if (!isDelegated) isOwn = true;
            const executor = new Executor(program, (other) => all.has(other));
            for (const { state } of executor.run(unit, argumentsOf(unit), new State(), null)) {
              for (const { pages } of state.mappings) found.add(faultSource(pages));
              const page = state.memory.get('field:page(vmf:)');
              if (page !== undefined && page.op !== 'number') found.add(faultSource(page));
            }
            for (const seen of executor.visited) visited.add(seen);
          }
        }
      }
    }
  }
  const from = WORST_FIRST.find((one) => found.has(one)) ?? (units.size > 0 ? 'own' : null);
  return { from, isOwn, units: [...units], visited };
}

interface DecodeAnalysis {
  readonly decode: Decode;
  readonly at: Place | null;
  /** Only one offset is taken. */
  readonly isFixed: boolean;
}

function decodeFrom(
  executor: Executor,
  program: Program,
  unit: FunctionUnit,
  paths: readonly Path[],
): DecodeAnalysis {
  let helper: Place | null = null;
  let shift: Place | null = null;
  let fixed: Place | null = null;
  for (const seen of executor.observations) {
    const found = decodeOf(seen, program);
    if (found === null) continue;
    if (found === 'own') return { decode: 'own', at: seen.place, isFixed: false };
    if (found === 'fixed') fixed ??= seen.place;
    else if (isOfDriver(seen.frame, seen.macroFile, unit)) shift ??= seen.place;
    else helper ??= seen.place;
  }
  const isMacro = paths.length > 0 && executor.usesOffsetMacro;
  if (shift !== null) return { decode: 'offset-shift', at: shift, isFixed: false };
  if (helper !== null || isMacro) return { decode: 'helper', at: helper, isFixed: false };
  if (fixed !== null) return { decode: 'own', at: fixed, isFixed: true };
  return { decode: 'none', at: null, isFixed: false };
}

/** Whether code stands in the driver, and not in what the subsystem offers to all drivers. */
function isOfDriver(frame: Frame, macroFile: string, unit: FunctionUnit): boolean {
  if (macroFile !== '' && macroFile !== unit.file.path && Program.isSubsystem(macroFile)) return false;
  const { path } = frame.unit.file;
  return path === unit.file.path || !Program.isSubsystem(path);
}

function boundsOf(
  paths: readonly Path[],
  faultUsesStart: boolean,
  isFixed: boolean,
): { bounds: Bounds; at: Place | null } {
  let size = true;
  let shared = true;
  let overflow = false;
  let at: Place | null = null;
  for (const { state } of paths) {
    const maps = state.mappings.length > 0 || state.memory.has(VM_OPS);
    if (!maps) continue;
    const facts = [...state.facts.values()];
    if (!facts.some(requiresShared)) shared = false;
    const usesStart = faultUsesStart || state.mappings.some(({ pages }) => mentionsPgoff(pages));
    const bounds = facts.map((fact) => ({ fact, bound: boundOf(fact, state.facts) }));
    const good = bounds.filter(({ bound }) => bound !== null && (bound.hasStart || isFixed || !usesStart));
    const isChecked = state.mappings.some(({ name }) => CHECKS_SIZE.test(name));
    if (good.length === 0 && !isChecked) {
      size = false;
      at ??= state.mappings[0]?.place ?? null;
    }
    if (good.length > 0 && good.every(({ bound }) => bound!.wraps)) {
      overflow = true;
      at ??= good[0]!.fact.value.place ?? null;
    }
  }
  return { bounds: { size, shared, overflow }, at };
}

/** The first region index that no path maps, as far as comparisons of the index with constants say it. */
function highestRegion(paths: readonly Path[], program: Program, file: string): number | null {
  let highest: number | null = 0;
  for (const { state } of paths) {
    if (state.mappings.length === 0 && !state.memory.has(VM_OPS)) continue;
    let below: number | null = null;
    for (const { value, truth } of state.facts.values()) {
      if (value.op !== 'binary' || !truth || !isRegionIndex(value.args[0]!)) continue;
      const limit = regionOf(value.args[1]!, program, file);
      if (limit === null) continue;
      const end = value.name === '<' ? limit : limit + 1;
      below = below === null ? end : Math.min(below, end);
    }
    if (below === null) return null;
    highest = Math.max(highest, below);
  }
  return highest === 0 ? null : highest;
}
