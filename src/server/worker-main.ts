/*
 * The worker's side of serveInWorker: makes the device, serves it, and reports to the parent until it is told to close.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { VfioError } from '../core/index.ts';
import { makeDevice } from './device-module.ts';
import { VfioUserServer } from './server.ts';
import type { FromWorker, WorkerStart } from './worker-messages.ts';

function tell(message: FromWorker): void {
  parentPort?.postMessage(message);
}

async function serve({ module, exportName, deviceOptions, server: options }: WorkerStart): Promise<void> {
  const device = await makeDevice({ module, options: deviceOptions, ...(exportName ? { exportName } : {}) });
  const server = new VfioUserServer(device, {
    dedicated: true,
    ...options,
    log: (level, message) => tell({ type: 'log', level, message }),
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
  tell({ type: 'ready' });
}

try {
  await serve(workerData as WorkerStart);
} catch (error) {
  const code = error instanceof VfioError ? error.code : null;
  tell({ type: 'failed', code, message: error instanceof Error ? error.message : String(error) });
  parentPort?.close();
}
