/*
 * What processes do with device files and VMAs: open, close, mmap, munmap, mremap, fork. A VMA holds its file, so the last close of
 * a device may be a munmap.
 */
import { VfioError } from '../../core/index.ts';
import type { State } from '../layout.ts';
import {
  ASLEEP,
  BUSY,
  CLEARED,
  CONTENT,
  DECODE,
  EXPECTED,
  GENERATION,
  LIVE,
  OPENS,
  PARKED,
  PLACE,
  READABLE,
  UNMAPPED,
  WRITABLE,
  ZAPPING,
} from '../layout.ts';
import { END, type Machine, NEXT, type Step } from '../machine.ts';
import type { Protection } from '../program.ts';
import { withdrawn } from '../truth.ts';
import { effectBits, effectsStep } from './effects.ts';
import { letGo, lockStep, memoryLock, mmLock, unlockStep } from './locks.ts';
import { contentBit, deviceBit, pageTableBit } from './touches.ts';

const PROTECTIONS: Readonly<Record<Protection, number>> = {
  none: 0,
  r: READABLE,
  w: READABLE | WRITABLE,
  rw: READABLE | WRITABLE,
};

/** Opens a device; the first open after a release begins a new life of it. */
export function openSteps(machine: Machine, process: number, device: number): Step[] {
  const { layout, plan } = machine;
  const at = layout.device(device);
  const lock = memoryLock(machine, device);
  const call = machine.callNumber({ call: 'open', device });
  const bits = deviceBit(machine, device) | contentBit(machine, device);
  const opened: Step = {
    label: () => `opens ${machine.deviceName(device)}`,
    touches: bits,
    run: (state, thread) => {
      machine.call(state, thread, call);
      state[layout.file(process, device)] = 1;
      if (state[at + OPENS] === 0) {
        state[at + GENERATION]!++;
        state[at + LIVE] = 1;
        state[at + DECODE] = 1;
        if (plan.devices[device]!.resettable) clearAll(machine, state, device);
      }
      state[at + OPENS]!++;
      return NEXT;
    },
  };
  return [lockStep(lock), opened, unlockStep([lock], 0, () => END)];
}

/** Memory is what a reset leaves. */
export function clear(state: State, page: number): void {
  state[page + CONTENT] = CLEARED;
  state[page + EXPECTED] = CLEARED;
  state[page + PARKED] = CLEARED;
}

function clearAll({ layout, plan }: Machine, state: State, device: number): void {
  for (let page = 0; page < plan.devices[device]!.pageCount; page++) clear(state, layout.page(device, page));
}

/** Closes a process's file; the last one releases the device. */
export function closeSteps(machine: Machine, process: number, device: number): Step[] {
  const cell = machine.layout.file(process, device);
  return dropSteps(machine, device, 0, `closes ${machine.deviceName(device)}`, (state) => {
    state[cell] = 0;
  });
}

/** Drops a reference to the file, and does what the last one has to do. @param before steps of the operation so far. */
function dropSteps(
  machine: Machine,
  device: number,
  before: number,
  what: string,
  drop: (state: State) => void,
): Step[] {
  const { layout, design, plan } = machine;
  const at = layout.device(device);
  const lock = memoryLock(machine, device);
  const call = machine.callNumber({ call: 'release', device });
  const bits = deviceBit(machine, device);
  const everything = bits | effectBits(machine, device);
  const words: Record<string, () => Step[]> = {
    withdraw: () => [
      {
        label: () => `releases ${machine.deviceName(device)}`,
        touches: everything,
        run: (state, thread) => {
          machine.call(state, thread, call);
          return NEXT;
        },
      },
      effectsStep(machine, everything, false),
    ],
    'hardware off': () => [
      {
        label: () => `disables ${machine.deviceName(device)}`,
        touches: everything,
        run: (state) => {
          state[at + LIVE] = 0;
          state[at + ASLEEP] = 0;
          state[at + BUSY] = 0;
          if (plan.devices[device]!.resettable) {
            state[at + DECODE] = 0;
            clearAll(machine, state, device);
          }
          withdrawn(machine, state, device, () => true, false);
          return NEXT;
        },
      },
    ],
  };
  const release = design.order.release.flatMap((word) => words[word]!());
  const steps: Step[] = [
    lockStep(lock),
    {
      label: () => what,
      touches: bits,
      run: (state) => {
        drop(state);
        state[at + OPENS]!--;
        machine.outcome = 'ok';
        return state[at + OPENS] === 0 ? NEXT : before + steps.length - 1;
      },
    },
    ...release,
    unlockStep([lock], 0, () => END),
  ];
  return steps;
}

