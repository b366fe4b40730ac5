/**
 * Keeps a guest from flooding whoever reads the events: toggling memory decode makes two lines each time, and writing to a
 * full pipe stops the process. What people and programs wait for (ready, control, stopped) always comes through.
 */
import type { Teller } from './events.ts';

/** Events of one device at once: far more than anything but a flood. */
const BURST = 200;
/** And from then on; what a person could follow. */
const PER_SECOND = 20;

const ALWAYS: ReadonlySet<string> = new Set([
  'ready',
  'control',
  'stopped',
  'release',
  'change',
  'reload',
  'reload-refused',
  'reload-failed',
]);

/**
 * Passes on what `device` tells at a bearable rate, and says how much it left out as soon as it may speak again.
 * @param nowMs a clock that never goes back, in ms
 */
export function limitEvents(
  device: string,
  tell: Teller,
  nowMs: () => number = () => performance.now(),
): Teller {
  let allowance = BURST;
  let countedMs = nowMs();
  let leftOut = 0;
  return (event) => {
    const now = nowMs();
    allowance = Math.min(BURST, allowance + ((now - countedMs) * PER_SECOND) / 1000);
    countedMs = now;
    if (ALWAYS.has(event.event)) {
      tell(event);
      return;
    }
    if (allowance < 1) {
      leftOut += 1;
      return;
    }
    allowance -= 1;
    if (leftOut > 0) {
      tell({ event: 'log', device, level: 'warn', message: `${leftOut} events came too fast to be told` });
      leftOut = 0;
    }
    tell(event);
  };
}
