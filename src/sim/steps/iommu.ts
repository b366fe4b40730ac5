/*
 * MAP_DMA, UNMAP_DMA and what a DMA engine does. Kernel: vfio_dma_do_map, vfio_dma_do_unmap, vaddr_get_pfns, follow_fault_pfn.
 */
import { FIXED, type KernelCall } from '../kernel.ts';
import {
  ENTRY,
  FRAME,
  GENERATION,
  HOLDS,
  IN_FLIGHT,
  LIVE,
  MAPPED,
  REFERENCES,
  type State,
  TLB,
  UNMAPPED,
} from '../layout.ts';
import { END, type Machine, NEXT, type Step } from '../machine.ts';
import { dmaAccess, unmapped, untranslated } from '../truth.ts';
import { allowed, checkPage, faultFrame } from './cpu.ts';
import { effectBits, effectsStep, program } from './effects.ts';
import { containerLock, isFree, lockStep, memoryLock, mmLock, unlockStep } from './locks.ts';
import { contentBit, deviceBit, entryBit, flightBit, pageTableBit } from './touches.ts';

/** MAP_DMA of one mapping. */
export function mapSteps(machine: Machine, mapping: number): Step[] {
  const { layout, plan, design } = machine;
  const { name, vma, page, pages, inside, container, write } = plan.mappings[mapping]!;
  const { device, process, name: vmaName } = plan.vmas[vma]!;
  const at = layout.mapping(mapping);
  const cells = inside ? Array.from({ length: pages }, (_, i) => layout.vmaPage(vma, page + i)) : [];
  const cell = cells[0] ?? -1;
  const call = machine.callNumber({ call: 'map', mapping });
  const fault = machine.callNumber({ call: 'map', mapping, fault: true });
  const into = containerLock(machine, container);
  const memory = device < 0 ? null : memoryLock(machine, device);
  const mm = mmLock(machine, process);
  const known = device < 0 ? 0 : deviceBit(machine, device);
  const bits = entryBit(machine, mapping) | pageTableBit(machine, vma) | known;
  const there = (state: State): boolean =>
    inside &&
    cells.every((each) => state[each] !== UNMAPPED) &&
    (layout.protection(vma) < 0 || allowed(machine, state, vma, write));
  const words: Record<string, () => Step | null> = {
    'fault in': () => ({
      label: (state) => (state[cell] === 0 ? `faults ${vmaName} in` : `finds ${vmaName} present`),
      touches: bits | mm.touches | (memory?.touches ?? 0),
      ready: (state) => isFree(mm, state) && (memory === null || isFree(memory, state)),
      run: (state, thread) => {
        if (there(state)) {
          for (const [i, each] of cells.entries())
            if (state[each] === 0) state[each] = faultFrame(machine, state, vma, page + i);
          if (cells.every((each) => state[each] !== 0)) return NEXT;
        }
        // What else is wrong with the call is said first.
        machine.outcome = machine.call(state, thread, fault);
        return END;
      },
    }),
    walk: () => ({
      label: () => `reads the page table entry of ${vmaName}`,
      touches: bits,
      run: (state, thread) => {
        machine.outcome = 'EFAULT';
        if (!there(state)) return END;
        const first = state[cell]!;
        // One entry of the IOMMU leads to all of them, so their frames must follow each other.
        if (first === 0 || cells.some((each, i) => state[each] !== first + i)) return END;
        state[layout.thread(thread) + FRAME] = first;
        return NEXT;
      },
    }),
    'lock memory': () => (memory === null ? null : lockStep(memory)),
    'lock container': () => lockStep(into),
    insert: () => ({
      label: () => `enters ${name} into container ${plan.containers[container]}`,
      touches: bits,
      run: (state, thread) => {
        machine.outcome = machine.call(state, thread, there(state) ? call : fault);
        if (machine.outcome !== '0') return steps.length - 1;
        machine.outcome = 'ok';
        state[at + MAPPED] = (device < 0 ? 0 : state[layout.device(device) + GENERATION]!) + 1;
        judgeMap(machine, state, thread, mapping);
        return NEXT;
      },
    }),
    reference: () =>
      !design.reference || !plan.holdsFile(device)
        ? null
        : {
            label: () => `takes a reference to ${machine.deviceName(device)} for ${name}`,
            touches: bits,
            run: (state) => {
              state[at + HOLDS] = 1;
              state[layout.device(device) + REFERENCES]!++;
              return NEXT;
            },
          },
    program: () => ({
      label: () => `writes the IOMMU page table entry of ${name}`,
      touches: bits,
      run: (state, thread) => {
        if (design.learn === 'page-walk') state[at + ENTRY] = state[layout.thread(thread) + FRAME]!;
        else program(machine, state, mapping);
        return NEXT;
      },
    }),
    unlock: () => unlockStep(memory === null ? [into] : [into, memory], 0, () => END),
  };
  const steps = design.order.map.map((word) => words[word]!()).filter((step) => step !== null);
  return steps;
}

/** MAP_DMA succeeded: was that right? (R2, R3) */
function judgeMap(machine: Machine, state: State, thread: number, mapping: number): void {
  const { plan, layout } = machine;
  const { name, vma, page } = plan.mappings[mapping]!;
  const { device, name: vmaName } = plan.vmas[vma]!;
  if (device < 0) {
    machine.report('R2', () => `${name} maps ${vmaName}, which is memory of another driver`);
    return;
  }
  const shown = plan.shown(vma, page);
  const region = plan.regionOfPage(device, shown);
  const what = machine.regionName(device, region.index);
  const target = machine.facts(state).targets[mapping]!;
  const frame = plan.frames[state[layout.thread(thread) + FRAME]!];
  const found = target === FIXED ? frame?.page : target - 1;
  if (found !== shown) machine.report('R2', () => `${name} was asked for ${what} and maps something else`);
  if (state[layout.device(device) + LIVE] === 0)
    machine.report('R2', () => `${name} maps ${what}, which is released`);
  const position = plan.devices[device]!.regions.indexOf(region);
  if (state[layout.consent(device, position)] === 0)
    machine.report('R3', () => `${name} maps ${what}, whose driver has not allowed DMA`);
}

