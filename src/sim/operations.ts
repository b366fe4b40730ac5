/*
 * An operation of a program as the steps that it takes under a design.
 */
import { VfioError } from '../core/index.ts';
import {
  ASLEEP,
  DECODE,
  ENTRY,
  LIVE,
  MAPPED,
  type State,
  TLB,
  UNMAPPED,
  VALUE_LIMIT,
  WRITTEN,
} from './layout.ts';
import type { Machine, Step } from './machine.ts';
import type { Operation } from './program.ts';
import { accessSteps } from './steps/cpu.ts';
import { changeSteps, consentSteps } from './steps/device.ts';
import {
  closeSteps,
  forkSteps,
  mmapSteps,
  mprotectSteps,
  mremapSteps,
  munmapSteps,
  openSteps,
} from './steps/files.ts';
import { dmaSteps, mapSteps, unmapAnySteps, unmapSteps } from './steps/iommu.ts';

/** An operation, ready to be stepped through. */
export interface CompiledOperation {
  readonly operation: Operation;
  readonly steps: readonly Step[];
  /** Bits of all its steps. What `possible` looks at is among them. */
  readonly touches: number;
  /** Whether it makes sense now: what is not mapped cannot be unmapped. */
  possible(state: State): boolean;
}

/** The steps of an operation. EINVAL names what the program does not have. */
export function compileOperation(machine: Machine, operation: Operation): CompiledOperation {
  const steps = stepsOf(machine, operation);
  const touches = steps.reduce((bits, step) => bits | step.touches, 0);
  return { operation, steps, touches, possible: possibleOf(machine, operation) };
}

function stepsOf(machine: Machine, operation: Operation): Step[] {
  const { plan } = machine;
  switch (operation.op) {
    case 'open':
      return openSteps(machine, plan.process(operation.process), plan.vfioDevice(operation.device));
    case 'close':
      return closeSteps(machine, plan.process(operation.process), plan.vfioDevice(operation.device));
    case 'mmap':
      return mmapSteps(machine, plan.vma(operation.as), operation.protection);
    case 'mmapForeign':
      return mmapSteps(machine, plan.vma(operation.as));
    case 'mprotect':
      return mprotectSteps(machine, plan.vma(operation.vma), operation.protection);
    case 'munmap':
      return munmapSteps(machine, plan.vma(operation.vma), operation.part ?? 'all', operation.pages ?? 1);
    case 'mremap':
      return mremapSteps(machine, plan.vma(operation.vma));
    case 'fork':
      return forkSteps(machine, plan.process(operation.process), plan.process(operation.child));
    case 'read':
    case 'write':
      return accessSteps(machine, plan.vma(operation.vma), operation.page ?? 0, valueWritten(operation));
    case 'mapDma':
      return mapSteps(machine, plan.mapping(operation.as));
    case 'unmapDma':
      return unmapSteps(machine, plan.mapping(operation.mapping));
    case 'dmaRead':
    case 'dmaWrite':
      return dmaSteps(machine, plan.mapping(operation.mapping), operation.page ?? 0, valueWritten(operation));
    case 'unmapRange': {
      const { iova, sizeBytes, all = false } = operation;
      const container = plan.container(operation.container);
      return unmapAnySteps(machine, container, { call: 'unmapRange', container, iova, sizeBytes, all });
    }
    case 'closeContainer': {
      const container = plan.container(operation.container);
      return unmapAnySteps(machine, container, { call: 'closeContainer', container });
    }
    case 'disable':
    case 'enable':
    case 'sleep':
    case 'wake':
    case 'reset':
    case 'relocate':
      return changeSteps(machine, plan.vfioDevice(operation.device), operation.op);
    case 'allow':
    case 'deny': {
      const device = plan.vfioDevice(operation.device);
      return consentSteps(machine, device, plan.region(device, operation.region), operation.op);
    }
    default:
      throw new VfioError(
        'EINVAL',
        `no operation is named ${JSON.stringify((operation as { op: unknown }).op)}`,
      );
  }
}

/** What an access writes; null if it reads. */
function valueWritten(
  operation: Extract<Operation, { op: 'read' | 'write' | 'dmaRead' | 'dmaWrite' }>,
): number | null {
  if (operation.op === 'read' || operation.op === 'dmaRead') return null;
  const value = operation.value ?? WRITTEN;
  if (Number.isInteger(value) && value >= 0 && value <= VALUE_LIMIT) return value;
  throw new VfioError('EINVAL', `a page holds a value from 0 to ${VALUE_LIMIT}, not ${value}`);
}

