/*
 * A new instance of the device under a living session: what must be the same about it, and how long the old one may take
 * to finish. See VfioUserServer.replaceDevice.
 */
import { type VfioDevice, VfioError } from '../core/index.ts';
import { doorbellDifferences } from './io-fds.ts';
import { REPLACE_PATIENCE_MS } from './limits.ts';

/** What the client saw of it: nothing, or a reset. */
export type ReplacedState = 'carried' | 'reset';

/** Differences that a message lists; it says how many more there are. */
const LISTED_DIFFERENCES = 12;

/** The new instance is not the device that the client knows. The old one goes on. */
export class LayoutError extends VfioError {
  override readonly name: string = 'LayoutError';
  /** One phrase each. */
  readonly differences: readonly string[];

  constructor(device: string, differences: readonly string[]) {
    const more = differences.length - LISTED_DIFFERENCES;
    const listed = differences.slice(0, LISTED_DIFFERENCES).join('; ') + (more > 0 ? `; ${more} more` : '');
    super(
      'EINVAL',
      `${device} cannot be replaced under its client: ${listed}. The device before goes on; ` +
        'take the changes back, or serve anew and restart the guest (or detach and attach the device)',
    );
    this.differences = differences;
  }
}

/** LayoutError if a client of `old` would notice that `next` is another device. */
export function checkLayout(old: VfioDevice, next: VfioDevice): void {
  const differences = [...old.differences(next), ...doorbellDifferences(old, next)];
  if (differences.length > 0) throw new LayoutError(old.name, differences);
}

/** Carries the state of `old` over to `next`, if both declare it. EINVAL: their code threw. */
export function carryState(old: VfioDevice, next: VfioDevice): ReplacedState {
  // Half of a reset is no state to go on with.
  if (old.resetting !== null) return 'reset';
  try {
    return next.carryOver(old) ? 'carried' : 'reset';
  } catch (cause) {
    throw new VfioError(
      'EINVAL',
      `the state of ${old.name} cannot be carried over: ${(cause as Error).message}. ` +
        'The device before goes on; correct saveState or restoreState',
      { cause },
    );
  }
}

/**
 * Waits until the device is at no work any more, but not for ever. `work` says what to wait for next; null: nothing.
 */
export async function withPatience(work: () => Promise<void> | null): Promise<void> {
  let over = false;
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(() => {
      over = true;
      resolve();
    }, REPLACE_PATIENCE_MS);
  });
  for (let next = work(); next !== null && !over; next = work()) await Promise.race([next, patience]);
  clearTimeout(timer);
}
