/*
 * Which region an fd is: R2 for memory that comes back to us through a socket instead of a VMA.
 *
 * A client that wants one device to reach another passes the fd that it got for the region. (st_dev, st_ino) of that
 * fd leads to the region, and the file offset to the place in it. The registry's regions hold their fd open, so the
 * pair cannot be given to another file meanwhile.
 */
import type { Region } from '../core/index.ts';
import type { SysLayer } from '../sys/sys-layer.ts';

/** The part of a file's identity that tells files apart. */
export interface FileKey {
  readonly dev: number;
  readonly ino: number;
}

interface Entry {
  readonly dev: number;
  readonly region: Region;
}

const defaults = new WeakMap<SysLayer, RegionRegistry>();

/** Regions of this process (of this thread, with workers) by the file behind them. */
export class RegionRegistry {
  /** By inode; a list in case two file systems use the same number. */
  readonly #entries: Map<number, Entry[]> = new Map();

  /** The one that all devices over `sys` share. */
  static of(sys: SysLayer): RegionRegistry {
    let registry = defaults.get(sys);
    if (registry === undefined) {
      registry = new RegionRegistry();
      defaults.set(sys, registry);
    }
    return registry;
  }

  /** How many regions are registered. */
  get size(): number {
    let count = 0;
    for (const list of this.#entries.values()) count += list.length;
    return count;
  }

  /** The region behind a file, or undefined if it is none of ours. */
  regionOf(key: FileKey): Region | undefined {
    return this.#entries.get(key.ino)?.find((entry) => entry.dev === key.dev)?.region;
  }

  /** Registers the file of a region. */
  add(key: FileKey, region: Region): void {
    this.remove(key);
    const list = this.#entries.get(key.ino) ?? [];
    this.#entries.set(key.ino, [...list, { dev: key.dev, region }]);
  }

  /** Forgets a file; nothing happens if it is not there. */
  remove(key: FileKey): void {
    const list = this.#entries.get(key.ino)?.filter((entry) => entry.dev !== key.dev) ?? [];
    if (list.length === 0) this.#entries.delete(key.ino);
    else this.#entries.set(key.ino, list);
  }
}
