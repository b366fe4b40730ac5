/**
 * `vfio serve --watch`: when a module of a device changes, its device is made anew and takes the place of the one before,
 * under the guest.
 */
import { relative } from 'node:path';
import { type VfioDevice, VfioError } from '../../core/index.ts';
import {
  DeviceSetupError,
  deviceFrom,
  FreshModule,
  LayoutError,
  type VfioUserServer,
} from '../../server/index.ts';
import type { Teller } from './events.ts';
import { FileWatch } from './file-watch.ts';

/** The device of one module, made anew whenever the module changes. */
export class Reloading {
  readonly #name: string;
  readonly #module: string;
  readonly #options: unknown;
  readonly #tell: Teller;
  readonly #watch: FileWatch;
  readonly #source: FreshModule;
  #server: VfioUserServer | null = null;
  /** The reload that is under way. */
  #running: Promise<void> | null = null;
  /** The file that changed during it. */
  #changed: string | null = null;
  /** When the last load began, Unix time. */
  #loadedMs = 0;
  #closed = false;

  constructor(name: string, module: string, options: unknown, tell: Teller) {
    this.#name = name;
    this.#module = module;
    this.#options = options;
    this.#tell = tell;
    this.#watch = new FileWatch(
      (path) => this.#onChange(path),
      (message) => tell({ event: 'log', device: name, level: 'warn', message }),
    );
    this.#source = new FreshModule(module, (path) => this.#watch.add(path, this.#loadedMs));
  }

  /** Makes a device of the module as it is now. */
  async make(): Promise<VfioDevice> {
    this.#loadedMs = Date.now();
    return deviceFrom(await this.#source.load(), { module: this.#module, options: this.#options });
  }

  /** From now on changes become reloads of what `server` serves. */
  start(server: VfioUserServer): void {
    this.#server = server;
    if (this.#changed !== null) this.#onChange(this.#changed);
  }

  /** No reload begins any more, and none is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#watch.close();
    await this.#running;
  }

  #onChange(path: string): void {
    this.#changed = path;
    if (this.#server === null || this.#running !== null) return;
    this.#running = this.#reloadAll(this.#server).finally(() => {
      this.#running = null;
    });
  }

  async #reloadAll(server: VfioUserServer): Promise<void> {
    while (this.#changed !== null && !this.#closed) {
      const file = relative(process.cwd(), this.#changed);
      this.#changed = null;
      this.#tell({ event: 'change', device: this.#name, file });
      await this.#reload(server);
    }
  }

  async #reload(server: VfioUserServer): Promise<void> {
    const device = this.#name;
    const startedMs = performance.now();
    let next: VfioDevice | null = null;
    try {
      next = await this.make();
      const state = await server.replaceDevice(next);
      const ms = Math.round((performance.now() - startedMs) * 10) / 10;
      this.#watch.eager = false;
      this.#tell({ event: 'reload', device, ms, state });
    } catch (error) {
      if (next !== null && next !== server.device && !next.released) next.release();
      if (this.#closed) return;
      this.#watch.eager = next === null;
      if (error instanceof LayoutError) {
        const { differences, message } = error;
        this.#tell({ event: 'reload-refused', device, differences, message });
      } else this.#tell({ event: 'reload-failed', device, message: explain(error) });
    }
  }
}

/** What was foreseen says what to do; anything else is an error of the module's code, and its stack leads there. */
function explain(error: unknown): string {
  if (error instanceof DeviceSetupError || error instanceof VfioError) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
