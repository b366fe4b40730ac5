/**
 * The QEMU process: started with our terminal, ended in order where that is possible, and never left behind. A terminal
 * that a killed QEMU leaves raw is put right by Node when it ends.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

/** How long QEMU may take to write its disks after SIGTERM. */
const END_TIMEOUT_MS = 10_000;
/** The same where this process is ending and cannot wait for more. */
const HASTY_END_MS = 2_000;
/** A second request within this time is the same one: a terminal and a parent process both pass on a Ctrl-C. */
const PATIENCE_MS = 1_000;
/** Longest line of QEMU's that is passed on. */
const MAX_LINE_CHARS = 4096;

export interface MachineEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Why it could not even start; null if it did. */
  readonly startError: string | null;
}

export class Machine {
  readonly ended: Promise<MachineEnd>;
  readonly #process: ChildProcess;
  #killTimer: NodeJS.Timeout | null = null;
  #askedMs = 0;
  #over = false;

  /**
   * @param command program and arguments
   * @param onLine hears what QEMU writes to stderr; null: it goes to ours
   */
  constructor(command: readonly string[], onLine: ((line: string) => void) | null) {
    const [program, ...words] = command;
    this.#process = spawn(program!, words, {
      stdio: ['inherit', 'inherit', onLine === null ? 'inherit' : 'pipe'],
    });
    if (onLine !== null) {
      createInterface({ input: this.#process.stderr! }).on('line', (line) =>
        onLine(line.slice(0, MAX_LINE_CHARS)),
      );
    }
    this.ended = new Promise((resolve) => {
      const end = (result: MachineEnd): void => {
        this.#over = true;
        if (this.#killTimer !== null) clearTimeout(this.#killTimer);
        resolve(result);
      };
      this.#process.once('error', (error) => end({ code: null, signal: null, startError: error.message }));
      this.#process.once('close', (code, signal) => end({ code, signal, startError: null }));
    });
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** Asks QEMU to end, and kills it if it does not, or when somebody loses patience. */
  stop(): void {
    if (this.#over) return;
    if (this.#killTimer !== null) {
      if (performance.now() - this.#askedMs >= PATIENCE_MS) this.#process.kill('SIGKILL');
      return;
    }
    this.#askedMs = performance.now();
    this.#process.kill('SIGTERM');
    this.#killTimer = setTimeout(() => this.#process.kill('SIGKILL'), END_TIMEOUT_MS);
  }

  /** For the end of this process: waits, without the event loop, until QEMU is gone. */
  endNow(): void {
    if (this.#over || this.#process.pid === undefined) return;
    this.#over = true;
    this.#process.kill('SIGTERM');
    const nobody = new Int32Array(new SharedArrayBuffer(4));
    for (let waitedMs = 0; waitedMs < HASTY_END_MS && isRunning(this.#process.pid); waitedMs += 20) {
      Atomics.wait(nobody, 0, 0, 20);
    }
    this.#process.kill('SIGKILL');
  }
}

/** Whether a process runs. One that has ended stays in the table of processes until somebody asks how. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
