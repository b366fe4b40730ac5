/*
 * A worker thread that serves a socket: answers every message with its header. Tells its parent 'ready', then obeys: 'hang'
 * makes the next message loop for ever inside the handler.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { openSys } from '../../src/sys/index.ts';
import { HEADER, LIMITS } from './sys-streams.ts';

const sys = openSys();
const { fd, ...options } = workerData as { fd: number; busyPollUs: number; dedicated: boolean };
const fill = sys.memfdCreate('window of a worker');
sys.ftruncate(fill, 4096);
const window = sys.map(fill, 0, 4096, 'rw');
sys.close(fill);
let hang = false;

const connection = sys.connection(
  fd,
  { ...LIMITS, ...options },
  {
    onMessages(end: number): number {
      while (hang) window.bytes[0]!++;
      connection.sendingBytes.set(connection.receivedBytes.subarray(0, HEADER));
      connection.sending.setUint32(4, HEADER, true);
      return end > 0 ? HEADER : 0;
    },
    onOversized: () => 0,
    onClose: () => parentPort!.close(),
  },
);

parentPort!.on('message', (order: string) => {
  if (order === 'hang') hang = true;
  if (order === 'throw') throw new Error('thrown in the worker');
  parentPort!.postMessage(order);
});
parentPort!.postMessage('ready');
