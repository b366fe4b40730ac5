/*
 * Starts the process under attack and watches it from outside: is it alive, what does it hold, and does it still serve
 * the client that does nothing wrong.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { read, u32 } from '../support/bytes.ts';
import { access, RawClient } from '../support/raw-client.ts';

const MAIN = fileURLToPath(new URL('./target-main.ts', import.meta.url));
/** How long an honest client may wait for an answer while others misbehave. */
const PATIENCE_MS = 5_000;
/** What the process may take to put everything away: ended windows stay in quarantine for a while. */
const CLEANUP_MS = 10_000;

/** What the process says that it holds. */
export interface Holdings {
  readonly mappings: number;
  readonly connections: number;
  readonly watchers: number;
  readonly clientFiles: number;
  /** The victim has a client. */
  readonly attached: boolean;
  /** Clients that the victim had. */
  readonly sessions: number;
  readonly rssBytes: number;
}

/** The process under attack. */
export class Target {
  readonly folder: string;
  /** What it wrote on stderr. */
  errors = '';
  readonly #child: ChildProcess;
  readonly #answers: ((line: string) => void)[] = [];
  #exit: string | null = null;
  #before: Record<string, number> = {};

  private constructor(folder: string, child: ChildProcess) {
    this.folder = folder;
    this.#child = child;
    createInterface({ input: child.stdout! }).on('line', (line) => this.#answers.shift()?.(line));
    child.stderr!.on('data', (text) => {
      this.errors += text;
    });
    child.on('exit', (code, signal) => {
      this.#exit = `exit code ${code}, signal ${signal}`;
      for (const give of this.#answers.splice(0)) give('{}');
    });
  }

  /** `maxOpenFiles`: its limit of fds. */
  static async start(maxOpenFiles?: number): Promise<Target> {
    const folder = mkdtempSync(join(tmpdir(), 'vfio-hostile-'));
    const node = [process.execPath, '--expose-gc', '--import', 'tsx', MAIN, folder];
    const limited = ['sh', '-c', `ulimit -n ${maxOpenFiles} && exec "$@"`, 'sh', ...node];
    const [command, ...args] = maxOpenFiles === undefined ? node : limited;
    const target = new Target(folder, spawn(command!, args, { stdio: ['pipe', 'pipe', 'pipe'] }));
    await new Promise<void>((resolve) => target.#answers.push(() => resolve()));
    if (target.#exit !== null) throw new Error(`the target did not start: ${target.errors}`);
    return target;
  }

  get victimPath(): string {
    return join(this.folder, 'victim');
  }

  /** How it ended, or null while it runs. */
  get exit(): string | null {
    return this.#exit;
  }

  /** How many fds it has now. */
  get openFds(): number {
    return openFiles(this.#child.pid!);
  }

  /** Asks it what it holds. */
  async holdings(question = 'holdings'): Promise<Holdings> {
    const line = await new Promise<string>((resolve) => {
      this.#answers.push(resolve);
      this.#child.stdin!.write(`${question}\n`);
    });
    if (this.#exit !== null) throw new Error(`the target is gone: ${this.#exit}\n${this.errors}`);
    return JSON.parse(line) as Holdings;
  }

  /** Remembers what it holds when nobody attacks. */
  async remember(): Promise<void> {
    this.#before = await this.#counts();
  }

  /** What it holds now and did not before, once the victim's last client is gone: empty if all is as it was. */
  async leaks(patienceMs: number = CLEANUP_MS): Promise<string[]> {
    const deadline = Date.now() + patienceMs;
    for (;;) {
      const now = await this.#counts();
      const more = Object.keys(now).filter((name) => now[name] !== this.#before[name]);
      if (more.length === 0 || Date.now() > deadline) {
        return more.map((name) => `${name}: ${this.#before[name]} before, ${now[name]} now`);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  stop(): void {
    this.#child.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** By /proc what the kernel says, by the process's own count the rest; memory of V8 comes and goes and is left out. */
  async #counts(): Promise<Record<string, number>> {
    const { mappings, connections, watchers, clientFiles } = await this.holdings();
    const maps = readFileSync(`/proc/${this.#child.pid}/maps`, 'utf8').split('\n');
    return {
      'fds (/proc/PID/fd)': this.openFds,
      'mapped files (/proc/PID/maps)': maps.filter((line) => /\/(memfd:|dev\/shm)/.test(line)).length,
      mappings,
      connections,
      watchers,
      clientFiles,
    };
  }
}

/** How many fds a process has, but for those of tsx, which keeps files of its cache open for a while. */
function openFiles(pid: number): number {
  const folder = `/proc/${pid}/fd`;
  const ofTsx = join(tmpdir(), 'tsx-');
  return readdirSync(folder).filter((fd) => {
    try {
      return !readlinkSync(join(folder, fd)).startsWith(ofTsx);
    } catch {
      return false; // Closed meanwhile.
    }
  }).length;
}

/** An honest client of the other device, which must never notice anything. */
export class Witness {
  readonly #client: RawClient;
  #stopped = false;
  #served = 0;
  #slowestMs = 0;
  #done: Promise<void> = Promise.resolve();

  private constructor(client: RawClient) {
    this.#client = client;
  }

  static async start(target: Target): Promise<Witness> {
    const witness = new Witness(await RawClient.open(join(target.folder, 'witness')));
    witness.#done = witness.#run();
    // Who awaits `stop` hears of it.
    witness.#done.catch(() => {});
    return witness;
  }

  /** Stops and tells how many accesses were served meanwhile and how long the slowest took. Throws what went wrong. */
  async stop(): Promise<{ served: number; slowestMs: number }> {
    this.#stopped = true;
    await this.#done;
    this.#client.close();
    return { served: this.#served, slowestMs: this.#slowestMs };
  }

  async #run(): Promise<void> {
    for (let value = 1; !this.#stopped; value++) {
      const start = performance.now();
      await withPatience(this.#client.request(10, access(0, 0x40, 4, u32(value))));
      const reply = await withPatience(this.#client.request(9, access(0, 0x40, 4)));
      if (read(reply.body, 16, 4) !== value)
        throw new Error(`read ${read(reply.body, 16, 4)}, wrote ${value}`);
      this.#slowestMs = Math.max(this.#slowestMs, performance.now() - start);
      this.#served += 1;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}

async function withPatience<T>(answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer for ${PATIENCE_MS} ms`)), PATIENCE_MS);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
