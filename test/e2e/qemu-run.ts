/*
 * A running `vfio qemu --json`: its events come from stderr, stdin and stdout are QEMU's.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { main, root } from './support.ts';

export interface RunEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** What is told about one run; `event` and what belongs to it. */
export type ToldEvent = Readonly<Record<string, unknown>>;

const PATIENCE_MS = 60_000;

export class QemuRun {
  readonly process: ChildProcess;
  readonly ended: Promise<RunEnd>;
  stdout = '';
  #stderr = '';
  #listeners: (() => void)[] = [];
  static readonly #running: Set<QemuRun> = new Set();

  /** Ends what a failed test left running. */
  static async endAll(): Promise<void> {
    for (const run of QemuRun.#running) {
      run.process.kill('SIGTERM');
      await run.ended;
    }
  }

  constructor(args: readonly string[], environment: NodeJS.ProcessEnv = {}) {
    this.process = spawn(process.execPath, [main, 'qemu', ...args], {
      cwd: root,
      env: { ...process.env, ...environment },
    });
    QemuRun.#running.add(this);
    this.process.stdin!.on('error', () => {});
    this.process.stdout!.on('data', (text) => this.#hear(() => (this.stdout += text)));
    this.process.stderr!.on('data', (text) => this.#hear(() => (this.#stderr += text)));
    this.ended = new Promise((resolve) => {
      this.process.once('close', (code, signal) => {
        QemuRun.#running.delete(this);
        resolve({ code, signal });
        this.#hear(() => {});
      });
    });
  }

  /** Everything told so far; a line that is no JSON fails. */
  get events(): readonly ToldEvent[] {
    const lines = this.#stderr.split('\n');
    return lines.slice(0, -1).map((line) => JSON.parse(line) as ToldEvent);
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** The first event that has all of `wanted`. */
  async event(wanted: ToldEvent): Promise<ToldEvent> {
    const found = (): ToldEvent | undefined =>
      this.events.find((event) => Object.entries(wanted).every(([key, value]) => event[key] === value));
    await this.until(() => found() !== undefined, JSON.stringify(wanted));
    return found()!;
  }

  /** Waits until `condition` holds; fails when the run ends before it does. */
  async until(condition: () => boolean, what: string): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no ${what}; told so far:\n${this.#stderr}`)), PATIENCE_MS);
    });
    let over = false;
    void this.ended.then(() => {
      over = true;
    });
    try {
      while (!condition()) {
        if (over) throw new Error(`ended without ${what}; told:\n${this.#stderr}`);
        await Promise.race([new Promise<void>((resolve) => this.#listeners.push(resolve)), tooLate]);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #hear(change: () => void): void {
    change();
    for (const listener of this.#listeners.splice(0)) listener();
  }
}
