/*
 * What the core asked of the hardware, done one step at a time: page table entries cleared, IOMMU entries cleared, the IOTLB
 * flushed, DMA waited for, memory put aside. Others run in between.
 */
import type { Order } from '../design.ts';
import type { Effect } from '../kernel.ts';
import {
  CONTENT,
  EFFECT,
  EFFECT_STEP,
  EFFECTS,
  ENTRY,
  HOLDS,
  LOST,
  MAPPED,
  PARKED,
  PLACE,
  REFERENCES,
  type State,
  TLB,
  UNMAPPED,
  ZAPPING,
} from '../layout.ts';
import { type Machine, NEXT, type Role, STAY, type Step } from '../machine.ts';
import { inFlight } from '../truth.ts';
import { containerLock, isFree, type Lock, letGo, take } from './locks.ts';
import { contentBit, entryBit, flightBit, pageTableBit } from './touches.ts';

const ONE_STEP: Order = ['do it'];

/** The words of one effect under a design. */
function wordsOf(machine: Machine, effect: Effect): Order {
  const { revoke, restore } = machine.design.order;
  switch (effect.kind) {
    case 'revoke':
      return revoke.filter((word) => word !== 'drop reference');
    case 'released':
      return revoke;
    case 'unmapped':
      // Who unmaps holds the container's lock from before to after.
      return revoke.filter((word) => word !== 'lock container' && word !== 'unlock');
    case 'restore':
      return restore;
    default:
      return ONE_STEP;
  }
}

/** The step that works off a thread's list of effects, one at a time. Its bits are those of everything a device may reach. */
export function effectsStep(machine: Machine, touches: number, barsOnly: boolean): Step {
  const locks = machine.plan.containers.map((_, container) => containerLock(machine, container));
  const words = new Map<Effect, Order>();
  const orderOf = (effect: Effect): Order => {
    let order = words.get(effect);
    if (order === undefined) {
      order = wordsOf(machine, effect);
      words.set(effect, order);
    }
    return order;
  };
  const current = (state: State, thread: number): Effect | undefined => {
    const at = machine.layout.thread(thread);
    return machine.effects(state[at + EFFECTS]!)[state[at + EFFECT]!];
  };
  const perform = (effect: Effect, word: string, state: State, thread: number): void => {
    if (effect.kind === 'zap') zap(machine, state, effect, barsOnly);
    else if ('mapping' in effect) {
      const lock = locks[machine.plan.mappings[effect.mapping]!.container]!;
      performOnMapping(machine, state, thread, effect.mapping, word, lock);
    } else moveContents(machine, state, effect.device, effect.region, effect.kind === 'park');
  };
  return {
    touches,
    worksOffEffects: true,
    role: (state, thread) => {
      const effect = current(state, thread);
      const order = effect === undefined ? ONE_STEP : orderOf(effect);
      const at = state[machine.layout.thread(thread) + EFFECT_STEP]!;
      return { last: roleOf(order[at - 1]), next: roleOf(order[at]) };
    },
    label: (state, thread) => {
      const effect = current(state, thread);
      if (effect === undefined) return 'has nothing to do';
      return describe(machine, effect, orderOf(effect)[state[machine.layout.thread(thread) + EFFECT_STEP]!]);
    },
    ready: (state, thread) => {
      const effect = current(state, thread);
      if (effect === undefined || !('mapping' in effect)) return true;
      const word = orderOf(effect)[state[machine.layout.thread(thread) + EFFECT_STEP]!];
      if (word === 'drain') return !inFlight(machine, state, effect.mapping);
      if (word !== 'lock container') return true;
      return isFree(locks[machine.plan.mappings[effect.mapping]!.container]!, state);
    },
    run: (state, thread) => {
      const at = machine.layout.thread(thread);
      const effect = current(state, thread);
      if (effect !== undefined) {
        const order = orderOf(effect);
        const word = order[state[at + EFFECT_STEP]!];
        if (word !== undefined) perform(effect, word, state, thread);
        state[at + EFFECT_STEP]!++;
        if (state[at + EFFECT_STEP]! < order.length) return STAY;
        state[at + EFFECT]!++;
        state[at + EFFECT_STEP] = 0;
        if (effect.kind === 'zap' && current(state, thread)?.kind !== 'zap') endZap(machine, state, thread);
        if (current(state, thread) !== undefined) return STAY;
      }
      state[at + EFFECTS] = 0;
      state[at + EFFECT] = 0;
      endZap(machine, state, thread);
      return NEXT;
    },
  };
}

/**
 * The core walks a device's VMAs without a break, so none may come or go from the call until the last of them is done: what the
 * kernel's walk holds i_mmap_rwsem for. Page table entries may come and go.
 */
export function beginZap(machine: Machine, state: State, thread: number, device: number): void {
  const list = machine.effects(state[machine.layout.thread(thread) + EFFECTS]!);
  if (list.some(({ kind }) => kind === 'zap')) state[machine.layout.device(device) + ZAPPING] = thread + 1;
}

