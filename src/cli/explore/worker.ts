/**
 * A thread of `vfio explore` that tries one program after the other.
 */
import { parentPort } from 'node:worker_threads';
import { VfioError } from '../../core/index.ts';
import { type SearchOptions, search, type WalkOptions, walk } from '../../explore/index.ts';
import type { ToParent, ToWorker } from './pool.ts';

const port = parentPort!;

function send(message: ToParent): void {
  port.postMessage(message);
}

port.on('message', (job: ToWorker) => {
  try {
    if (job.kind === 'search') {
      const options: SearchOptions = {
        ...job.options,
        onProgress: (progress) => {
          send({ kind: 'progress', progress });
          return undefined;
        },
      };
      send({ kind: 'result', result: search(job.program, job.design, options) });
    } else {
      const options: WalkOptions = {
        ...job.options,
        onProgress: (runs, steps) => {
          send({ kind: 'walked', runs, steps });
          return undefined;
        },
      };
      send({ kind: 'result', result: walk(job.program, job.design, options) });
    }
  } catch (error) {
    // Its class does not survive the way to the parent.
    if (error instanceof VfioError) send({ kind: 'refusal', program: job.program.name, text: error.message });
    else send({ kind: 'failure', error });
  }
});
