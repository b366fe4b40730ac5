/*
 * The choice of a design that lets a property break. Each sentence has a condition on the design and the trace, and is said only
 * where that holds; where none holds, nothing is said.
 */
import type { DeviceKind } from '../core/index.ts';
import { type Design, ORDERS, type Orders } from '../sim/design.ts';
import type { Property } from '../sim/machine.ts';
import type { Operation } from '../sim/program.ts';
import { enumerate } from './text.ts';
import type { Trace, TraceStep } from './trace.ts';

type OperationName = Operation['op'];

/** Operations after which memory is away for a while, and not for ever. */
const SUSPENDING: readonly OperationName[] = ['disable', 'sleep', 'reset', 'relocate', 'deny'];
const CPU_ACCESSES: readonly OperationName[] = ['read', 'write'];
const DMA_ACCESSES: readonly OperationName[] = ['dmaRead', 'dmaWrite'];

/** What a sentence is decided by. */
interface Case {
  readonly trace: Trace;
  readonly property: Property;
  readonly design: Design;
  /** The kinds of the devices that are opened in the trace. */
  readonly kinds: readonly DeviceKind[];
  /** The step that broke the property; null if that is because nothing can move. */
  readonly breaking: TraceStep | null;
  /** Operations outside of the setup. */
  readonly done: ReadonlySet<OperationName>;
}

/** One sentence on the design's choice that lets the trace break the property, or null if none can be told for certain. */
export function causeOf(trace: Trace, property: Property, design: Design): string | null {
  const opened = new Set(
    trace.steps.flatMap(({ operation }) => (operation.op === 'open' ? [operation.device] : [])),
  );
  const told: Case = {
    trace,
    property,
    design,
    kinds: [...new Set([...opened].flatMap((name) => trace.devices[name] ?? []))],
    breaking:
      trace.steps.findLast(({ violations }) => violations.some((each) => each.property === property)) ?? null,
    done: new Set(trace.steps.flatMap(({ thread, operation }) => (thread === 'setup' ? [] : [operation.op]))),
  };
  for (const cause of CAUSES) {
    const sentence = cause(told);
    if (sentence !== null) return sentence;
  }
  return null;
}

const CAUSES: readonly ((told: Case) => string | null)[] = [
  miscoding,
  missedByRange,
  zapsNothing,
  zapsEverything,
  nobodyAsked,
  walksPageTable,
  nobodyTold,
  toldOfReleaseOnly,
  noWayBack,
  leftOut,
  tooEarly,
];

function every({ kinds }: Case, holds: (kind: DeviceKind) => boolean): boolean {
  return kinds.length > 0 && kinds.every(holds);
}

function miscoding(told: Case): string | null {
  const { property, design, kinds } = told;
  if (property !== 'R1' || !every(told, (kind) => design.pgoff[kind] === 'pfn')) return null;
  return `This design leaves the physical page number in vm_pgoff of ${enumerate(kinds)} devices, where the coding of the region should be.`;
}

/** The breaking step shows that a CPU still reaches what was taken away. */
function cpuReaches({ property, breaking }: Case): boolean {
  if (property === 'R5') return true;
  return property === 'R4' && breaking !== null && CPU_ACCESSES.includes(breaking.operation.op);
}

function missedByRange(told: Case): string | null {
  const { design } = told;
  if (!cpuReaches(told)) return null;
  if (!every(told, (kind) => design.pgoff[kind] === 'pfn' && design.zap[kind] === 'bar-range')) return null;
  return 'This design looks for CPU mappings in the range of the region coding, BAR0 to ROM, but codes vm_pgoff as a physical page number: it finds only what happens to lie in that range.';
}

function zapsNothing(told: Case): string | null {
  const { design, kinds } = told;
  if (!cpuReaches(told) || !every(told, (kind) => design.zap[kind] === 'nothing')) return null;
  return `Nobody takes the CPU mappings of ${enumerate(kinds)} devices away: this design zaps nothing.`;
}

function zapsEverything(told: Case): string | null {
  const { design, property, breaking } = told;
  if (property !== 'R5' || !every(told, (kind) => kind === 'pci' && design.zap[kind] === 'everything'))
    return null;
  const cleared = breaking?.changes.some(
    ({ where, value }) => where === 'page tables' && value === 'no entry',
  );
  return cleared === true
    ? 'This design takes the whole address space of a pci device away, and not only BAR0 to ROM.'
    : null;
}

