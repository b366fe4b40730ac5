/*
 * Loads a user's device module, in the main thread and in workers. TypeScript is loaded as it is: by Node itself where
 * it strips types (22.18 and newer), else through tsx if the user's project has it.
 */
import { existsSync, readFileSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { DeviceSetupError } from './device-setup-error.ts';

const TYPESCRIPT = /\.[cm]?ts$/;

/** What a module exports, before anybody has looked at it. */
export type ModuleExports = Readonly<Record<string, unknown>>;

/** The URL of a module that is given as a URL or as a path, relative to the working directory. */
export function moduleUrl(module: string | URL): string {
  const text = String(module);
  return /^[a-z]+:/.test(text) ? text : pathToFileURL(text).href;
}

/** How a module is imported otherwise than once for all. */
export interface ImportOptions {
  /** What Node is to know the module by. */
  readonly url: string;
  /** Called right before the import, when TypeScript can be loaded. */
  readonly prepare: () => void;
  /** What to do if it does not load; one sentence. */
  readonly nextStep: string;
}

/** Imports a module, URL or path. DeviceSetupError if it does not load. */
export async function loadModule(
  module: string | URL,
  options: Partial<ImportOptions> = {},
): Promise<ModuleExports> {
  const { url = moduleUrl(module), prepare, nextStep = 'Fix the module, then start again.' } = options;
  const file = url.startsWith('file:') ? fileURLToPath(url) : null;
  if (file !== null && !existsSync(file)) {
    throw new DeviceSetupError(
      `there is no file ${module}. Check the path; it is relative to the working directory.`,
    );
  }
  try {
    if (file !== null && TYPESCRIPT.test(file)) await acceptTypeScript(file);
    prepare?.();
    return (await import(url)) as ModuleExports;
  } catch (cause) {
    if (cause instanceof DeviceSetupError) throw cause;
    const { message } = cause as Error;
    throw new DeviceSetupError(`${module} does not load: ${message}${placeOf(cause as Error)}. ${nextStep}`, {
      cause,
    });
  }
}

/** File and line of a syntax error, which Node writes above the stack only. */
function placeOf({ stack }: Error): string {
  const [, path, line] = /^file:\/\/([^?\n]*).*:(\d+)\n/.exec(stack ?? '') ?? [];
  return path === undefined ? '' : ` (${path}:${line})`;
}

let accepted = false;

/** Makes this thread load TypeScript, that of `file`'s project at least. */
async function acceptTypeScript(file: string): Promise<void> {
  // Where this very file is TypeScript, something loads it already.
  if (accepted || import.meta.url.endsWith('.ts')) return;
  if (stripsTypes()) acceptAsEsModules();
  else await registerTsx(file);
  accepted = true;
}

/** Whether this Node runs TypeScript without help. */
function stripsTypes(): boolean {
  const { typescript } = process.features as { readonly typescript?: string | false };
  return typescript === 'strip' || typescript === 'transform';
}

interface LoadContext {
  readonly format?: string | null | undefined;
}

/** `module.registerHooks`, which every Node has that strips types by default. */
interface WithHooks {
  registerHooks?(hooks: {
    load(url: string, context: LoadContext, next: (url: string, context: LoadContext) => unknown): unknown;
  }): unknown;
}

/** TypeScript is ES modules, whatever package.json says or does not say: `npm init` writes "type": "commonjs". */
function acceptAsEsModules(): void {
  (nodeModule as unknown as WithHooks).registerHooks?.({
    load: (url, context, next) =>
      next(url, /[.]ts([?]|$)/.test(url) ? { ...context, format: 'module-typescript' } : context),
  });
}

interface TsxApi {
  register(options: { readonly tsconfig: false }): unknown;
}

/**
 * The same for tsx, which would make CommonJS of the module and, with that, of this package: it goes by the format that
 * Node's own resolution says, so this comes between the two.
 */
const AS_ES_MODULE = `data:text/javascript,${encodeURIComponent(`
export const resolve = async (specifier, context, next) => {
  const resolved = await next(specifier, context);
  return /[.]ts([?]|$)/.test(resolved.url) ? { ...resolved, format: 'module' } : resolved;
};
`)}`;

/**
 * Registers tsx for the whole thread. Its `tsImport`, or a path mapping of a tsconfig.json, could load this package a
 * second time for the module, and two copies of a class are two classes.
 */
async function registerTsx(file: string): Promise<void> {
  const api = (await import(findTsx(file))) as unknown as TsxApi;
  nodeModule.register(AS_ES_MODULE);
  api.register({ tsconfig: false });
}

interface TsxPackage {
  readonly exports: { readonly './esm/api': { readonly import: { readonly default: string } } };
}

/** tsx of the project that the module belongs to, else the one beside this package. */
function findTsx(file: string): string {
  for (const from of [file, import.meta.url]) {
    try {
      // `require.resolve` of the API itself would choose its CommonJS build, which cannot register an ESM loader.
      const path = nodeModule.createRequire(from).resolve('tsx/package.json');
      const tsx = JSON.parse(readFileSync(path, 'utf8')) as TsxPackage;
      return new URL(tsx.exports['./esm/api'].import.default, pathToFileURL(path)).href;
    } catch {
      // Not installed there.
    }
  }
  throw new DeviceSetupError(
    `Node ${process.versions.node} does not run TypeScript by itself, and tsx is not installed. ` +
      `Run \`npm i -D tsx\`, or use Node 22.18 or newer, or compile the module to JavaScript.`,
  );
}
