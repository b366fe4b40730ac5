/**
 * How far the explorer is: one line in place on a terminal, a line now and then elsewhere.
 */
import { type Output, Progress } from '../terminal.ts';
import type { PoolProgress } from './pool.ts';

/** Without a terminal, a line at most this often. */
const LINE_EVERY_MS = 20_000;
/** On a terminal, often enough to look alive. */
const SHOW_EVERY_MS = 100;

/** Tells of progress on `output`. */
export class ExploreProgress {
  readonly #output: Output;
  readonly #line: Progress;
  readonly #what: string;
  readonly #start: number = performance.now();
  #last: number = performance.now();

  /** @param what is counted: states, or steps. */
  constructor(output: Output, what: string) {
    this.#output = output;
    this.#line = new Progress(output);
    this.#what = what;
  }

  show(progress: PoolProgress): void {
    const now = performance.now();
    const terminal = this.#output.isTTY === true;
    if (now - this.#last < (terminal ? SHOW_EVERY_MS : LINE_EVERY_MS)) return;
    this.#last = now;
    const perSecond = progress.states / ((now - this.#start) / 1000);
    const text =
      `${progress.done} of ${progress.jobs} parts, ${count(progress.states)} ${this.#what}, ` +
      `${count(perSecond)}/s, frontier ${count(progress.frontier)}, ${Math.round(progress.sizeBytes / 2 ** 20)} MiB`;
    if (terminal) this.#line.show(text);
    else this.#output.write(`${text}\n`);
  }

  clear(): void {
    this.#line.clear();
  }
}

/** 1234567 as 1.23M: three digits are enough to compare. */
export function count(value: number): string {
  if (value < 1000) return String(Math.round(value));
  const [unit, divisor] = value < 999_500 ? ['k', 1e3] : ['M', 1e6];
  const scaled = value / Number(divisor);
  return `${scaled.toPrecision(scaled < 1 ? 2 : 3).replace(/\.0+$/, '')}${unit}`;
}
