/**
 * Control lines: what the operator of `vfio serve --control` can do to a device while it runs, one command a
 * line.
 *
 *   list                                 the devices
 *   reset NAME                           VFIO_DEVICE_RESET, as a client would
 *   release NAME                         the device goes away for good, as a card that is pulled out
 *   consent NAME REGION AREA allow|deny  the driver announces or withdraws memory as a DMA target
 */
import type { VfioDevice } from '../../core/index.ts';

export interface ControlAnswer {
  readonly ok: boolean;
  readonly message: string;
}

export type Devices = ReadonlyMap<string, VfioDevice>;

type ControlVerb = (devices: Devices, words: readonly string[]) => Promise<string> | string;

/** Longest line that is looked at; commands are far shorter. */
const MAX_LINE_CHARS = 1000;

const VERBS: Readonly<Record<string, ControlVerb>> = { list, reset, release, consent };

/** Runs one line. Never throws: what is wrong with the line or the command is the answer. */
export async function control(devices: Devices, line: string): Promise<ControlAnswer> {
  const [verb, ...words] = line.slice(0, MAX_LINE_CHARS).trim().split(/\s+/);
  const run = Object.hasOwn(VERBS, verb!) ? VERBS[verb!] : undefined;
  if (run === undefined) {
    return { ok: false, message: `there is no command '${verb}'; use ${Object.keys(VERBS).join(', ')}` };
  }
  try {
    return { ok: true, message: await run(devices, words) };
  } catch (error) {
    return { ok: false, message: (error as Error).message };
  }
}

function list(devices: Devices): string {
  return [...devices].map(([name, device]) => (device.released ? `${name} (released)` : name)).join(', ');
}

async function reset(devices: Devices, words: readonly string[]): Promise<string> {
  const [name, device] = find(devices, words[0]);
  await device.reset();
  return `${name} was reset`;
}

function release(devices: Devices, words: readonly string[]): string {
  const [name, device] = find(devices, words[0]);
  device.release();
  return `${name} is released`;
}

function consent(devices: Devices, words: readonly string[]): string {
  const [name, device] = find(devices, words[0]);
  const [index, area, wanted] = [Number(words[1]), Number(words[2]), words[3]];
  if (wanted !== 'allow' && wanted !== 'deny') {
    throw new Error('write consent NAME REGION AREA allow, or deny at the end');
  }
  const region = device.region(index);
  if (region.areas[area] === undefined) {
    throw new Error(
      `region ${index} of ${name} has ${region.areas.length} mappable areas; there is no ${words[2]}`,
    );
  }
  region.setConsent(area, wanted);
  return `area ${area} of region ${index} of ${name}: ${wanted}`;
}

function find(devices: Devices, name: string | undefined): [string, VfioDevice] {
  const device = name === undefined ? undefined : devices.get(name);
  if (name !== undefined && device !== undefined) return [name, device];
  throw new Error(`there is no device '${name ?? ''}'; there are ${[...devices.keys()].join(', ')}`);
}
