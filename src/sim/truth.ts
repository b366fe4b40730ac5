/*
 * What is true of the hardware, whatever the software believes: which memory answers at this moment, and what an access that gets
 * through really reaches. The rules are judged here and only here, and nothing of src/core is asked.
 */
import {
  ASLEEP,
  BUSY,
  CONTENT,
  DECODE,
  ENTRY,
  EXPECTED,
  FRAME,
  GENERATION,
  IN_FLIGHT,
  LIVE,
  LOCK,
  MAPPED,
  PLACE,
  type State,
  TLB,
  UNMAPPED,
} from './layout.ts';
import type { Machine } from './machine.ts';
import type { PlannedRegion } from './plan-devices.ts';

/** Why a region's memory does not answer, or null. */
export function unreachable(
  machine: Machine,
  state: State,
  device: number,
  region: PlannedRegion,
): string | null {
  const at = machine.layout.device(device);
  if (state[at + LIVE] === 0) return 'the device is released';
  if (!region.isBar) return null;
  if (state[at + DECODE] === 0) return 'memory decode is off';
  if (state[at + ASLEEP] === 1) return 'the device is in D3hot';
  if (state[at + BUSY] === 1) return 'the device is in reset';
  return null;
}

/** A load of page `page` of a VMA, or a store of `write`, goes to `frame`. */
export function cpuAccess(
  machine: Machine,
  state: State,
  vma: number,
  page: number,
  frame: number,
  write: number | null,
): void {
  const { name, device } = machine.plan.vmas[vma]!;
  if (device < 0) return;
  const who = `the CPU, through ${name}`;
  const shown = machine.plan.shown(vma, page);
  if (!leadsThere(machine, state, frame, device, shown, who, 'R1')) return;
  access(machine, state, device, shown, write, who);
}

/** A DMA that went through page `page` of a mapping arrives at `frame`, to read or to write `write`. */
export function dmaAccess(
  machine: Machine,
  state: State,
  mapping: number,
  page: number,
  frame: number,
  write: number | null,
): void {
  const { name, vma, page: first } = machine.plan.mappings[mapping]!;
  const { device } = machine.plan.vmas[vma]!;
  if (device < 0) return;
  const who = `a DMA through ${name}`;
  const shown = machine.plan.shown(vma, first + page);
  const region = machine.plan.regionOfPage(device, shown);
  const at = machine.layout.device(device);
  if (
    state[at + LIVE] === 0 ||
    state[machine.layout.mapping(mapping) + MAPPED] !== state[at + GENERATION]! + 1
  ) {
    const text = (): string =>
      `${who} reaches ${machine.regionName(device, region.index)}, which was released: use after free`;
    machine.report('R4', text);
    machine.report('R6', text);
    machine.outcome = whatAnswers(machine, state, frame, write);
    return;
  }
  if (!leadsThere(machine, state, frame, device, shown, who, 'R2')) return;
  const position = machine.plan.devices[device]!.regions.indexOf(region);
  if (state[machine.layout.consent(device, position)] === 0) {
    machine.report(
      'R3',
      () => `${who} reaches ${machine.regionName(device, region.index)}, whose driver has not allowed DMA`,
    );
  }
  access(machine, state, device, shown, write, who);
}

/** What an access comes to that should never have left: who has the address and decodes it takes it, else nobody answers. */
function whatAnswers(machine: Machine, state: State, frame: number, write: number | null): string {
  const found = machine.plan.frames[frame];
  if (found === null || found === undefined) return 'no answer';
  const at = machine.layout.device(found.device);
  const region = machine.plan.regionOfPage(found.device, found.page);
  const decodes = state[at + DECODE] === 1 && state[at + ASLEEP] === 0 && state[at + BUSY] === 0;
  if (region.isBar && (found.place !== state[at + PLACE] || !decodes)) return 'no answer';
  const page = machine.layout.page(found.device, found.page);
  // Who opened the device again keeps what it wrote: the rule is broken already, and is not broken once more by what was lost.
  if (write !== null && state[at + LIVE] === 0) state[page + CONTENT] = state[page + EXPECTED] = write;
  return `value ${state[page + CONTENT]}`;
}

function leadsThere(
  machine: Machine,
  state: State,
  frame: number,
  device: number,
  page: number,
  who: string,
  wrong: 'R1' | 'R2',
): boolean {
  const found = machine.plan.frames[frame];
  if (found === null || found === undefined) {
    machine.report(wrong, () => `${who} reaches memory that is no VFIO device's`);
    return false;
  }
  const region = machine.plan.regionOfPage(found.device, found.page);
  if (found.device !== device || found.page !== page) {
    machine.report(
      wrong,
      () => `${who} reaches ${machine.regionName(found.device, region.index)} by mistake`,
    );
    return false;
  }
  if (region.isBar && found.place !== state[machine.layout.device(device) + PLACE]) {
    machine.report(
      'R4',
      () => `${who} goes to an address from which ${machine.regionName(device, region.index)} has moved away`,
    );
    return false;
  }
  return true;
}

function access(
  machine: Machine,
  state: State,
  device: number,
  page: number,
  write: number | null,
  who: string,
): void {
  const region = machine.plan.regionOfPage(device, page);
  const reason = unreachable(machine, state, device, region);
  if (reason !== null) {
    machine.outcome = 'no answer';
    machine.report(
      'R4',
      () => `${who} reaches ${machine.regionName(device, region.index)} although ${reason}`,
    );
    return;
  }
  const at = machine.layout.page(device, page);
  if (write !== null) {
    state[at + CONTENT] = write;
    state[at + EXPECTED] = write;
  } else if (state[at + CONTENT] !== state[at + EXPECTED]) {
    machine.report(
      'R8',
      () => `${who} reads ${machine.regionName(device, region.index)} and does not find what was there`,
    );
  }
  machine.outcome = `value ${state[at + CONTENT]}`;
}

