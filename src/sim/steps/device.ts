/*
 * What takes a device's memory away and brings it back: memory decode, power states, reset, a BAR that is moved, and the driver's
 * consent. Linux: vfio_pci_zap_and_down_write_memory_lock and who calls it.
 */
import type { Order } from '../design.ts';
import type { KernelCall } from '../kernel.ts';
import { ASLEEP, BUSY, DECODE, PLACE, type State } from '../layout.ts';
import { END, type Machine, NEXT, type Step } from '../machine.ts';
import type { PlannedRegion } from '../plan-devices.ts';
import { withdrawn } from '../truth.ts';
import { beginZap, effectBits, effectsStep } from './effects.ts';
import { clear } from './files.ts';
import { lockStep, memoryLock, unlockStep } from './locks.ts';
import { contentBit, deviceBit } from './touches.ts';

type Reason = Extract<KernelCall, { reason: unknown }>['reason'];

/** What one such operation does to the hardware, and the reason that the core is given. */
interface Change {
  readonly order: Order;
  readonly reason: Reason;
  readonly off?: readonly [what: string, run: (state: State, at: number) => void];
  readonly on?: readonly [what: string, run: (state: State, at: number) => void];
}

export type ChangeName = 'disable' | 'enable' | 'sleep' | 'wake' | 'reset' | 'relocate';

function changeOf(machine: Machine, device: number, name: ChangeName): Change {
  const { disable, enable, reset } = machine.design.order;
  const what = machine.deviceName(device);
  const set = (cell: number, value: number) => (state: State, at: number) => {
    state[at + cell] = value;
  };
  const decode: Reason = 'memory decode is off';
  const sleep: Reason = 'device is in D3hot';
  switch (name) {
    case 'disable':
      return { order: disable, reason: decode, off: [`clears memory decode of ${what}`, set(DECODE, 0)] };
    case 'enable':
      return { order: enable, reason: decode, on: [`sets memory decode of ${what}`, set(DECODE, 1)] };
    case 'sleep':
      return { order: disable, reason: sleep, off: [`puts ${what} into D3hot`, set(ASLEEP, 1)] };
    case 'wake':
      return { order: enable, reason: sleep, on: [`puts ${what} into D0`, set(ASLEEP, 0)] };
    case 'reset':
      return {
        order: reset,
        reason: 'device is in reset',
        off: [
          `starts the reset of ${what}`,
          (state, at) => {
            state[at + BUSY] = 1;
            clearAfterReset(machine, state, device);
          },
        ],
        on: [`the reset of ${what} is over`, set(BUSY, 0)],
      };
    case 'relocate':
      return {
        order: reset,
        reason: 'device is stopped',
        off: [`takes the BARs of ${what} from their address`, set(BUSY, 1)],
        on: [
          `gives the BARs of ${what} another address`,
          (state, at) => {
            state[at + BUSY] = 0;
            state[at + PLACE] = 1 - state[at + PLACE]!;
          },
        ],
      };
  }
}

function clearAfterReset(machine: Machine, state: State, device: number): void {
  for (const { clearedByReset, firstPage, pages } of machine.plan.devices[device]!.regions) {
    if (!clearedByReset) continue;
    for (let page = firstPage; page < firstPage + pages; page++)
      clear(state, machine.layout.page(device, page));
  }
}

/** The steps of one of these operations. */
export function changeSteps(machine: Machine, device: number, name: ChangeName): Step[] {
  const { layout, design } = machine;
  const { order, reason, off, on } = changeOf(machine, device, name);
  const at = layout.device(device);
  const { kind } = machine.plan.devices[device]!;
  const lock = memoryLock(machine, device);
  const bits = deviceBit(machine, device);
  const everything = bits | effectBits(machine, device);
  const told = design.zap[kind] !== 'nothing' || design.notifier === 'suspend-and-release';
  const barsOnly = kind === 'pci';
  const core = (call: 'suspend' | 'resume', label: string): Step[] => {
    if (!told) return [];
    const number = machine.callNumber({ call, device, reason });
    return [
      {
        label: () => label,
        touches: everything,
        run: (state, thread) => {
          machine.call(state, thread, number);
          beginZap(machine, state, thread, device);
          return NEXT;
        },
      },
      effectsStep(machine, everything, barsOnly),
    ];
  };
  const hardware = (change: Change['off'], judge: (state: State) => void): Step[] => {
    if (change === undefined) return [];
    const [label, run] = change;
    return [
      {
        label: () => label,
        touches: everything | contentBit(machine, device),
        run: (state) => {
          run(state, at);
          judge(state);
          return NEXT;
        },
      },
    ];
  };
  const words: Record<string, () => Step[]> = {
    'lock memory': () => [lockStep(lock)],
    withdraw: () => core('suspend', `says that the memory of ${machine.deviceName(device)} goes away`),
    'hardware off': () =>
      hardware(off, (state) => withdrawn(machine, state, device, ({ isBar }: PlannedRegion) => isBar, true)),
    'hardware on': () => hardware(on, () => {}),
    return: () => core('resume', `says that the memory of ${machine.deviceName(device)} is back`),
    unlock: () => [unlockStep([lock], 0, () => END)],
  };
  return order.flatMap((word) => words[word]!());
}

/** The driver announces a region as a DMA target, or withdraws it (R3). */
export function consentSteps(
  machine: Machine,
  device: number,
  region: number,
  dma: 'allow' | 'deny',
): Step[] {
  const { layout, design } = machine;
  const { index } = machine.plan.devices[device]!.regions[region]!;
  const call = machine.callNumber({ call: 'consent', device, region: index, dma });
  const cell = layout.consent(device, region);
  const lock = memoryLock(machine, device);
  const bits = deviceBit(machine, device) | effectBits(machine, device);
  const change: Step = {
    label: () => `${dma === 'allow' ? 'allows' : 'forbids'} DMA to ${machine.regionName(device, index)}`,
    touches: bits,
    run: (state, thread) => {
      if (design.consent === 'region') machine.call(state, thread, call);
      if (dma === 'allow') state[cell] = 1;
      return NEXT;
    },
  };
  const done = unlockStep([lock], bits, (state) => {
    if (dma === 'allow') return END;
    state[cell] = 0;
    withdrawn(machine, state, device, (each) => each.index === index, false);
    return END;
  });
  return [lockStep(lock), change, effectsStep(machine, bits, false), done];
}
