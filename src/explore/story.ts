/*
 * What all views of a trace share: the setup folded away, the operations in words, and what broke where.
 */
import type { Property, Violation } from '../sim/machine.ts';
import type { Operation } from '../sim/program.ts';
import { ruleTitle } from './rules.ts';
import { enumerate, visible } from './text.ts';
import type { Trace, TraceStep } from './trace.ts';

/** The name that the simulated host gives to the thread that goes first. */
const SETUP = 'setup';

/** One step with its number, from 1. */
export interface NumberedStep extends TraceStep {
  readonly number: number;
}

/** A trace as it is told. */
export interface Story {
  /** What the setup does before the telling begins: 'opens gpu', 'maps window'. */
  readonly setup: readonly string[];
  /** Steps of the setup that are not told. */
  readonly setupSteps: number;
  /** What the setup breaks in those steps. */
  readonly setupBreaks: readonly Property[];
  /** The steps that are told. */
  readonly steps: readonly NumberedStep[];
  /** The threads of those steps, in the order of their first step. */
  readonly threads: readonly string[];
  /** What the last step broke, or what is broken because nothing can move. */
  readonly violations: readonly Violation[];
  /** The step that broke it; 0 if the trace breaks nothing, or is stuck. */
  readonly breakingStep: number;
}

/**
 * Folds the setup; if the trace ends in the setup, all of it but its last operation. The property, if given, comes first among
 * what broke.
 */
export function storyOf(trace: Trace, property?: Property): Story {
  const steps = trace.steps.map((step, i) => ({ ...step, number: i + 1 }));
  const others = steps.findIndex(({ thread }) => thread !== SETUP);
  const folded = others >= 0 ? others : lastBeginning(steps);
  const setup = steps.slice(0, folded);
  const told = steps.slice(folded);
  const last = steps.findLast(({ violations }) => violations.length > 0);
  const violations = trace.stuck.length > 0 ? trace.stuck : (last?.violations ?? []);
  const first = (violation: Violation): number => (violation.property === property ? 0 : 1);
  return {
    setup: setup.filter(({ begins }) => begins).map(({ operation }) => operationWords(operation)),
    setupSteps: folded,
    setupBreaks: propertiesOf(setup.flatMap(({ violations }) => violations)),
    steps: told,
    threads: [...new Set(told.map(({ thread }) => thread))],
    violations: [...violations].sort((a, b) => first(a) - first(b)),
    breakingStep: trace.stuck.length > 0 ? 0 : (last?.number ?? 0),
  };
}

function lastBeginning(steps: readonly TraceStep[]): number {
  return Math.max(
    0,
    steps.findLastIndex(({ begins }) => begins),
  );
}

/** The properties of some violations, each once. */
export function propertiesOf(violations: readonly Violation[]): Property[] {
  return [...new Set(violations.map(({ property }) => property))];
}

/** Properties that break in the same words, as one heading and those words. */
export interface Verdict {
  /** 'R5 (scope) is broken: step 16'. */
  readonly title: string;
  readonly texts: readonly string[];
}

/** What broke, for people. */
export function verdictsOf({ violations, breakingStep }: Story): Verdict[] {
  const where = breakingStep === 0 ? 'nothing can move any more' : `step ${breakingStep}`;
  const groups = new Map<string, { rules: string[]; texts: string[] }>();
  for (const property of propertiesOf(violations)) {
    const own = violations.filter((each) => each.property === property);
    const texts = [...new Set(own.map(({ text }) => visible(text)))];
    const key = JSON.stringify(texts);
    const group = groups.get(key) ?? { rules: [], texts };
    group.rules.push(ruleTitle(property));
    groups.set(key, group);
  }
  return [...groups.values()].map(({ rules, texts }) => ({
    title: `${enumerate(rules)} ${rules.length === 1 ? 'is' : 'are'} broken: ${where}`,
    texts,
  }));
}

/** An operation in words that follow the name of a thread: 'maps peer for DMA'. */
export function operationWords(operation: Operation): string {
  switch (operation.op) {
    case 'open':
      return `opens ${visible(operation.device)}`;
    case 'close':
      return `closes ${visible(operation.device)}`;
    case 'mmap':
      return `maps ${visible(operation.as)}`;
    case 'mmapForeign':
      return `maps ${visible(operation.as)} of another driver`;
    case 'munmap':
      return `unmaps ${partOf(operation.part)}${visible(operation.vma)}`;
    case 'mprotect':
      return `protects ${visible(operation.vma)} anew`;
    case 'mremap':
      return `moves ${visible(operation.vma)}`;
    case 'fork':
      return `forks ${visible(operation.child)}`;
    case 'read':
      return `loads from ${visible(operation.vma)}`;
    case 'write':
      return `stores to ${visible(operation.vma)}`;
    case 'mapDma':
      return `maps ${visible(operation.as)} for DMA`;
    case 'unmapDma':
      return `unmaps ${visible(operation.mapping)} for DMA`;
    case 'unmapRange':
      return `unmaps a range of ${visible(operation.container)}`;
    case 'closeContainer':
      return `closes ${visible(operation.container)}`;
    case 'dmaRead':
      return `reads through ${visible(operation.mapping)} by DMA`;
    case 'dmaWrite':
      return `writes through ${visible(operation.mapping)} by DMA`;
    case 'disable':
      return `turns memory decode of ${visible(operation.device)} off`;
    case 'enable':
      return `turns memory decode of ${visible(operation.device)} on`;
    case 'sleep':
      return `puts ${visible(operation.device)} to sleep`;
    case 'wake':
      return `wakes ${visible(operation.device)}`;
    case 'reset':
      return `resets ${visible(operation.device)}`;
    case 'relocate':
      return `moves the BARs of ${visible(operation.device)}`;
    case 'allow':
      return `allows DMA to region ${operation.region} of ${visible(operation.device)}`;
    case 'deny':
      return `forbids DMA to region ${operation.region} of ${visible(operation.device)}`;
  }
}

function partOf(part: 'all' | 'head' | 'tail' | undefined): string {
  return part === undefined || part === 'all' ? '' : `the ${part} of `;
}

/** A step in words that follow the name of a thread. What cannot be done says what that is. */
export function stepWords({ step, operation }: TraceStep): string {
  // The host says the same of every operation.
  if (step.startsWith('cannot do that')) return `${visible(step)} (${operationWords(operation)})`;
  return visible(step);
}

/** What a step changed, in words: 'decode of gpu: off'. */
export function changeWords({ changes }: TraceStep): string[] {
  return changes.map(({ what, value }) => visible(`${what}: ${value}`));
}

/** 'decode under rfc-2021'. */
export function titleOf({ program, design }: Trace): string {
  return `${visible(program)} under ${visible(design)}`;
}

/** 'setup: opens gpu and maps window'; '' if there is nothing to fold. */
export function setupWords({ setup }: Story): string {
  return setup.length === 0 ? '' : `${SETUP}: ${enumerate(setup)}`;
}
