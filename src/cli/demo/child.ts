/**
 * A child process that speaks in lines: what it writes to stdout is kept until somebody asks for it, and the
 * end of the process answers every question that is still open.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

/** How a child ended, as waitpid(2) tells it. */
export interface ChildEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ChildOptions {
  /** Arguments to node: the script and what follows. */
  readonly args: readonly string[];
  /** Descriptors that the child gets as 3, 4, ... */
  readonly fds?: readonly number[];
  /** The child may well be killed by a signal: leave no core file of it. */
  readonly noCore?: boolean;
  /** Environment variables besides this process's. */
  readonly environment?: NodeJS.ProcessEnv;
}

/** Most lines that are kept unread. A child that writes more without being asked is broken. */
const MAX_UNREAD_LINES = 10_000;

/** Becomes the program that follows, with a core file limit of 0. */
const WITHOUT_CORE = 'ulimit -c 0; exec "$0" "$@"';

interface Waiter {
  readonly wanted: (line: string) => boolean;
  readonly resolve: (line: string | null) => void;
}

export class LineChild {
  readonly process: ChildProcess;
  readonly ended: Promise<ChildEnd>;
  readonly #unread: string[] = [];
  readonly #waiters: Waiter[] = [];
  #outputEnded = false;

  constructor(options: ChildOptions) {
    const command = options.noCore === true ? ['/bin/sh', '-c', WITHOUT_CORE] : [];
    const [program, ...args] = [...command, process.execPath, ...options.args];
    this.process = spawn(program!, args, {
      stdio: ['pipe', 'pipe', 'inherit', ...(options.fds ?? [])],
      env: { ...process.env, ...options.environment },
    });
    // Writing to a child that has just died is not an error here: the caller learns it from `ended`.
    this.#stdin.on('error', () => {});
    const lines = createInterface({ input: this.process.stdout as Readable });
    lines.on('line', (line) => this.#take(line));
    lines.on('close', () => this.#endOutput());
    this.ended = new Promise((resolve) => {
      this.process.once('error', () => resolve({ code: 1, signal: null }));
      this.process.once('close', (code, signal) => resolve({ code, signal }));
    });
  }

  /** Sends one line to the child's stdin. */
  send(line: string): void {
    this.#stdin.write(`${line}\n`);
  }

  /** The first line, read or still to come, that `wanted` accepts; null once the child's output has ended. */
  line(wanted: (line: string) => boolean = () => true): Promise<string | null> {
    const found = this.#unread.findIndex(wanted);
    if (found >= 0) return Promise.resolve(this.#unread.splice(found, 1)[0]!);
    if (this.#outputEnded) return Promise.resolve(null);
    return new Promise((resolve) => this.#waiters.push({ wanted, resolve }));
  }

  /** Sends a line and waits for the next line of output. */
  ask(line: string): Promise<string | null> {
    this.#unread.length = 0;
    this.send(line);
    return this.line();
  }

  /** Closes the child's input and sends SIGTERM; the answer is how it ended. */
  stop(): Promise<ChildEnd> {
    this.#stdin.end();
    if (this.process.exitCode === null && this.process.signalCode === null) this.process.kill('SIGTERM');
    return this.ended;
  }

  get #stdin(): Writable {
    return this.process.stdin as Writable;
  }

  #take(line: string): void {
    const waiter = this.#waiters.findIndex((candidate) => candidate.wanted(line));
    if (waiter >= 0) this.#waiters.splice(waiter, 1)[0]!.resolve(line);
    else if (this.#unread.length < MAX_UNREAD_LINES) this.#unread.push(line);
  }

  #endOutput(): void {
    this.#outputEnded = true;
    for (const waiter of this.#waiters.splice(0)) waiter.resolve(null);
  }
}