/** Maps a region. Linux: vfio_pci_core_mmap and its siblings. */
export function mmapSteps(machine: Machine, vma: number, protection: Protection = 'rw'): Step[] {
  const { layout, plan } = machine;
  const { name, device, process, pages } = plan.vmas[vma]!;
  const guard = layout.protection(vma);
  const calls = [0, 1].map((place) => machine.callNumber({ call: 'mmap', vma, place }));
  const lock = mmLock(machine, process);
  const known = device < 0 ? 0 : deviceBit(machine, device);
  const map: Step = {
    label: () => `maps ${name}`,
    touches: pageTableBit(machine, vma) | known,
    ready: notZapping(machine, device),
    run: (state, thread) => {
      const place = device < 0 ? 0 : state[layout.device(device) + PLACE]!;
      const result = machine.call(state, thread, calls[place]!);
      machine.outcome = result === '0' ? 'ok' : result;
      if (result !== '0') return NEXT;
      for (let page = 0; page < pages; page++) state[layout.vmaPage(vma, page)] = 0;
      if (guard >= 0) state[guard] = PROTECTIONS[protection];
      if (plan.holdsFile(device)) state[layout.device(device) + OPENS]!++;
      judgeCoding(machine, state);
      return NEXT;
    },
  };
  return [lockStep(lock), map, unlockStep([lock], 0, () => END)];
}

/** Changes what the process may do with a VMA. */
export function mprotectSteps(machine: Machine, vma: number, protection: Protection): Step[] {
  const { name, process } = machine.plan.vmas[vma]!;
  const guard = machine.layout.protection(vma);
  const lock = mmLock(machine, process);
  const change: Step = {
    label: () => `protects ${name}: ${protection}`,
    touches: pageTableBit(machine, vma),
    run: (state) => {
      state[guard] = PROTECTIONS[protection];
      machine.outcome = 'ok';
      return NEXT;
    },
  };
  return [lockStep(lock), change, unlockStep([lock], 0, () => END)];
}

/** VMAs come and go only while nobody walks them. */
function notZapping(machine: Machine, device: number): (state: State) => boolean {
  if (device < 0) return () => true;
  const cell = machine.layout.device(device) + ZAPPING;
  return (state) => state[cell] === 0;
}

/** R1: every VMA has the region coding of what it shows. */
function judgeCoding(machine: Machine, state: State): void {
  const { miscoded } = machine.facts(state);
  if (miscoded < 0) return;
  machine.report('R1', () => {
    const { name, device } = machine.plan.vmas[miscoded]!;
    const { kind } = machine.plan.devices[device]!;
    return `vm_pgoff of ${name} is not its region's offset: ${kind} devices store the physical page there`;
  });
}

/** Unmaps a VMA, or so many pages of its head or tail. EINVAL: no page at all. */
export function munmapSteps(
  machine: Machine,
  vma: number,
  part: 'all' | 'head' | 'tail',
  count: number,
): Step[] {
  const { layout, plan } = machine;
  const { name, device, process, pages } = plan.vmas[vma]!;
  if (part !== 'all' && count < 1)
    throw new VfioError('EINVAL', `a ${part} of ${name} has at least one page`);
  const call = machine.callNumber({ call: 'munmap', vma, part, pages: count });
  const lock = mmLock(machine, process);
  const cells = Array.from({ length: pages }, (_, page) => layout.vmaPage(vma, page));
  const bits = pageTableBit(machine, vma) | (device < 0 ? 0 : deviceBit(machine, device));
  const counted = plan.holdsFile(device);
  const leaving = (state: State): number[] => {
    const there = cells.filter((cell) => state[cell] !== UNMAPPED);
    if (part === 'all') return there;
    return part === 'head' ? there.slice(0, count) : there.slice(-count);
  };
  const what = part === 'all' ? name : `the ${part} of ${name}`;
  const steps: Step[] = [
    lockStep(lock),
    {
      label: () => `clears the page table entries of ${what}`,
      touches: bits,
      run: (state) => {
        for (const cell of leaving(state)) state[cell] = 0;
        return NEXT;
      },
    },
    {
      label: () => `unmaps ${what}`,
      touches: bits | lock.touches,
      ready: notZapping(machine, device),
      run: (state, thread) => {
        machine.call(state, thread, call);
        for (const cell of leaving(state)) state[cell] = UNMAPPED;
        letGo(lock, state, thread);
        judgeCoding(machine, state);
        const gone = cells.every((cell) => state[cell] === UNMAPPED);
        machine.outcome = 'ok';
        return gone && counted ? NEXT : END;
      },
    },
  ];
  if (!counted) return steps;
  return [...steps, ...dropSteps(machine, device, steps.length, `drops the file of ${name}`, () => {})];
}

