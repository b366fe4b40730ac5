/**
 * Tells when files change. It watches their folders, because editors write a new file and put it in the place of the
 * old one, and it looks at a file only after its folder said something.
 */
import { type BigIntStats, type FSWatcher, statSync, watch } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** A save is several events: writing, renaming, times. What comes within this time is one change. */
const QUIET_MS = 50;
/** A file that is written all the time is looked at nevertheless. */
const LONGEST_BURST_MS = 500;
/** How often a folder that is gone (a checkout of another branch) is looked for. */
const MISSING_FOLDER_MS = 1000;
/** Far more than a device has. Each folder is an inotify watch. */
export const WATCHED_FILES_LIMIT: number = 1000;

interface Folder {
  watcher: FSWatcher | null;
  /** Which folder it was: another one may have its name now. */
  inode: bigint | null;
}

/** What may be the file that a module could not import. */
const SOURCE = /\.([cm]?[jt]s|json)$/;

/** Watches files until `close`. Keeps no process alive. */
export class FileWatch {
  /** Source files that appear or change beside the watched ones count too: one of them may be what was missing. */
  eager = false;

  readonly #onChange: (path: string) => void;
  readonly #onError: (message: string) => void;
  /** What each file looked like when it was looked at last; null: it was not there. */
  readonly #files: Map<string, string | null> = new Map();
  readonly #folders: Map<string, Folder> = new Map();
  #timer: NodeJS.Timeout | null = null;
  /** When the burst began that the timer waits for the end of. */
  #burstMs = 0;
  #limitTold = false;
  /** A source file that is not watched was written. */
  #unknown: string | null = null;
  #closed = false;

  /** @param onChange told one of the files that changed, once for all that changed together */
  constructor(onChange: (path: string) => void, onError: (message: string) => void) {
    this.#onChange = onChange;
    this.#onError = onError;
  }

  /** Watches a file too, as it was at `readMs` (Unix time): what was written since is a change. */
  add(path: string, readMs: number): void {
    if (this.#closed || this.#files.has(path)) return;
    if (this.#files.size >= WATCHED_FILES_LIMIT) {
      if (!this.#limitTold) this.#onError(`more than ${WATCHED_FILES_LIMIT} files: ${path} is not watched`);
      this.#limitTold = true;
      return;
    }
    const isNewer = (statsOf(path)?.mtimeMs ?? 0n) > readMs;
    this.#files.set(path, isNewer ? null : stateOf(path));
    if (isNewer) this.#lookIn(QUIET_MS);
    const folder = dirname(path);
    if (this.#folders.has(folder)) return;
    this.#folders.set(folder, { watcher: null, inode: null });
    this.#watch(folder);
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const { watcher } of this.#folders.values()) watcher?.close();
    this.#folders.clear();
    this.#files.clear();
  }

  #watch(path: string): void {
    const folder = this.#folders.get(path)!;
    folder.watcher?.close();
    folder.watcher = null;
    try {
      folder.inode = statSync(path, { bigint: true }).ino;
      folder.watcher = watch(path, { persistent: false }, (_event, name) => this.#heard(path, name));
      folder.watcher.on('error', () => this.#lookIn(QUIET_MS));
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') {
        folder.inode = null;
        this.#lookIn(MISSING_FOLDER_MS);
      } else this.#onError(`${path} cannot be watched: ${message}; start again to see changes there`);
    }
  }

  /** Something happened to a file in a folder, or to the folder itself; `name` is missing where the system knows none. */
  #heard(folder: string, name: string | null): void {
    const path = name === null ? null : join(folder, name);
    const known = path === null || this.#files.has(path) || name === basename(folder);
    if (!known) {
      if (!this.eager || !SOURCE.test(path)) return;
      this.#unknown = path;
    }
    this.#lookIn(QUIET_MS);
  }

  #lookIn(ms: number): void {
    if (this.#closed) return;
    const now = performance.now();
    if (this.#timer === null) this.#burstMs = now;
    else if (now - this.#burstMs > LONGEST_BURST_MS) return;
    else clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), ms).unref();
  }

  #look(): void {
    this.#timer = null;
    for (const [path, { inode }] of this.#folders) {
      const now = statsOf(path)?.ino ?? null;
      if (now !== inode || now === null) this.#watch(path);
    }
    let changed = this.#unknown;
    this.#unknown = null;
    for (const [path, before] of this.#files) {
      const now = stateOf(path);
      // A file that is gone is being replaced, or comes back with the next checkout.
      if (now === null || now === before) continue;
      this.#files.set(path, now);
      changed ??= path;
    }
    if (changed !== null) this.#onChange(changed);
  }
}

function stateOf(path: string): string | null {
  const stats = statsOf(path);
  return stats === null ? null : `${stats.ino} ${stats.size} ${stats.mtimeNs}`;
}

/** null: it is not there, or not to be seen. */
function statsOf(path: string): BigIntStats | null {
  try {
    return statSync(path, { bigint: true });
  } catch {
    return null;
  }
}
