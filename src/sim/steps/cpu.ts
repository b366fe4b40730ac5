/*
 * Loads and stores of a process: through the page table if there is an entry, by way of a page fault if not. The fault handler
 * computes the frame from the region that the VMA's vm_pgoff names at that moment.
 */
import { VfioError } from '../../core/index.ts';
import { FIXED, SIGBUS } from '../kernel.ts';
import { FRAME, PLACE, READABLE, type State, UNMAPPED, WRITABLE } from '../layout.ts';
import { END, type Machine, NEXT, type Step } from '../machine.ts';
import { cpuAccess, refused } from '../truth.ts';
import { isUndisturbed, lockStep, memoryLock, mmLock, unlockStep } from './locks.ts';
import { contentBit, deviceBit, pageTableBit } from './touches.ts';

/** The frame that a fault on this page leads to now; 0 for SIGBUS. */
export function faultFrame(machine: Machine, state: State, vma: number, page: number): number {
  const { device, firstCell } = machine.plan.vmas[vma]!;
  const found = machine.facts(state).faults[firstCell + page]!;
  if (found === SIGBUS) return 0;
  if (found >= FIXED) return found - FIXED;
  return machine.plan.frame(device, state[machine.layout.device(device) + PLACE]!, found - 1);
}

/** Bits of a fault on a VMA. */
function faultBits(machine: Machine, vma: number): number {
  const { device } = machine.plan.vmas[vma]!;
  return pageTableBit(machine, vma) | (device < 0 ? 0 : deviceBit(machine, device));
}

/** A fault left no page table entry, and nobody interfered. */
function judgeFault(machine: Machine, state: State, vma: number, page: number, frame: number): void {
  if (frame === 0) refused(machine, state, vma, page);
  else
    machine.report(
      'progress',
      () => `a fault on ${machine.plan.vmas[vma]!.name} was answered, but leads to nothing`,
    );
}

/** Whether the process may do that with a VMA. Who may write may read. */
export function allowed(machine: Machine, state: State, vma: number, write: boolean): boolean {
  const cell = machine.layout.protection(vma);
  return cell < 0 || (state[cell]! & (write ? WRITABLE : READABLE)) !== 0;
}

/** EINVAL: the page is beyond the VMA or mapping, so it would be the next one's. */
export function checkPage(name: string, pages: number, page: number): void {
  if (page < pages) return;
  throw new VfioError('EINVAL', `${name} has ${pages} pages, so no page ${page}; the first one is 0`);
}

/** A load or store of one page. EINVAL: the VMA has no such page. */
export function accessSteps(machine: Machine, vma: number, page: number, write: number | null): Step[] {
  const { name, device, process, pages } = machine.plan.vmas[vma]!;
  const { layout } = machine;
  checkPage(name, pages, page);
  const cell = layout.vmaPage(vma, page);
  const bits = faultBits(machine, vma);
  const what = `${write !== null ? 'writes' : 'reads'} page ${page} of ${name}`;
  const locks = [mmLock(machine, process), ...(device < 0 ? [] : [memoryLock(machine, device)])];
  const access: Step = {
    label: (state) => (state[cell] === 0 ? `touches page ${page} of ${name}: page fault` : what),
    touches: bits | (device < 0 ? 0 : contentBit(machine, device)),
    run: (state) => {
      const frame = state[cell]!;
      machine.outcome = 'SIGSEGV';
      if (frame === UNMAPPED || !allowed(machine, state, vma, write !== null)) return END;
      if (frame === 0) return NEXT;
      machine.outcome = 'ok';
      cpuAccess(machine, state, vma, page, frame, write);
      return END;
    },
  };
  const words: Record<string, () => Step | null> = {
    'lock mm': () => lockStep(locks[0]!),
    'lock memory': () => (locks[1] === undefined ? null : lockStep(locks[1])),
    'look up': () => ({
      label: () => `looks up what page ${page} of ${name} shows`,
      touches: bits,
      run: (state, thread) => {
        state[layout.thread(thread) + FRAME] =
          state[cell] === UNMAPPED ? 0 : faultFrame(machine, state, vma, page);
        return NEXT;
      },
    }),
    insert: () => ({
      label: (state, thread) =>
        state[layout.thread(thread) + FRAME] === 0
          ? 'may not have it'
          : `writes the page table entry of ${name}`,
      touches: bits,
      run: (state, thread) => {
        if (state[cell] !== UNMAPPED) state[cell] = state[layout.thread(thread) + FRAME]!;
        return NEXT;
      },
    }),
    unlock: () =>
      unlockStep(locks, bits, (state, thread) => {
        const at = layout.thread(thread) + FRAME;
        const frame = state[at]!;
        const undisturbed = locks.every((lock) => isUndisturbed(lock, state, thread));
        if (undisturbed && state[cell] === 0) judgeFault(machine, state, vma, page, frame);
        machine.outcome = 'SIGBUS';
        if (frame === 0) return END;
        state[at] = 0;
        return 0;
      }),
  };
  const fault = machine.design.order.fault.map((word) => words[word]!()).filter((step) => step !== null);
  return [access, ...fault];
}
