/**
 * What `vfio serve --worker` loads in the worker: makes the device there and tells its events from there. A
 * worker's stdout is the process's.
 */
import type { VfioDevice } from '../../core/index.ts';
import { styleFor } from '../terminal.ts';
import { jsonTeller, textTeller } from './events.ts';
import { limitEvents } from './limit-events.ts';
import { type DeviceOptions, makeDevice } from './make-device.ts';
import { observeDevice } from './observe.ts';

export interface WorkerDeviceOptions {
  readonly device: string;
  readonly name: string;
  readonly options: DeviceOptions;
  readonly json: boolean;
}

export default async function workerDevice(start: WorkerDeviceOptions): Promise<VfioDevice> {
  const device = await makeDevice(start.device, start.name, start.options);
  const output = process.stdout;
  const tell = start.json ? jsonTeller(output) : textTeller(output, styleFor(output));
  observeDevice(start.name, device, limitEvents(start.name, tell));
  return device;
}