/** A fault was answered with SIGBUS: was there a reason? R7 if not. */
export function refused(machine: Machine, state: State, vma: number, page: number): void {
  const { name, device } = machine.plan.vmas[vma]!;
  if (device < 0) return;
  const region = machine.plan.regionOfPage(device, machine.plan.shown(vma, page));
  if (unreachable(machine, state, device, region) !== null) return;
  machine.report(
    'R7',
    () => `SIGBUS for ${name}, although ${machine.regionName(device, region.index)} can be reached`,
  );
}

/** Whether a mapping must translate now: it was mapped, it may be reached, and nobody is just changing that. */
export function mustTranslate(machine: Machine, state: State, mapping: number): boolean {
  const { layout, plan } = machine;
  const { vma, page, container } = plan.mappings[mapping]!;
  const { device } = plan.vmas[vma]!;
  if (device < 0 || state[layout.containerLock(container)] !== 0) return false;
  const at = layout.device(device);
  if (state[at + LOCK] !== 0 || state[layout.mapping(mapping) + MAPPED] !== state[at + GENERATION]! + 1)
    return false;
  const region = plan.regionOfPage(device, plan.shown(vma, page));
  const position = plan.devices[device]!.regions.indexOf(region);
  return (
    state[layout.consent(device, position)] === 1 && unreachable(machine, state, device, region) === null
  );
}

/** A DMA found no translation: R7 if there must be one. */
export function untranslated(machine: Machine, state: State, mapping: number): void {
  if (!mustTranslate(machine, state, mapping)) return;
  const { name } = machine.plan.mappings[mapping]!;
  machine.report('R7', () => `${name} is mapped and its memory can be reached, but it does not translate`);
}

/**
 * The memory of a device was taken away, and whoever took it away goes on as if nobody could reach it: R6 if an IOMMU can, R5 if
 * a CPU can. `taken` says which regions.
 */
export function withdrawn(
  machine: Machine,
  state: State,
  device: number,
  taken: (region: PlannedRegion) => boolean,
  cpu: boolean,
): void {
  const { plan, layout } = machine;
  const among = (frame: number): boolean => {
    const found = plan.frames[frame];
    return found?.device === device && taken(plan.regionOfPage(device, found.page));
  };
  const regionOf = (frame: number): string =>
    machine.regionName(device, plan.regionOfPage(device, plan.frames[frame]!.page).index);
  for (let mapping = 0; mapping < plan.mappings.length; mapping++) {
    const at = layout.mapping(mapping);
    for (const [cell, what] of [
      [ENTRY, 'IOMMU page table'],
      [TLB, 'IOTLB'],
    ] as const) {
      const frame = state[at + cell]!;
      if (frame === 0 || !among(frame)) continue;
      const { name } = plan.mappings[mapping]!;
      machine.report('R6', () => `${regionOf(frame)} was taken away, but the ${what} still has ${name}`);
    }
  }
  for (let thread = 0; thread < plan.threads.length; thread++) {
    const at = layout.thread(thread);
    const frame = state[at + FRAME]!;
    if (state[at + IN_FLIGHT] === 0 || !among(frame)) continue;
    machine.report('R6', () => `${regionOf(frame)} was taken away, but a DMA to it is in flight`);
  }
  if (!cpu) return;
  for (let vma = 0; vma < plan.vmas.length; vma++) {
    const { name, pages } = plan.vmas[vma]!;
    for (let page = 0; page < pages; page++) {
      const frame = state[layout.vmaPage(vma, page)]!;
      if (frame === 0 || frame === UNMAPPED || !among(frame)) continue;
      machine.report(
        'R5',
        () =>
          `${regionOf(frame)} was taken away, but ${name} is still in a page table: ${whyMissed(machine, state, vma)}`,
      );
    }
  }
}

/** Why an invalidation of BAR0..ROM missed a VMA. */
function whyMissed(machine: Machine, state: State, vma: number): string {
  const { device, region } = machine.plan.vmas[vma]!;
  const { kind } = machine.plan.devices[device]!;
  const { zap, pgoff } = machine.design;
  if (zap[kind] === 'nothing') return `${kind} devices zap nothing`;
  if (zap[kind] === 'vma-list' || pgoff[kind] === 'region') return 'it was not found, or came back since';
  const { index, addresses } = machine.plan.devices[device]!.regions[region]!;
  const address = addresses[state[machine.layout.device(device) + PLACE]!]!;
  const hex = (value: number): string => `0x${value.toString(16)}`;
  return (
    `its vm_pgoff is the physical page ${hex(address / 4096)}, and the range that is invalidated, BAR0 to ROM, is pages ` +
    `0 to ${hex(6 * 2 ** 28)} of the region coding, where region ${index} would be ${hex(index * 2 ** 28)}`
  );
}

/** A mapping was unmapped and the caller goes on: nothing of it may be left. */
export function unmapped(machine: Machine, state: State, mapping: number): void {
  const { name } = machine.plan.mappings[mapping]!;
  const at = machine.layout.mapping(mapping);
  if (state[at + ENTRY] !== 0 || state[at + TLB] !== 0)
    machine.report('R6', () => `${name} was unmapped, but the IOMMU still translates it`);
  if (inFlight(machine, state, mapping))
    machine.report('R6', () => `${name} was unmapped, but a DMA through it is in flight`);
}

/** Whether some DMA went through a mapping and has not arrived. */
export function inFlight(machine: Machine, state: State, mapping: number): boolean {
  for (let thread = 0; thread < machine.plan.threads.length; thread++)
    if (state[machine.layout.thread(thread) + IN_FLIGHT] === mapping + 1) return true;
  return false;
}
