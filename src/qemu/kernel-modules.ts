/*
 * Kernel modules for a guest: finds modules and what they need in a Debian kernel's folder, decompressed and in the
 * order in which they load. Needs no depmod: a module says itself what it depends on, in its .modinfo section.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { VfioError } from '../core/index.ts';

/** A module, ready for insmod. */
export interface KernelModule {
  readonly name: string;
  readonly data: Uint8Array;
}

const MODULE = /^(.+)\.ko(\.xz)?$/;
const MAX_MODULE_BYTES = 64 << 20;
/** Indexes by folder: looking through a kernel's 4,000 modules takes a while. */
const indexes = new Map<string, ReadonlyMap<string, string>>();

/**
 * `wanted` and everything they depend on, dependencies first. A module that is built into the kernel has no file and is
 * left out, and so is a name that the kernel does not know.
 * @param busybox decompresses where the modules are .ko.xz
 */
export function moduleClosure(
  folder: string,
  wanted: readonly string[],
  busybox: string,
): readonly KernelModule[] {
  const index = indexOf(folder);
  const done = new Set<string>();
  const order: KernelModule[] = [];
  const add = (name: string): void => {
    if (done.has(name)) return;
    done.add(name);
    const path = index.get(name);
    if (path === undefined) return;
    const data = readModule(path, busybox);
    for (const dependency of dependencies(data)) add(dependency);
    order.push({ name, data });
  };
  for (const name of wanted) add(canonical(name));
  return order;
}

/** What a module's .modinfo says it depends on. */
export function dependencies(module: Uint8Array): readonly string[] {
  const bytes = Buffer.from(module.buffer, module.byteOffset, module.byteLength);
  const at = bytes.indexOf('\0depends=');
  if (at < 0) return [];
  const from = at + '\0depends='.length;
  const list = bytes.toString('latin1', from, bytes.indexOf(0, from));
  return list === '' ? [] : list.split(',').map(canonical);
}

function indexOf(folder: string): ReadonlyMap<string, string> {
  const known = indexes.get(folder);
  if (known !== undefined) return known;
  const index = new Map<string, string>();
  for (const entry of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const name = MODULE.exec(entry.split('/').at(-1)!)?.[1];
    if (name !== undefined) index.set(canonical(name), join(folder, entry));
  }
  indexes.set(folder, index);
  return index;
}

/** The kernel takes `-` and `_` in names for the same. */
function canonical(name: string): string {
  return name.replaceAll('-', '_');
}

function readModule(path: string, busybox: string): Uint8Array {
  const data = readFileSync(path);
  if (!path.endsWith('.xz')) return data;
  try {
    return execFileSync(busybox, ['xzcat'], { input: data, maxBuffer: MAX_MODULE_BYTES });
  } catch (error) {
    throw new VfioError(
      'EIO',
      `${path} cannot be decompressed: ${(error as Error).message}. Set the cache up again`,
    );
  }
}