/** Moves a VMA to another address, page table entries and all. */
export function mremapSteps(machine: Machine, vma: number): Step[] {
  const { name, device, process } = machine.plan.vmas[vma]!;
  const call = machine.callNumber({ call: 'mremap', vma });
  const lock = mmLock(machine, process);
  const move: Step = {
    label: () => `moves ${name} to another address`,
    touches: pageTableBit(machine, vma) | (device < 0 ? 0 : deviceBit(machine, device)),
    ready: notZapping(machine, device),
    run: (state, thread) => {
      machine.call(state, thread, call);
      judgeCoding(machine, state);
      machine.outcome = 'ok';
      return NEXT;
    },
  };
  return [lockStep(lock), move, unlockStep([lock], 0, () => END)];
}

/** Makes a child, which shares the files and gets a copy of each VMA and of its page table entries. */
export function forkSteps(machine: Machine, process: number, child: number): Step[] {
  const { layout, plan, design } = machine;
  const copies = [...plan.vmas.entries()].filter(([, vma]) => vma.process === child && vma.parent >= 0);
  const call = machine.callNumber({ call: 'fork', vmas: copies.map(([vma]) => vma) });
  const lock = mmLock(machine, process);
  const childLock = mmLock(machine, child);
  const name = plan.processes[child]!;
  let bits = 0;
  for (const device of plan.devices.keys()) bits |= deviceBit(machine, device);
  for (const [vma, { parent }] of copies) bits |= pageTableBit(machine, vma) | pageTableBit(machine, parent);
  const pagesOf = function* (state: State): Generator<[number, number]> {
    for (const [vma, { parent, pages }] of copies) {
      for (let page = 0; page < pages; page++) {
        const from = layout.vmaPage(parent, page);
        if (state[from] !== UNMAPPED) yield [from, layout.vmaPage(vma, page)];
      }
    }
  };
  const words: Record<string, () => Step[]> = {
    // As the kernel does, also the child's, so that the child does not run before it is whole.
    'lock mm': () => [lockStep(lock), lockStep(childLock)],
    insert: () => [
      {
        label: () => `gives ${name} the files and VMAs`,
        touches: bits,
        ready: (state) => plan.devices.every((_, device) => notZapping(machine, device)(state)),
        run: (state, thread) => {
          machine.call(state, thread, call);
          for (const device of plan.devices.keys()) shareFile(machine, state, device, process, child);
          for (const [, { parent, device }] of copies) {
            if (plan.holdsFile(device) && isMapped(machine, state, parent))
              state[layout.device(device) + OPENS]!++;
          }
          for (const [vma, { parent, protection }] of copies)
            if (protection >= 0) state[layout.protection(vma)] = state[layout.protection(parent)]!;
          for (const [, to] of pagesOf(state)) if (state[to] === UNMAPPED) state[to] = 0;
          machine.outcome = 'ok';
          return NEXT;
        },
      },
    ],
    copy: () => [
      {
        label: () => `copies the page table entries for ${name}`,
        touches: bits,
        run: (state) => {
          for (const [from, to] of pagesOf(state)) state[to] = state[from]!;
          return NEXT;
        },
      },
    ],
    unlock: () => [unlockStep([lock, childLock], 0, () => END)],
  };
  return design.order.fork.flatMap((word) => words[word]!());
}

/** Whether any page of a VMA is left: both of its ends may have been unmapped. */
export function isMapped({ layout, plan }: Machine, state: State, vma: number): boolean {
  for (let page = 0; page < plan.vmas[vma]!.pages; page++)
    if (state[layout.vmaPage(vma, page)] !== UNMAPPED) return true;
  return false;
}

function shareFile(machine: Machine, state: State, device: number, process: number, child: number): void {
  const { layout } = machine;
  if (state[layout.file(process, device)] === 0 || state[layout.file(child, device)] === 1) return;
  state[layout.file(child, device)] = 1;
  state[layout.device(device) + OPENS]!++;
}