/** UNMAP_DMA of one mapping. */
export function unmapSteps(machine: Machine, mapping: number): Step[] {
  const { name, container } = machine.plan.mappings[mapping]!;
  return removeSteps(machine, container, name, [mapping], { call: 'unmap', mapping });
}

/** UNMAP_DMA of a range, or the end of a container: what mappings that takes out is the core's to say. */
export function unmapAnySteps(
  machine: Machine,
  container: number,
  remove: Extract<KernelCall, { container: number }>,
): Step[] {
  const mappings = [...machine.plan.mappings.keys()].filter(
    (mapping) => machine.plan.mappings[mapping]!.container === container,
  );
  return removeSteps(machine, container, 'what is mapped', mappings, remove);
}

function removeSteps(
  machine: Machine,
  container: number,
  name: string,
  mappings: readonly number[],
  remove: KernelCall,
): Step[] {
  const { layout, plan, design } = machine;
  const lock = containerLock(machine, container);
  const call = machine.callNumber(remove);
  const letGo = machine.callNumber({ call: 'letGo', mappings });
  const devices = new Set(mappings.map((mapping) => plan.vmas[plan.mappings[mapping]!.vma]!.device));
  let bits = 0;
  for (const mapping of mappings) bits |= entryBit(machine, mapping) | flightBit(machine, mapping);
  for (const device of devices) bits |= device < 0 ? 0 : deviceBit(machine, device);
  let everything = bits;
  for (const device of devices) everything |= device < 0 ? 0 : effectBits(machine, device);
  // One that is named is gone whatever the core says; of the others those that it has no more.
  const gone = (state: State, mapping: number): boolean =>
    remove.call === 'unmap' ||
    (state[layout.mapping(mapping) + MAPPED] !== 0 && machine.facts(state).targets[mapping] === 0);
  const words: Record<string, () => Step[]> = {
    'lock container': () => [lockStep(lock)],
    remove: () => [
      {
        label: () => `takes ${name} out of container ${plan.containers[container]}`,
        touches: bits,
        run: (state, thread) => {
          const result = machine.call(state, thread, call);
          machine.outcome = result;
          if (result === '0') machine.outcome = 'ok';
          if (remove.call === 'unmapRange' && /^\d+$/.test(result)) machine.outcome = `${result} bytes`;
          return NEXT;
        },
      },
      effectsStep(machine, everything, false),
    ],
    'let go': () => [
      {
        label: () => `says that the IOMMU has let go of ${name}`,
        touches: bits,
        run: (state, thread) => {
          machine.call(state, thread, letGo);
          return NEXT;
        },
      },
    ],
    unlock: () => [
      unlockStep([lock], bits, (state) => {
        for (const mapping of mappings) {
          if (!gone(state, mapping)) continue;
          state[layout.mapping(mapping) + MAPPED] = 0;
          unmapped(machine, state, mapping);
        }
        return END;
      }),
    ],
  };
  return design.order.unmap.flatMap((word) => words[word]!());
}

/** A DMA through a mapping: it is translated, and some time later it arrives. */
export function dmaSteps(machine: Machine, mapping: number, page: number, write: number | null): Step[] {
  const { layout, plan } = machine;
  const { name, vma, pages, ...may } = plan.mappings[mapping]!;
  checkPage(name, pages, page);
  const { device } = plan.vmas[vma]!;
  const at = layout.mapping(mapping);
  const bits = entryBit(machine, mapping) | flightBit(machine, mapping);
  const known = device < 0 ? 0 : deviceBit(machine, device) | contentBit(machine, device);
  const what = write === null ? 'read' : 'write';
  return [
    {
      label: (state) => {
        if (state[at + TLB] !== 0) return `sends a DMA ${what} through ${name}: the IOTLB has it`;
        return state[at + ENTRY] === 0
          ? `sends a DMA ${what} through ${name}: IOMMU fault`
          : `sends a DMA ${what} through ${name}: the IOMMU walks its table`;
      },
      // The judgement of a fault looks at locks and at the device.
      touches:
        bits |
        known |
        containerLock(machine, plan.mappings[mapping]!.container).touches |
        memoryBits(machine, device),
      run: (state, thread) => {
        if (state[at + TLB] === 0) state[at + TLB] = state[at + ENTRY]!;
        const first = state[at + TLB]!;
        machine.outcome = 'fault';
        if (first !== 0 && !(write === null ? may.read : may.write)) return END;
        if (first === 0) {
          untranslated(machine, state, mapping);
          return END;
        }
        const cells = layout.thread(thread);
        state[cells + FRAME] = first + page;
        state[cells + IN_FLIGHT] = mapping + 1;
        return NEXT;
      },
    },
    {
      label: () => `the DMA ${what} through ${name} arrives`,
      touches: bits | known,
      run: (state, thread) => {
        const frame = state[layout.thread(thread) + FRAME]!;
        machine.outcome = 'ok';
        dmaAccess(machine, state, mapping, page, frame, write);
        state[layout.thread(thread) + IN_FLIGHT] = 0;
        return END;
      },
    },
  ];
}

function memoryBits(machine: Machine, device: number): number {
  return device < 0 ? 0 : memoryLock(machine, device).touches;
}
