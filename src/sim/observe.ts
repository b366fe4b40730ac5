/*
 * A state in words: everything of the hardware that people would look at, in a fixed order, so that two states can be compared.
 */
import {
  ASLEEP,
  BUSY,
  CLEARED,
  CONTENT,
  DECODE,
  ENTRY,
  LOST,
  OPENS,
  PLACE,
  REFERENCES,
  type State,
  TLB,
  UNMAPPED,
  WRITTEN,
} from './layout.ts';
import type { Machine } from './machine.ts';
import { containerLock, memoryLock, mmLock } from './steps/locks.ts';

/** Where something is: the page tables of all processes, the IOMMU, or a device and its memory. */
export type Place = 'page tables' | 'IOMMU' | `device ${string}`;

/** One thing and how it is. */
export interface Observation {
  readonly where: Place;
  readonly what: string;
  readonly value: string;
}

/** The state of everything that can be seen. The order depends on the plan alone. */
export function observe(machine: Machine, state: State): Observation[] {
  const { plan, layout } = machine;
  const found: Observation[] = [];
  let where: Place = 'page tables';
  const see = (what: string, value: string): void => {
    found.push({ where, what, value });
  };
  for (const [i, device] of plan.devices.entries()) {
    where = `device ${device.name}`;
    if (!device.isMemory) observeDevice(machine, state, i, see);
    for (const [position, region] of device.regions.entries()) {
      const what = machine.regionName(i, region.index);
      if (!device.isMemory)
        see(`DMA to ${what}`, state[layout.consent(i, position)] === 1 ? 'allowed' : 'forbidden');
      for (let page = 0; page < region.pages; page++) {
        const content = state[layout.page(i, region.firstPage + page) + CONTENT];
        see(`page ${page} of ${what}`, contentName(content!));
      }
    }
  }
  where = 'page tables';
  for (const [vma, { name, pages }] of plan.vmas.entries()) {
    for (let page = 0; page < pages; page++)
      see(`page table of ${name}, page ${page}`, frameName(machine, state[layout.vmaPage(vma, page)]!));
  }
  where = 'IOMMU';
  for (const [mapping, { name }] of plan.mappings.entries()) {
    const at = layout.mapping(mapping);
    see(`IOMMU page table of ${name}`, frameName(machine, state[at + ENTRY]!));
    see(`IOTLB of ${name}`, frameName(machine, state[at + TLB]!));
  }
  return found;
}

function observeDevice(
  machine: Machine,
  state: State,
  device: number,
  see: (what: string, value: string) => void,
): void {
  const at = machine.layout.device(device);
  const name = machine.deviceName(device);
  see(`decode of ${name}`, state[at + DECODE] === 1 ? 'on' : 'off');
  see(`power of ${name}`, state[at + ASLEEP] === 1 ? 'D3hot' : 'D0');
  see(`answers of ${name}`, state[at + BUSY] === 1 ? 'none' : 'normal');
  see(`place of ${name}`, state[at + PLACE] === 1 ? 'second' : 'first');
  see(`opens of ${name}`, String(state[at + OPENS]));
  see(`references to ${name}`, String(state[at + REFERENCES]));
}

function contentName(content: number): string {
  if (content === LOST) return 'elsewhere';
  if (content === WRITTEN) return 'written';
  return content === CLEARED ? 'cleared' : `value ${content}`;
}

/** A lock, and the thread that has it; null if nobody has. */
export interface LockState {
  readonly lock: string;
  readonly holder: string | null;
}

/** Every lock, in an order that depends on the plan alone. */
export function observeLocks(machine: Machine, state: State): LockState[] {
  const { plan } = machine;
  const locks = [
    ...plan.devices.map((_, device) => memoryLock(machine, device)),
    ...plan.containers.map((_, container) => containerLock(machine, container)),
    ...plan.processes.map((_, process) => mmLock(machine, process)),
  ];
  return locks.map(({ name, cell }) => {
    const holder = state[cell]!;
    return { lock: name, holder: holder === 0 ? null : plan.threads[holder - 1]!.name };
  });
}

/** 'page 0 of BAR2 of gpu', for people. */
function frameName(machine: Machine, frame: number): string {
  if (frame === UNMAPPED) return 'no VMA';
  if (frame === 0) return 'no entry';
  const found = machine.plan.frames[frame];
  if (found === null || found === undefined) return 'memory of another driver';
  const region = machine.plan.regionOfPage(found.device, found.page);
  const where = `page ${found.page - region.firstPage} of ${machine.regionName(found.device, region.index)}`;
  return found.place === 0 ? where : `${where} (second place)`;
}
