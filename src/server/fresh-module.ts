/*
 * A module that can be loaded again and again, each time as its files are then. What is loaded stays in memory for the
 * life of the process, as Node has no way to forget a module: this is for people at work, not for servers.
 */
import * as nodeModule from 'node:module';
import { fileURLToPath } from 'node:url';
import { MessageChannel } from 'node:worker_threads';
import { freshUrl, generationOf, type HookData, passedOn } from './fresh-hooks.ts';
import { loadModule, type ModuleExports, moduleUrl } from './load-module.ts';

/** `module.registerHooks`: hooks in this thread, which newer Nodes have. */
interface WithHooks {
  registerHooks?(hooks: {
    resolve(
      specifier: string,
      context: { readonly parentURL?: string | undefined },
      next: (specifier: string, context: object) => { readonly url: string },
    ): { readonly url: string };
  }): unknown;
}

/** By the number that the module has in its generations. */
const modules = new Map<string, FreshModule>();
let hooked = false;

export class FreshModule {
  readonly #module: string | URL;
  readonly #url: string;
  readonly #id: string;
  readonly #onFile: (path: string) => void;
  readonly #files: Set<string> = new Set();
  #loads = 0;

  /**
   * @param module URL or path
   * @param onFile told once of each file that the module consists of: itself and what it imports by path. In time, but
   *   perhaps after `load` has resolved.
   */
  constructor(module: string | URL, onFile: (path: string) => void) {
    this.#module = module;
    this.#url = moduleUrl(module);
    this.#onFile = onFile;
    this.#id = String(modules.size + 1);
    modules.set(this.#id, this);
  }

  /** Loads it as its files are now. DeviceSetupError if that fails; then the next load may work. */
  load(): Promise<ModuleExports> {
    if (this.#loads === 0 && this.#url.startsWith('file:')) this.#found(this.#url);
    this.#loads += 1;
    this.#forgetRequired();
    return loadModule(this.#module, {
      url: freshUrl(this.#url, `${this.#id}.${this.#loads}`),
      prepare: hook,
      nextStep: 'Correct it and save it; it is loaded again then.',
    });
  }

  /** CommonJS modules are kept by their path. */
  #forgetRequired(): void {
    const { cache } = nodeModule.createRequire(import.meta.url);
    for (const file of this.#files) delete cache[file];
  }

  /** @internal The hooks': it consists of the file at `url` too. */
  static found(url: string): void {
    const id = generationOf(url)?.split('.')[0];
    const module = id === undefined ? undefined : modules.get(id);
    if (module !== undefined) module.#found(url);
  }

  #found(url: string): void {
    const path = fileURLToPath(url);
    if (this.#files.has(path)) return;
    this.#files.add(path);
    this.#onFile(path);
  }
}

/** Puts the hooks in place, after those that load TypeScript: they are asked first. */
function hook(): void {
  if (hooked) return;
  hooked = true;
  const packageUrl = new URL('..', import.meta.url).href;
  const { registerHooks } = nodeModule as unknown as WithHooks;
  if (registerHooks !== undefined) {
    registerHooks({
      resolve: (specifier, context, next) => {
        const resolved = next(specifier, context);
        const url = passedOn(specifier, context.parentURL, resolved.url, packageUrl);
        if (generationOf(url) !== null) FreshModule.found(url);
        return url === resolved.url ? resolved : { ...resolved, url };
      },
    });
    return;
  }
  const { port1, port2 } = new MessageChannel();
  port1.on('message', (url: string) => FreshModule.found(url)).unref();
  const data: HookData = { packageUrl, port: port2 };
  nodeModule.register(new URL('./fresh-hooks.js', import.meta.url), { data, transferList: [port2] });
}
