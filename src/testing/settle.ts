/*
 * Letting a device do what it has queued. Nothing tells when that is over, so the event loop turns until nothing has
 * happened for some turns in a row.
 */
import { VfioError } from '../core/index.ts';
import { realSetImmediate, realSetTimeout } from './real-timers.ts';

/** Turns without DMA or interrupt until the device counts as quiet. */
const QUIET_TURNS = 5;
const MAX_TURNS = 1000;

/**
 * Resolves when the device is quiet: microtasks, promises, and chains of up to five timers of 0 have run.
 * @param activity counts what the device has done so far
 * @param busy whether something is under way
 */
export async function settle(activity: () => number, busy: () => boolean): Promise<void> {
  let seen = activity();
  let quiet = 0;
  for (let turn = 0; turn < MAX_TURNS; turn++) {
    await new Promise((resolve) => realSetTimeout(resolve, 0));
    await new Promise((resolve) => realSetImmediate(resolve));
    const now = activity();
    quiet = now === seen && !busy() ? quiet + 1 : 0;
    seen = now;
    if (quiet === QUIET_TURNS) return;
  }
  const why = busy() ? 'a DMA is still under way' : 'it goes on by itself; wait for an interrupt instead';
  throw new VfioError(
    'ETIMEDOUT',
    `the device did not settle within ${MAX_TURNS} turns of the event loop: ${why}`,
  );
}
