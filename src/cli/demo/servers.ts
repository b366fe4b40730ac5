/**
 * The demo's server processes: `vfio serve`, as anybody would start it, with its events read from stdout and
 * its control lines written to stdin.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { VfioError } from '../../core/index.ts';
import type { ServeEvent } from '../serve/events.ts';
import { LineChild } from './child.ts';

/** What the built command is started with; beside this file's parent in dist as in src. */
const MAIN = fileURLToPath(new URL('../main.js', import.meta.url));

/** A server starts in well under a second; this much longer means that it never will. */
const START_TIMEOUT_MS = 10_000;
/** An event that follows from what the demo just did comes at once. */
const EVENT_TIMEOUT_MS = 5_000;

const END_SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

export interface ServersOptions {
  /** edu and ram in a process each, so that device memory crosses a process boundary. */
  readonly twoServers: boolean;
  /** Size of ram's BAR2 in bytes. */
  readonly ramSizeBytes: number;
}

type EventOf<Name extends ServeEvent['event']> = Extract<ServeEvent, { event: Name }>;

export class Servers {
  readonly eduSocket: string;
  readonly ramSocket: string;
  readonly #folder: string;
  readonly #edu: LineChild;
  readonly #ram: LineChild;
  readonly #onSignal: NodeJS.SignalsListener = (signal) => this.#abandon(signal);

  private constructor(folder: string, options: ServersOptions) {
    this.#folder = folder;
    this.eduSocket = join(folder, 'edu.sock');
    this.ramSocket = join(folder, 'ram.sock');
    for (const signal of END_SIGNALS) process.on(signal, this.#onSignal);
    const edu = `edu:${this.eduSocket}`;
    const ram = `ram:${this.ramSocket}`;
    const flags = ['--json', '--control', `--size=${options.ramSizeBytes}`];
    if (options.twoServers) {
      this.#edu = new LineChild({ args: [MAIN, 'serve', edu, ...flags] });
      this.#ram = new LineChild({ args: [MAIN, 'serve', ram, ...flags] });
    } else {
      this.#edu = new LineChild({ args: [MAIN, 'serve', edu, ram, ...flags] });
      this.#ram = this.#edu;
    }
  }

  /** Starts the servers and waits until both devices can be attached to. */
  static async start(options: ServersOptions): Promise<Servers> {
    const folder = mkdtempSync(join(tmpdir(), 'vfio-demo-'));
    const servers = new Servers(folder, options);
    try {
      await Promise.all([
        servers.#event(servers.#edu, 'ready', (event) => event.device === 'edu', START_TIMEOUT_MS),
        servers.#event(servers.#ram, 'ready', (event) => event.device === 'ram', START_TIMEOUT_MS),
      ]);
    } catch (error) {
      await servers.stop();
      throw error;
    }
    return servers;
  }

  /** Processes in use. */
  get pids(): readonly number[] {
    const pids = [this.#edu.process.pid ?? 0, this.#ram.process.pid ?? 0];
    return [...new Set(pids)];
  }

  /** The next DMA fault that edu's server tells. */
  dmaFault(): Promise<EventOf<'dma-fault'>> {
    return this.#event(this.#edu, 'dma-fault', (event) => event.device === 'edu');
  }

  /** Releases ram, as pulling the card would, and waits until it is done. */
  async releaseRam(): Promise<void> {
    this.#ram.send('release ram');
    const answer = await this.#event(this.#ram, 'control', () => true);
    if (!answer.ok) throw new VfioError('EPROTO', `the server did not release ram: ${answer.message}`);
  }

  /** Ends the processes. True if every one of them ended as a server should: with exit code 0. */
  async stop(): Promise<boolean> {
    const ends = await Promise.all([...new Set([this.#edu, this.#ram])].map((child) => child.stop()));
    this.#removeTraces();
    return ends.every((end) => end.code === 0);
  }

  /** Somebody ends the demo (Ctrl-C): leave nothing behind, and die of the signal as if we had not caught it. */
  #abandon(signal: NodeJS.Signals): void {
    for (const child of [this.#edu, this.#ram]) child.process.kill('SIGKILL');
    this.#removeTraces();
    process.kill(process.pid, signal);
  }

  #removeTraces(): void {
    rmSync(this.#folder, { recursive: true, force: true });
    for (const signal of END_SIGNALS) process.off(signal, this.#onSignal);
  }

  async #event<Name extends ServeEvent['event']>(
    child: LineChild,
    name: Name,
    wanted: (event: EventOf<Name>) => boolean,
    timeoutMs: number = EVENT_TIMEOUT_MS,
  ): Promise<EventOf<Name>> {
    const accepts = (line: string): boolean => {
      const event = parse(line);
      return event?.event === name && wanted(event as EventOf<Name>);
    };
    const line = await withTimeout(child.line(accepts), timeoutMs);
    if (line !== null) return parse(line) as EventOf<Name>;
    throw new VfioError('ETIMEDOUT', `the server never said '${name}'; run vfio serve by hand to see why`);
  }
}

function parse(line: string): ServeEvent | null {
  try {
    return JSON.parse(line) as ServeEvent;
  } catch {
    return null;
  }
}

async function withTimeout(line: Promise<string | null>, timeoutMs: number): Promise<string | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), timeoutMs);
  });
  const first = await Promise.race([line, late]);
  clearTimeout(timer);
  return first;
}
