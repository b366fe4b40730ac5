/*
 * Processes that hold a region's fd, for tests of what they see when the region goes away and comes back.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** How a process ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A child that answers one line to each line. */
export class Answerer {
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  readonly #waiting: ((line: string) => void)[] = [];

  constructor(command: string, args: readonly string[], fd: number) {
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit', fd] });
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.#waiting.shift()?.(line));
    this.ended = new Promise((resolve) => {
      this.#child.on('exit', (code, signal) => {
        for (const give of this.#waiting.splice(0)) give(`ended by ${signal ?? code}`);
        resolve({ code, signal });
      });
    });
  }

  /** Sends a command; its answer, or "ended by SIGNAL" if the command killed the process. */
  ask(command: string): Promise<string> {
    const answer = new Promise<string>((resolve) => {
      this.#waiting.push(resolve);
    });
    this.#child.stdin!.write(`${command}\n`);
    return answer;
  }

  /** The lines of /proc/PID/maps that contain `text`. */
  maps(text: string): string[] {
    const lines = readFileSync(`/proc/${this.#child.pid}/maps`, 'utf8').split('\n');
    return lines.filter((line) => line.includes(text));
  }

  /** Lets it finish. */
  async stop(): Promise<void> {
    this.#child.stdin!.end();
    await this.ended;
  }
}

/** Compiles a program that answers lines once for a test file: holder.c unless told otherwise. */
export class HolderProgram {
  readonly #folder: string = mkdtempSync(join(tmpdir(), 'vfio-holder-'));
  readonly #path: string = join(this.#folder, 'holder');

  constructor(source: URL = new URL('holder.c', import.meta.url)) {
    execFileSync('cc', ['-O1', '-o', this.#path, fileURLToPath(source)]);
  }

  /** A new process that has `fd`. */
  start(fd: number): Answerer {
    return new Answerer(this.#path, [], fd);
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true });
  }
}
