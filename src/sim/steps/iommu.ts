/*
 * MAP_DMA, UNMAP_DMA and what a DMA engine does. Kernel: vfio_dma_do_map, vfio_dma_do_unmap, vaddr_get_pfns, follow_fault_pfn.
 */
import { FIXED } from '../kernel.ts';
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
import { faultFrame } from './cpu.ts';
import { effectBits, effectsStep, program } from './effects.ts';
import { containerLock, isFree, lockStep, memoryLock, mmLock, unlockStep } from './locks.ts';
import { contentBit, deviceBit, entryBit, flightBit, pageTableBit } from './touches.ts';

/** MAP_DMA of one mapping. */
export function mapSteps(machine: Machine, mapping: number): Step[] {
  const { layout, plan, design } = machine;
  const { name, vma, page, container } = plan.mappings[mapping]!;
  const { device, process, name: vmaName } = plan.vmas[vma]!;
  const at = layout.mapping(mapping);
  const cell = layout.vmaPage(vma, page);
  const call = machine.callNumber({ call: 'map', mapping });
  const into = containerLock(machine, container);
  const memory = device < 0 ? null : memoryLock(machine, device);
  const mm = mmLock(machine, process);
  const known = device < 0 ? 0 : deviceBit(machine, device);
  const bits = entryBit(machine, mapping) | pageTableBit(machine, vma) | known;
  const words: Record<string, () => Step | null> = {
    'fault in': () => ({
      label: (state) => (state[cell] === 0 ? `faults ${vmaName} in` : `finds ${vmaName} present`),
      touches: bits | mm.touches | (memory?.touches ?? 0),
      ready: (state) => isFree(mm, state) && (memory === null || isFree(memory, state)),
      run: (state) => {
        if (state[cell] === 0) state[cell] = faultFrame(machine, state, vma, page);
        machine.outcome = 'EFAULT';
        return state[cell] === 0 || state[cell] === UNMAPPED ? END : NEXT;
      },
    }),
    walk: () => ({
      label: () => `reads the page table entry of ${vmaName}`,
      touches: bits,
      run: (state, thread) => {
        machine.outcome = 'EFAULT';
        if (state[cell] === 0 || state[cell] === UNMAPPED) return END;
        state[layout.thread(thread) + FRAME] = state[cell]!;
        return NEXT;
      },
    }),
    'lock memory': () => (memory === null ? null : lockStep(memory)),
    'lock container': () => lockStep(into),
    insert: () => ({
      label: () => `enters ${name} into container ${plan.containers[container]}`,
      touches: bits,
      run: (state, thread) => {
        machine.outcome = machine.call(state, thread, call);
        if (machine.outcome !== '0') return steps.length - 1;
        machine.outcome = 'ok';
        state[at + MAPPED] = (device < 0 ? 0 : state[layout.device(device) + GENERATION]!) + 1;
        judgeMap(machine, state, thread, mapping);
        return NEXT;
      },
    }),
    reference: () =>
      !design.reference || device < 0
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
  const { layout, plan, design } = machine;
  const { name, vma, container } = plan.mappings[mapping]!;
  const { device } = plan.vmas[vma]!;
  const lock = containerLock(machine, container);
  const call = machine.callNumber({ call: 'unmap', mapping });
  const letGo = machine.callNumber({ call: 'letGo', mapping });
  const known = device < 0 ? 0 : deviceBit(machine, device);
  const bits = entryBit(machine, mapping) | flightBit(machine, mapping) | known;
  const at = layout.mapping(mapping);
  const words: Record<string, () => Step[]> = {
    'lock container': () => [lockStep(lock)],
    remove: () => [
      {
        label: () => `takes ${name} out of container ${plan.containers[container]}`,
        touches: bits,
        run: (state, thread) => {
          const result = machine.call(state, thread, call);
          machine.outcome = result === '0' ? 'ok' : result;
          return NEXT;
        },
      },
      effectsStep(machine, bits | (device < 0 ? 0 : effectBits(machine, device)), false),
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
        state[at + MAPPED] = 0;
        unmapped(machine, state, mapping);
        return END;
      }),
    ],
  };
  return design.order.unmap.flatMap((word) => words[word]!());
}

/** A DMA through a mapping: it is translated, and some time later it arrives. */
export function dmaSteps(machine: Machine, mapping: number, write: number | null): Step[] {
  const { layout, plan } = machine;
  const { name, vma } = plan.mappings[mapping]!;
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
        const frame = state[at + TLB]!;
        machine.outcome = 'fault';
        if (frame === 0) {
          untranslated(machine, state, mapping);
          return END;
        }
        const cells = layout.thread(thread);
        state[cells + FRAME] = frame;
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
        dmaAccess(machine, state, mapping, frame, write);
        state[layout.thread(thread) + IN_FLIGHT] = 0;
        return END;
      },
    },
  ];
}

function memoryBits(machine: Machine, device: number): number {
  return device < 0 ? 0 : memoryLock(machine, device).touches;
}