function endZap(machine: Machine, state: State, thread: number): void {
  for (let device = 0; device < machine.plan.devices.length; device++) {
    const cell = machine.layout.device(device) + ZAPPING;
    if (state[cell] === thread + 1) state[cell] = 0;
  }
}

/** Bits of everything that taking a device's memory away, or giving it back, may touch. */
export function effectBits(machine: Machine, device: number): number {
  const { plan } = machine;
  let bits = contentBit(machine, device);
  for (const [vma, slot] of plan.vmas.entries())
    if (slot.device === device) bits |= pageTableBit(machine, vma);
  for (const [mapping, slot] of plan.mappings.entries()) {
    if (plan.vmas[slot.vma]!.device !== device) continue;
    bits |=
      entryBit(machine, mapping) |
      flightBit(machine, mapping) |
      containerLock(machine, slot.container).touches;
  }
  return bits;
}

function roleOf(word: string | undefined): Role {
  if (word === 'lock container') return 'lock';
  return word === 'unlock' ? 'unlock' : 'other';
}

function zap(
  machine: Machine,
  state: State,
  { vma, page, pages }: Extract<Effect, { kind: 'zap' }>,
  barsOnly: boolean,
): void {
  const { device, region, name } = machine.plan.vmas[vma]!;
  const { index, isBar } = machine.plan.devices[device]!.regions[region]!;
  let gone = false;
  for (let each = page; each < page + pages; each++) {
    const cell = machine.layout.vmaPage(vma, each);
    if (state[cell] === UNMAPPED || state[cell] === 0) continue;
    state[cell] = 0;
    gone = true;
  }
  if (!gone || !barsOnly || isBar) return;
  machine.report(
    'R5',
    () => `${name} shows ${machine.regionName(device, index)}, and was taken away together with the BARs`,
  );
}

function moveContents(machine: Machine, state: State, device: number, region: number, away: boolean): void {
  const { firstPage, pages } = machine.plan.devices[device]!.regions[region]!;
  for (let page = firstPage; page < firstPage + pages; page++) {
    const at = machine.layout.page(device, page);
    if (away) {
      state[at + PARKED] = state[at + CONTENT]!;
      state[at + CONTENT] = LOST;
    } else {
      state[at + CONTENT] = state[at + PARKED]!;
      state[at + PARKED] = 0;
    }
  }
}

function performOnMapping(
  machine: Machine,
  state: State,
  thread: number,
  mapping: number,
  word: string,
  lock: Lock,
): void {
  const at = machine.layout.mapping(mapping);
  switch (word) {
    case 'lock container':
      take(lock, state, thread);
      return;
    case 'clear':
      state[at + ENTRY] = 0;
      return;
    case 'flush':
      state[at + TLB] = 0;
      return;
    case 'drop reference':
      dropReference(machine, state, mapping);
      return;
    case 'program':
      program(machine, state, mapping);
      return;
    case 'unlock':
      letGo(lock, state, thread);
      return;
  }
}

/** The IOMMU learns what the core holds for a mapping, if that can be reached. */
export function program(machine: Machine, state: State, mapping: number): void {
  const { reachable, targets } = machine.facts(state);
  const at = machine.layout.mapping(mapping);
  if (!reachable[mapping] || state[at + MAPPED] === 0) return;
  const { device } = machine.plan.vmas[machine.plan.mappings[mapping]!.vma]!;
  const place = state[machine.layout.device(device) + PLACE]!;
  state[at + ENTRY] = machine.plan.frame(device, place, targets[mapping]! - 1);
}

function dropReference(machine: Machine, state: State, mapping: number): void {
  const at = machine.layout.mapping(mapping);
  if (state[at + HOLDS] === 0) return;
  state[at + HOLDS] = 0;
  const { device } = machine.plan.vmas[machine.plan.mappings[mapping]!.vma]!;
  state[machine.layout.device(device) + REFERENCES]!--;
}

function describe(machine: Machine, effect: Effect, word: string | undefined): string {
  if (effect.kind === 'zap') {
    const { name, process } = machine.plan.vmas[effect.vma]!;
    return `clears the page table entries of ${name} in ${machine.plan.processes[process]}`;
  }
  if (!('mapping' in effect)) {
    const { index } = machine.plan.devices[effect.device]!.regions[effect.region]!;
    const region = machine.regionName(effect.device, index);
    return effect.kind === 'park'
      ? `puts the contents of ${region} aside`
      : `brings the contents of ${region} back`;
  }
  const { name, container } = machine.plan.mappings[effect.mapping]!;
  const where = machine.plan.containers[container]!;
  switch (word) {
    case 'lock container':
      return `takes the lock of container ${where}`;
    case 'clear':
      return `clears the IOMMU page table entry of ${name}`;
    case 'flush':
      return `flushes ${name} from the IOTLB`;
    case 'drain':
      return `sees that no DMA through ${name} is in flight`;
    case 'drop reference':
      return `drops the reference of ${name} to the device`;
    case 'program':
      return `writes the IOMMU page table entry of ${name} again`;
    default:
      return `lets go of the lock of container ${where}`;
  }
}
