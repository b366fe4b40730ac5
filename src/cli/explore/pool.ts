/**
 * Threads that share jobs of the explorer: each takes the next one when it is done with the last.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type {
  SearchOptions,
  SearchProgress,
  SearchResult,
  WalkOptions,
  WalkResult,
} from '../../explore/index.ts';
import type { Design, Program } from '../../sim/index.ts';
import { UsageError } from '../usage-error.ts';

interface Job {
  readonly program: Program;
  readonly design: Design;
}

/** A program to be tried whole. */
export interface SearchJob extends Job {
  readonly kind: 'search';
  readonly options: Omit<SearchOptions, 'onProgress'>;
}

/** A program to be walked through. */
export interface WalkJob extends Job {
  readonly kind: 'walk';
  readonly options: Omit<WalkOptions, 'onProgress'>;
}

export type ToWorker = SearchJob | WalkJob;

export type ToParent =
  | { readonly kind: 'progress'; readonly progress: SearchProgress }
  | { readonly kind: 'walked'; readonly runs: number; readonly steps: number }
  | { readonly kind: 'result'; readonly result: SearchResult | WalkResult }
  /** The program cannot be tried so: it is too large. */
  | { readonly kind: 'refusal'; readonly program: string; readonly text: string }
  | { readonly kind: 'failure'; readonly error: unknown };

/** How far all jobs together are. */
export interface PoolProgress {
  readonly done: number;
  readonly jobs: number;
  /** States found, or steps walked. */
  readonly states: number;
  readonly frontier: number;
  readonly sizeBytes: number;
}

/** Does the jobs on up to as many threads as there are processors; results in the order of the jobs. UsageError: one is too large. */
export async function runJobs<Result extends SearchResult | WalkResult>(
  jobs: readonly ToWorker[],
  onProgress: (progress: PoolProgress) => void,
): Promise<Result[]> {
  const results: Result[] = [];
  const running = new Map<Worker, SearchProgress>();
  let next = 0;
  let done = 0;
  let states = 0;
  const tell = (): void => {
    const now = [...running.values()];
    const sum = (pick: (progress: SearchProgress) => number): number =>
      now.reduce((total, progress) => total + pick(progress), 0);
    onProgress({
      done,
      jobs: jobs.length,
      states: states + sum((progress) => progress.states),
      frontier: sum(({ frontier }) => frontier),
      sizeBytes: sum(({ sizeBytes }) => sizeBytes),
    });
  };
  const workers = Array.from({ length: Math.min(jobs.length, availableParallelism()) }, () => newWorker());
  const work = (worker: Worker): Promise<void> =>
    new Promise((resolve, reject) => {
      let current = -1;
      const begin = (): void => {
        running.delete(worker);
        if (next >= jobs.length) {
          resolve();
          return;
        }
        current = next++;
        worker.postMessage(jobs[current]);
      };
      worker.on('error', reject);
      worker.on('exit', () => reject(new Error('a thread of the explorer ended by itself')));
      worker.on('message', (message: ToParent) => {
        if (message.kind === 'failure') {
          reject(message.error);
          return;
        }
        if (message.kind === 'refusal') {
          reject(new UsageError(`${message.program}: ${message.text}`, 'Nothing was found out.'));
          return;
        }
        if (message.kind === 'result') {
          results[current] = message.result as Result;
          done++;
          states += 'states' in message.result ? message.result.states : message.result.steps;
          begin();
        } else running.set(worker, progressOf(message));
        tell();
      });
      begin();
    });
  try {
    await Promise.all(workers.map(work));
  } finally {
    for (const worker of workers) worker.removeAllListeners('exit');
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  return results;
}

function progressOf(message: Exclude<ToParent, { kind: 'result' | 'refusal' | 'failure' }>): SearchProgress {
  if (message.kind === 'progress') return message.progress;
  return { states: message.steps, transitions: message.steps, frontier: 0, depth: 0, sizeBytes: 0 };
}

function newWorker(): Worker {
  return new Worker(new URL('./worker.js', import.meta.url));
}