function nobodyAsked({ property, design }: Case): string | null {
  if (property !== 'R3') return null;
  if (design.consent === 'none')
    return "Nobody asks the driver: this design takes any device memory as a DMA target, without the driver's consent.";
  return design.consent === 'device'
    ? 'This design asks for consent once per device, and not by region.'
    : null;
}

function walksPageTable({ property, design, breaking }: Case): string | null {
  if (property !== 'R2' || design.learn !== 'page-walk' || breaking?.operation.op !== 'mapDma') return null;
  return 'MAP_DMA believes the page table: this design does not look up whose memory a VMA shows.';
}

/** The breaking step shows that an IOMMU still reaches what was taken away. */
function dmaReaches({ property, breaking, done }: Case): boolean {
  if (breaking === null) return false;
  const { op } = breaking.operation;
  if (property === 'R6') return op !== 'unmapDma';
  if (property === 'R3') return DMA_ACCESSES.includes(op) && done.has('deny');
  return property === 'R4' && DMA_ACCESSES.includes(op);
}

function nobodyTold(told: Case): string | null {
  const { design } = told;
  if (!dmaReaches(told) || design.notifier !== 'none') return null;
  const held = design.reference ? '' : ', and an IOMMU mapping holds no reference to the device';
  return `Nobody tells the IOMMU: this design has no notifier${held}.`;
}

function toldOfReleaseOnly(told: Case): string | null {
  const { design, done } = told;
  if (!dmaReaches(told) || design.notifier !== 'release') return null;
  if (!SUSPENDING.some((op) => done.has(op)) || done.has('close')) return null;
  return 'The IOMMU is told of a release only: in this design nobody tells it when memory goes away for a while.';
}

function noWayBack({ property, design, breaking, trace }: Case): string | null {
  if (property !== 'R7' || design.resume !== 'nothing' || breaking === null) return null;
  // A refused load or store is about a page table.
  if (CPU_ACCESSES.includes(breaking.operation.op)) return null;
  const revoked = trace.steps.some(({ changes }) =>
    changes.some(({ where, value }) => where === 'IOMMU' && value === 'no entry'),
  );
  return revoked
    ? 'There is no way back: this design does nothing with a revoked IOMMU mapping when the memory returns.'
    : null;
}

/** The order of steps that an operation follows, if its design has a choice there. */
const ORDER_OF: Partial<Record<OperationName, keyof Orders>> = {
  disable: 'disable',
  sleep: 'disable',
  enable: 'enable',
  wake: 'enable',
  reset: 'reset',
  relocate: 'reset',
  close: 'release',
  mapDma: 'map',
  unmapDma: 'unmap',
  fork: 'fork',
  read: 'fault',
  write: 'fault',
};

/** The orders that took part in the trace: of its operations outside of the setup, and of what they do to IOMMU mappings. */
function ordersIn({ done, design }: Case): (keyof Orders)[] {
  const names = new Set([...done].flatMap((op) => ORDER_OF[op] ?? []));
  const has = (...ops: OperationName[]): boolean => ops.some((op) => done.has(op));
  if (design.notifier === 'suspend-and-release') {
    if (has('disable', 'sleep', 'reset', 'relocate', 'deny')) names.add('revoke');
    if (design.resume === 'come-back' && has('enable', 'wake', 'reset', 'relocate', 'allow'))
      names.add('restore');
  }
  if (has('unmapDma') || (design.notifier !== 'none' && has('close'))) names.add('revoke');
  return [...names];
}

/** Words that a design without mistakes leaves out. */
function spared(design: Design, name: keyof Orders): readonly string[] {
  if (name !== 'map') return [];
  return design.learn === 'lookup' ? ['fault in', 'walk'] : ['lock memory'];
}

function leftOut(told: Case): string | null {
  const { design } = told;
  const missing = ordersIn(told).flatMap((name) => {
    const words = ORDERS[name].filter(
      (word) => !design.order[name].includes(word) && !spared(design, name).includes(word),
    );
    return words.length === 0 ? [] : [`${enumerate(words.map((word) => `"${word}"`))} of "${name}"`];
  });
  return missing.length === 0 ? null : `This design leaves out steps: ${missing.join('; ')}.`;
}

function tooEarly(told: Case): string | null {
  const { design } = told;
  for (const name of ordersIn(told)) {
    const order = design.order[name];
    for (const [first, second] of [
      ['withdraw', 'hardware off'],
      ['hardware on', 'return'],
      ['clear', 'flush'],
      ['flush', 'drain'],
    ] as const) {
      if (order.includes(first) && order.indexOf(second) >= 0 && order.indexOf(second) < order.indexOf(first))
        return `This design does "${second}" of "${name}" before "${first}".`;
    }
  }
  return null;
}
