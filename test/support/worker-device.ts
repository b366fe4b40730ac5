/*
 * A device module as a user writes it, for tests of serveInWorker: the default export is a class, `make` a function.
 */
import { threadId } from 'node:worker_threads';
import { TestDevice } from './test-device.ts';

/** A TestDevice whose first register is the number of the thread that it lives in. */
export default class WorkerDevice extends TestDevice {
  constructor(options: { name?: string } = {}) {
    super(options.name ?? 'in-worker');
    new DataView(this.bytes.buffer).setUint32(0, threadId, true);
  }
}

/** Makes the device later. */
export async function make(options: { name?: string }): Promise<WorkerDevice> {
  return new WorkerDevice(options);
}

/** Makes no device. */
export function makeNothing(): string {
  return 'nothing';
}
