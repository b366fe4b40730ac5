/**
 * Loads a user's device module. TypeScript is loaded as it is: by Node itself where it strips types (22.18
 * and newer), else through tsx if the user's project has it.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire, register } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { UsageError } from '../usage-error.ts';

const TYPESCRIPT = /\.[cm]?ts$/;

/** What a module exports, before anybody has looked at it. */
export type ModuleExports = Readonly<Record<string, unknown>>;

/** Imports the module at `path`, relative to the working directory. UsageError if it does not load. */
export async function loadModule(path: string): Promise<ModuleExports> {
  const file = resolve(path);
  if (!existsSync(file)) {
    throw new UsageError(
      `there is no file ${path}`,
      'Check the path; it is relative to the working directory.',
    );
  }
  const url = pathToFileURL(file).href;
  try {
    if (TYPESCRIPT.test(file) && !stripsTypes()) return await importWithTsx(file, url);
    return (await import(url)) as ModuleExports;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(
      `${path} does not load: ${(error as Error).message}`,
      'Fix the module, then start again.',
    );
  }
}

/** Whether this Node runs TypeScript without help. */
function stripsTypes(): boolean {
  const { typescript } = process.features as { readonly typescript?: string | false };
  return typescript === 'strip' || typescript === 'transform';
}

interface TsxApi {
  register(options: { readonly tsconfig: false }): unknown;
}

/**
 * A loader that runs before tsx: TypeScript is ES modules, whatever package.json says or does not say. tsx would make
 * CommonJS of it and, with that, of this package when the module imports it.
 */
const AS_ES_MODULE = `data:text/javascript,${encodeURIComponent(`
export const load = (url, context, next) =>
  next(url, /[.]ts([?]|$)/.test(url) ? { ...context, format: 'module' } : context);
`)}`;

/**
 * Registers tsx for the whole process. Its `tsImport`, or a path mapping of a tsconfig.json, could load this package a
 * second time for the module, and two copies of a class are two classes.
 */
async function importWithTsx(file: string, url: string): Promise<ModuleExports> {
  const api = (await import(findTsx(file))) as unknown as TsxApi;
  api.register({ tsconfig: false });
  register(AS_ES_MODULE);
  return (await import(url)) as ModuleExports;
}

interface TsxPackage {
  readonly exports: { readonly './esm/api': { readonly import: { readonly default: string } } };
}

/** tsx of the project that the module belongs to, else the one beside this package. */
function findTsx(file: string): string {
  for (const from of [file, import.meta.url]) {
    try {
      // `require.resolve` of the API itself would choose its CommonJS build, which cannot register an ESM loader.
      const path = createRequire(from).resolve('tsx/package.json');
      const tsx = JSON.parse(readFileSync(path, 'utf8')) as TsxPackage;
      return new URL(tsx.exports['./esm/api'].import.default, pathToFileURL(path)).href;
    } catch {
      // Not installed there.
    }
  }
  throw new UsageError(
    `Node ${process.versions.node} does not run TypeScript by itself, and tsx is not installed`,
    'Run `npm i -D tsx`, or use Node 22.18 or newer, or compile the module to JavaScript.',
  );
}
