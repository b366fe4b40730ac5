/*
 * The worker's side of serveInWorker: makes the device, serves it, and reports to the parent until it is told to close.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { VfioError } from '../core/index.ts';
import { loadDevice } from './device-module.ts';
import { DeviceSetupError } from './device-setup-error.ts';
import { VfioUserServer } from './server.ts';
import type { Trace } from './trace.ts';
import type { FromWorker, WorkerFailure, WorkerStart } from './worker-messages.ts';

function tell(message: FromWorker): void {
  parentPort?.postMessage(message);
}

function failure(error: unknown): WorkerFailure {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  const code = error instanceof VfioError ? error.code : null;
  return { isSetup: error instanceof DeviceSetupError, code, message, stack };
}

/** The bytes of a message are good for the call only. */
const trace: Trace = (message) => {
  tell({ type: 'trace', message: { ...message, bytes: message.bytes.slice() } });
};

async function serve({
  module,
  exportName,
  deviceOptions,
  server: options,
  traced,
}: WorkerStart): Promise<void> {
  const device = await loadDevice({ module, options: deviceOptions, ...(exportName ? { exportName } : {}) });
  const server = new VfioUserServer(device, {
    dedicated: true,
    ...options,
    log: (level, message) => tell({ type: 'log', level, message }),
    ...(traced ? { trace } : {}),
  });
  server.on('session', ({ peerPid }) => tell({ type: 'session', peerPid }));
  server.on('close', (reason, errno) => tell({ type: 'close', reason, errno }));
  server.on('refused', (reason) => tell({ type: 'refused', reason }));
  await server.listen();
  parentPort?.once('message', async () => {
    await server.close();
    if (!device.released) device.release();
    parentPort?.close();
  });
  tell({ type: 'ready', kind: device.seenAs });
}

try {
  await serve(workerData as WorkerStart);
} catch (error) {
  tell({ type: 'failed', failure: failure(error) });
  parentPort?.close();
}
