/*
 * What must be so while nobody is doing anything: nothing is forgotten, lost or left over.
 */
import {
  CONTENT,
  ENTRY,
  EXPECTED,
  GENERATION,
  HOLDS,
  LIVE,
  LOCK,
  MAPPED,
  OPENS,
  OPERATION,
  REFERENCES,
  type State,
} from './layout.ts';
import type { Machine } from './machine.ts';
import { isMapped } from './steps/files.ts';
import { mustTranslate, unmapped, unreachable, untranslated } from './truth.ts';

/** Nobody is doing anything: nothing may be forgotten, lost or left over. */
export function quiescent(machine: Machine, state: State): void {
  const { plan, layout } = machine;
  for (let thread = 0; thread < plan.threads.length; thread++)
    if (state[layout.thread(thread) + OPERATION] !== 0) return;
  for (let device = 0; device < plan.devices.length; device++) quiescentDevice(machine, state, device);
  for (let mapping = 0; mapping < plan.mappings.length; mapping++) {
    const at = layout.mapping(mapping);
    if (state[at + ENTRY] === 0 && mustTranslate(machine, state, mapping))
      untranslated(machine, state, mapping);
    judgeTranslation(machine, state, mapping);
    if (state[at + MAPPED] === 0) unmapped(machine, state, mapping);
  }
  for (const lock of locks(machine))
    if (state[lock] !== 0) machine.report('deadlock', () => 'a lock is held by nobody who could let it go');
}

/** What the container says of a mapping agrees with what is so: our servers have no other IOMMU. */
function judgeTranslation(machine: Machine, state: State, mapping: number): void {
  const { plan } = machine;
  const { name, vma, page } = plan.mappings[mapping]!;
  const { device } = plan.vmas[vma]!;
  const translates = machine.facts(state).translates[mapping];
  if (translates === null || translates === undefined || device < 0) return;
  const region = plan.regionOfPage(device, plan.shown(vma, page));
  const reason = unreachable(machine, state, device, region);
  if (translates && reason !== null)
    machine.report('R4', () => `the container translates ${name} although ${reason}`);
  if (!translates && mustTranslate(machine, state, mapping))
    machine.report(
      'R7',
      () => `the container does not translate ${name}, although its memory can be reached`,
    );
}

function quiescentDevice(machine: Machine, state: State, device: number): void {
  const { plan, layout } = machine;
  const { name, regions } = plan.devices[device]!;
  let held = 0;
  let mapped = 0;
  for (const [mapping, { vma }] of plan.mappings.entries()) {
    if (plan.vmas[vma]!.device !== device) continue;
    const at = layout.mapping(mapping);
    if (state[at + MAPPED] === 0) continue;
    mapped++;
    if (state[at + HOLDS] === 1) held++;
    const alive = state[at + MAPPED] === state[layout.device(device) + GENERATION]! + 1;
    if (
      machine.design.reference &&
      plan.holdsFile(device) &&
      alive &&
      state[layout.device(device) + LIVE] === 1 &&
      state[at + HOLDS] === 0
    )
      machine.report('R6', () => `${plan.mappings[mapping]!.name} holds no reference to ${name}`);
  }
  const references = state[layout.device(device) + REFERENCES];
  if (references !== held)
    machine.report('leak', () => `${references} references to ${name} are held, for ${held} mappings`);
  const users = usersOf(machine, state, device);
  if (plan.holdsFile(device) && state[layout.device(device) + OPENS] !== users)
    machine.report(
      'leak',
      () => `${name} counts ${state[layout.device(device) + OPENS]} users and has ${users}`,
    );
  const listeners = machine.facts(state).listeners[device]!;
  if (mapped === 0 && listeners > 0)
    machine.report('leak', () => `${listeners} listeners are left at ${name}, and nothing is mapped`);
  for (const region of regions) {
    if (unreachable(machine, state, device, region) !== null) continue;
    for (let page = region.firstPage; page < region.firstPage + region.pages; page++) {
      const at = layout.page(device, page);
      if (state[at + CONTENT] === state[at + EXPECTED]) continue;
      machine.report('R8', () => `what was written to ${machine.regionName(device, region.index)} is gone`);
    }
  }
}

/** Files and VMAs that hold a device. */
function usersOf(machine: Machine, state: State, device: number): number {
  const { plan, layout } = machine;
  let users = 0;
  for (let process = 0; process < plan.processes.length; process++)
    users += state[layout.file(process, device)]!;
  for (let vma = 0; vma < plan.vmas.length; vma++) {
    if (plan.vmas[vma]!.device !== device) continue;
    if (isMapped(machine, state, vma)) users++;
  }
  return users;
}

/** The cells of all locks. */
export function locks(machine: Machine): number[] {
  const { plan, layout } = machine;
  return [
    ...plan.devices.map((_, i) => layout.device(i) + LOCK),
    ...plan.containers.map((_, i) => layout.containerLock(i)),
    ...plan.processes.map((_, i) => layout.mmLock(i)),
  ];
}
