/*
 * Taking locks and letting them go. A lock is held by one thread.
 */
import type { State } from '../layout.ts';
import { LOCK } from '../layout.ts';
import { type Machine, NEXT, type Step } from '../machine.ts';

/** A lock of the host. */
export interface Lock {
  readonly name: string;
  readonly cell: number;
  readonly touches: number;
}

/** Kernel: `vfio_pci_core_device::memory_lock`. */
export function memoryLock(machine: Machine, device: number): Lock {
  const name = `the memory lock of ${machine.deviceName(device)}`;
  return { name, cell: machine.layout.device(device) + LOCK, touches: machine.bit(name) };
}

/** Kernel: `vfio_iommu::lock`. */
export function containerLock(machine: Machine, container: number): Lock {
  const name = `the lock of container ${machine.plan.containers[container]}`;
  return { name, cell: machine.layout.containerLock(container), touches: machine.bit(name) };
}

/** Kernel: `mm_struct::mmap_lock`. */
export function mmLock(machine: Machine, process: number): Lock {
  const name = `the mmap lock of ${machine.plan.processes[process]}`;
  return { name, cell: machine.layout.mmLock(process), touches: machine.bit(name) };
}

/** Whether it can be taken. Who has it and wants it again waits for ever, as in the kernel. */
export function isFree(lock: Lock, state: State): boolean {
  return state[lock.cell] === 0;
}

/** Whether nobody else has it. */
export function isUndisturbed(lock: Lock, state: State, thread: number): boolean {
  return state[lock.cell] === 0 || state[lock.cell] === thread + 1;
}

export function take(lock: Lock, state: State, thread: number): void {
  state[lock.cell] = thread + 1;
}

/** Lets a lock go, if this thread has it. */
export function letGo(lock: Lock, state: State, thread: number): void {
  if (state[lock.cell] === thread + 1) state[lock.cell] = 0;
}

/** The step that waits for a lock and takes it. */
export function lockStep(lock: Lock): Step {
  return {
    label: () => `takes ${lock.name}`,
    role: 'lock',
    touches: lock.touches,
    ready: (state) => isFree(lock, state),
    run: (state, thread) => {
      take(lock, state, thread);
      return NEXT;
    },
  };
}

/**
 * The last step of most operations: lets all locks go. `then` looks at what is left behind, while the locks are still held, and
 * says what comes next.
 */
export function unlockStep(
  locks: readonly Lock[],
  touches: number,
  then: (state: State, thread: number) => number,
): Step {
  return {
    label: (state, thread) => {
      const held = locks.filter(({ cell }) => state[cell] === thread + 1).map(({ name }) => name);
      return held.length === 0 ? 'is done' : `lets go of ${held.join(' and ')}`;
    },
    role: touches === 0 ? 'unlock' : 'other',
    touches: locks.reduce((bits, lock) => bits | lock.touches, touches),
    run: (state, thread) => {
      const next = then(state, thread);
      for (const lock of locks) letGo(lock, state, thread);
      return next;
    },
  };
}
