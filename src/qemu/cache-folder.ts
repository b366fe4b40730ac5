/*
 * The folder that holds what was fetched on request: a QEMU with vfio-user-pci, guest kernels with their modules, and a
 * static busybox. Nothing outside it is touched, and deleting it undoes everything.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Debian's kernels that guests can run, by their series. The first is the one that is used unless told otherwise. */
export const KERNEL_SERIES = ['7.3', '6.12', '6.1'] as const;
export type KernelSeries = (typeof KERNEL_SERIES)[number];

/** A guest kernel in the cache. */
export interface CachedKernel {
  readonly series: KernelSeries;
  /** The compressed image that QEMU's -kernel takes. */
  readonly image: string;
  /** Folder with the modules, at any depth. */
  readonly modules: string;
}

/** What the cache holds; every path exists. */
export interface QemuCache {
  readonly folder: string;
  /** Program that runs the cached QEMU with its own libraries. */
  readonly qemu: string;
  readonly busybox: string;
  readonly kernels: ReadonlyMap<KernelSeries, CachedKernel>;
}

/** `VFIO_CACHE`, or `vfio` in the user's cache folder (XDG Base Directory Specification). */
export function cacheFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const { VFIO_CACHE: own, XDG_CACHE_HOME: base } = environment;
  if (own !== undefined && own !== '') return own;
  return join(base !== undefined && base !== '' ? base : join(homedir(), '.cache'), 'vfio');
}

/** Written last, so that a folder whose filling was interrupted does not count.. */
export const COMPLETE = 'complete';

/** What `folder` holds, or null when no QEMU is there, or nothing that was finished. */
export function findCache(folder: string = cacheFolder()): QemuCache | null {
  const qemu = join(folder, 'qemu-system-x86_64');
  const busybox = join(folder, 'busybox');
  if (!isComplete(folder) || !existsSync(qemu) || !existsSync(busybox)) return null;
  const kernels = new Map<KernelSeries, CachedKernel>();
  for (const series of KERNEL_SERIES) {
    const kernel = findKernel(folder, series);
    if (kernel !== null) kernels.set(series, kernel);
  }
  return { folder, qemu, busybox, kernels };
}

/** Folder of one kernel series. */
export function kernelFolder(folder: string, series: KernelSeries): string {
  return join(folder, `linux-${series}`);
}

function findKernel(folder: string, series: KernelSeries): CachedKernel | null {
  const own = kernelFolder(folder, series);
  if (!isComplete(own)) return null;
  const modules = join(own, 'modules');
  const image = readFileSync(join(own, COMPLETE), 'utf8').trim();
  return existsSync(join(own, image)) && readdirSync(modules).length > 0
    ? { series, image: join(own, image), modules }
    : null;
}

function isComplete(folder: string): boolean {
  return existsSync(join(folder, COMPLETE));
}