function possibleOf(machine: Machine, operation: Operation): (state: State) => boolean {
  const { plan, layout } = machine;
  switch (operation.op) {
    case 'open': {
      const file = layout.file(plan.process(operation.process), plan.device(operation.device));
      return (state) => state[file] === 0;
    }
    case 'close': {
      const file = layout.file(plan.process(operation.process), plan.device(operation.device));
      return (state) => state[file] === 1;
    }
    case 'mmap': {
      const cells = vmaCells(machine, operation.as);
      const device = plan.device(operation.device);
      const file = layout.file(plan.process(operation.process), device);
      const opened = (state: State): boolean => !plan.holdsFile(device) || state[file] === 1;
      return (state) => opened(state) && cells.every((cell) => state[cell] === UNMAPPED);
    }
    case 'mmapForeign': {
      const cells = vmaCells(machine, operation.as);
      return (state) => cells.every((cell) => state[cell] === UNMAPPED);
    }
    case 'munmap': {
      const cells = vmaCells(machine, operation.vma);
      const least = operation.part === undefined || operation.part === 'all' ? 1 : (operation.pages ?? 1) + 1;
      return (state) => cells.filter((cell) => state[cell] !== UNMAPPED).length >= least;
    }
    case 'mremap':
    case 'mprotect': {
      const cells = vmaCells(machine, operation.vma);
      return (state) => cells.some((cell) => state[cell] !== UNMAPPED);
    }
    case 'read':
    case 'write': {
      const cell = layout.vmaPage(plan.vma(operation.vma), operation.page ?? 0);
      return (state) => state[cell] !== UNMAPPED;
    }
    case 'mapDma': {
      const { vma, page, inside } = plan.mappings[plan.mapping(operation.as)]!;
      const cell = layout.vmaPage(vma, inside ? page : 0);
      const mapped = layout.mapping(plan.mapping(operation.as)) + MAPPED;
      return (state) => state[mapped] === 0 && (!inside || state[cell] !== UNMAPPED);
    }
    case 'unmapDma': {
      const mapped = layout.mapping(plan.mapping(operation.mapping)) + MAPPED;
      return (state) => state[mapped] !== 0;
    }
    case 'dmaRead':
    case 'dmaWrite': {
      const at = layout.mapping(plan.mapping(operation.mapping));
      return (state) => state[at + MAPPED] !== 0 || state[at + ENTRY] !== 0 || state[at + TLB] !== 0;
    }
    case 'unmapRange':
    case 'closeContainer':
      return () => true;
    case 'fork': {
      const child = plan.process(operation.child);
      const files = plan.devices.map((_, device) => layout.file(child, device));
      return (state) => files.every((file) => state[file] === 0);
    }
    default:
      return possibleChange(machine, operation);
  }
}

function possibleChange(
  machine: Machine,
  operation: Extract<Operation, { device: string; op: string }>,
): (state: State) => boolean {
  const { plan, layout } = machine;
  const device = plan.device(operation.device);
  const at = layout.device(device);
  const opened = (state: State): boolean => state[at + LIVE] === 1;
  switch (operation.op) {
    case 'disable':
      return (state) => opened(state) && state[at + DECODE] === 1;
    case 'enable':
      return (state) => opened(state) && state[at + DECODE] === 0;
    case 'sleep':
      return (state) => opened(state) && state[at + ASLEEP] === 0;
    case 'wake':
      return (state) => opened(state) && state[at + ASLEEP] === 1;
    case 'allow':
    case 'deny': {
      const consent = layout.consent(device, plan.region(device, (operation as { region: number }).region));
      return (state) => opened(state) && state[consent] === (operation.op === 'allow' ? 0 : 1);
    }
    case 'reset':
      return (state) => opened(state) && plan.devices[device]!.resettable;
    default:
      return opened;
  }
}

function vmaCells(machine: Machine, name: string): number[] {
  const vma = machine.plan.vma(name);
  const { pages } = machine.plan.vmas[vma]!;
  return Array.from({ length: pages }, (_, page) => machine.layout.vmaPage(vma, page));
}
