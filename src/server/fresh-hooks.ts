/*
 * Module hooks for code that is loaded again. Node keeps an ES module for life by its URL, so the module that is wanted
 * anew gets a query, and hands it down to what it imports by path: `./registers.ts` of `card.ts?vfio-reload=1.2` is
 * `registers.ts?vfio-reload=1.2`. Packages stay as they are, this one above all: two copies of a class are two classes.
 *
 * Where Node has hooks only in a thread of their own, this file is loaded there.
 */
import type { MessagePort } from 'node:worker_threads';

const QUERY = 'vfio-reload';

/** What the hooks are given. */
export interface HookData {
  /** Files below this URL are this package. */
  readonly packageUrl: string;
  /** Told the URL of each file that is loaded anew. */
  readonly port: MessagePort;
}

interface Context {
  readonly parentURL?: string | undefined;
}

interface Resolved {
  readonly url: string;
}

/** The URL under which `url` is loaded anew in `generation`. */
export function freshUrl(url: string, generation: string): string {
  const fresh = new URL(url);
  fresh.searchParams.set(QUERY, generation);
  return fresh.href;
}

/** The generation that a URL belongs to, or null. */
export function generationOf(url: string): string | null {
  return url.includes(QUERY) ? new URL(url).searchParams.get(QUERY) : null;
}

/** What `specifier`, imported by `parentUrl` and resolved to `url`, is loaded as. */
export function passedOn(
  specifier: string,
  parentUrl: string | undefined,
  url: string,
  packageUrl: string,
): string {
  const generation = parentUrl === undefined ? null : generationOf(parentUrl);
  const byPath = /^(\.|\/|file:|#)/.test(specifier);
  if (generation === null || !byPath || !url.startsWith('file:')) return url;
  if (url.includes('/node_modules/') || url.startsWith(packageUrl)) return url;
  return freshUrl(url, generation);
}

let data: HookData | null = null;

/** Called by Node in the hooks' thread. */
export function initialize(given: HookData): void {
  data = given;
}

/** Called by Node for each import. */
export async function resolve(
  specifier: string,
  context: Context,
  next: (specifier: string, context: Context) => Promise<Resolved>,
): Promise<Resolved> {
  const resolved = await next(specifier, context);
  if (data === null) return resolved;
  const url = passedOn(specifier, context.parentURL, resolved.url, data.packageUrl);
  if (generationOf(url) !== null) data.port.postMessage(url);
  return url === resolved.url ? resolved : { ...resolved, url };
}
