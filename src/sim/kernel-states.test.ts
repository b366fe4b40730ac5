/*
 * A state that is remembered stands for every history that led to it. So objects that live through a whole walk must say and do the
 * same, call by call, as the remembered states, which were made by other and shorter histories.
 */
import { expect, test } from 'vitest';
import { HURRICANE } from '../explore/hurricane.ts';
import { openEnded } from '../explore/random.ts';
import { DESIGNS } from './designs.ts';
import { type Move, SimulatedHost } from './host.ts';
import { Kernel } from './kernel.ts';
import type { KernelStates, Transition } from './kernel-states.ts';

const WALKS = 30;
const STEPS = 1500;

/** Follows the calls of a host on objects of its own, and compares. */
class Follower {
  calls = 0;
  #live: Kernel;
  readonly #fresh: () => Kernel;

  constructor(host: SimulatedHost) {
    const { plan, design, kernel } = host.machine;
    this.#fresh = () => new Kernel(plan, design);
    this.#live = this.#fresh();
    const transition = kernel.transition.bind(kernel);
    kernel.transition = (state, number) => this.#compare(kernel, transition(state, number), number);
  }

  begin(): void {
    this.#live = this.#fresh();
  }

  #compare(kernel: KernelStates, found: Transition, number: number): Transition {
    this.calls++;
    expect(this.#live.call(kernel.calls[number]!)).toBe(found.result);
    expect(this.#live.effects).toEqual(kernel.effects(found.effects));
    expect(this.#live.facts()).toMatchObject(kernelFacts(kernel, found.to));
    return found;
  }
}

function kernelFacts(kernel: KernelStates, state: number): object {
  const { faults, miscoded, targets, reachable, translates, listeners } = kernel.facts(state);
  return { faults, miscoded, targets, reachable, translates, listeners };
}

test.each(DESIGNS)('$name: remembered states behave like objects that live through it all', (design) => {
  const host = new SimulatedHost(openEnded(HURRICANE, STEPS), design);
  const follower = new Follower(host);
  const moves: Move[] = [];
  let seed = 1;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  for (let walk = 0; walk < WALKS; walk++) {
    follower.begin();
    const state = host.initial();
    for (let step = 0; step < STEPS; step++) {
      const count = host.moves(state, moves);
      if (count === 0) break;
      host.take(state, moves[random(count)]!);
    }
  }
  expect(follower.calls).toBeGreaterThan(2000);
});
