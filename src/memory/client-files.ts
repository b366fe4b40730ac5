/*
 * All files that clients of this process gave us as DMA memory, each of them opened and mapped once.
 *
 * Guests map and unmap the same memory again and again (firmware moves PAM ranges, a vIOMMU maps page by page), and
 * several devices of one guest share its RAM. So a DMA_MAP of a file that we know costs one fstat, one lookup and the
 * close of the duplicate, and no mmap. A file that nobody uses any more stays open for a moment, in case it comes
 * back at once; without a session nothing stays.
 */
import { VfioError } from '../core/index.ts';
import type { FileIdentity, SysLayer } from '../sys/sys-layer.ts';
import { type FileShares, fdBudget, LocalBudget, Share } from './budget.ts';
import { ClientFile } from './client-file.ts';

/** An unused file stays open for one to two of these. Firmware remaps within milliseconds. */
const IDLE_MS = 1000;

/** Unused files that stay open: a guest has a few memory backends. More would only keep a client's memory alive. */
const IDLE_MAX = 8;

/** Windows of all client files of a thread: half of Linux's default vm.max_map_count (65530). */
const WINDOWS_MAX = 32_768;

/** Runs `callback` once after `delayMs`, and never keeps the process alive; returns the cancel. */
export type Delay = (callback: () => void, delayMs: number) => () => void;

const nodeDelay: Delay = (callback, delayMs) => {
  const timer = setTimeout(callback, delayMs);
  timer.unref();
  return () => clearTimeout(timer);
};

const defaults = new WeakMap<SysLayer, ClientFiles>();

/** The table of open client files. One per thread and system is enough: `ClientFiles.of(sys)`. */
export class ClientFiles {
  readonly #sys: SysLayer;
  readonly #delay: Delay;
  /** By inode; files of several file systems or access modes share a list. */
  readonly #files: Map<number, ClientFile[]> = new Map();
  readonly #windowBudget: LocalBudget = new LocalBudget(WINDOWS_MAX);
  /** For files that no session of a peer opened. */
  readonly #ownWindows: Share = new Share(this.#windowBudget);
  /** By file: where its fd is counted. */
  readonly #fdShares: Map<ClientFile, Share> = new Map();
  #holds = 0;
  /** Unused files, oldest first. `true`: one sweep has passed over it. */
  readonly #idle: Map<ClientFile, boolean> = new Map();
  #cancelSweep: (() => void) | null = null;

  constructor(sys: SysLayer, delay: Delay = nodeDelay) {
    this.#sys = sys;
    this.#delay = delay;
  }

  /** The one that all sessions over `sys` share. */
  static of(sys: SysLayer): ClientFiles {
    let files = defaults.get(sys);
    if (files === undefined) {
      files = new ClientFiles(sys);
      defaults.set(sys, files);
    }
    return files;
  }

  /** Files that are open now, the unused ones included. */
  get openFiles(): number {
    let count = 0;
    for (const list of this.#files.values()) count += list.length;
    return count;
  }

  /** Windows that are mapped now. */
  get windows(): number {
    return this.#windowBudget.add(0);
  }

  /**
   * A session lives: unused files may stay for a moment. Returns the end of it, to be called once; when the last
   * session ends nothing stays.
   */
  hold(): () => void {
    this.#holds += 1;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#holds -= 1;
      if (this.#holds === 0) this.#dropIdle();
    };
  }

  /** What a new session may use up. A file counts for the session that opened it, as long as it stays open. */
  newShares(): FileShares {
    return { fds: new Share(fdBudget(this.#sys)), windows: new Share(this.#windowBudget) };
  }

  /**
   * The file behind `fd`, one reference more. Consumes `fd`: adopted, or closed if the file is open already, or refused.
   * ENOSPC: the session holds as many files as it may.
   */
  open(
    fd: number,
    identity: FileIdentity = this.#sys.identity(fd),
    shares: FileShares | null = null,
  ): ClientFile {
    let file = this.#find(identity);
    if (file === undefined) {
      file = this.#adopt(fd, identity, shares);
      this.#insert(file);
    } else {
      this.#sys.close(fd);
      this.#idle.delete(file);
    }
    file.references += 1;
    return file;
  }

  /** One reference less. */
  release(file: ClientFile): void {
    file.references -= 1;
    if (file.references > 0) return;
    if (this.#holds === 0) {
      this.#close(file);
      return;
    }
    this.#idle.set(file, false);
    for (const oldest of this.#idle.keys()) {
      if (this.#idle.size <= IDLE_MAX) break;
      this.#close(oldest);
    }
    this.#cancelSweep ??= this.#delay(() => this.#sweep(), IDLE_MS);
  }

  #adopt(fd: number, identity: FileIdentity, shares: FileShares | null): ClientFile {
    if (!this.#sys.isLocalFile(fd, identity)) {
      this.#sys.discard(fd);
      throw new VfioError(
        'EINVAL',
        'the file lies in a file system that another program or machine serves; use memory or a local disk',
      );
    }
    if (shares !== null && !shares.fds.take()) {
      this.#sys.close(fd);
      throw new VfioError(
        'ENOSPC',
        `the session holds ${shares.fds.held} fds, its share: map fewer files, or raise \`ulimit -n\``,
      );
    }
    const file = new ClientFile(this.#sys, fd, identity, shares?.windows ?? this.#ownWindows);
    if (shares !== null) this.#fdShares.set(file, shares.fds);
    return file;
  }

  #find(identity: FileIdentity): ClientFile | undefined {
    const list = this.#files.get(identity.ino);
    if (list === undefined) return undefined;
    for (const file of list) {
      if (file.identity.dev === identity.dev && file.identity.accessMode === identity.accessMode) return file;
    }
    return undefined;
  }

  #insert(file: ClientFile): void {
    const list = this.#files.get(file.identity.ino);
    if (list === undefined) this.#files.set(file.identity.ino, [file]);
    else list.push(file);
  }

  #close(file: ClientFile): void {
    this.#idle.delete(file);
    const list = this.#files.get(file.identity.ino) ?? [];
    const others = list.filter((other) => other !== file);
    if (others.length === 0) this.#files.delete(file.identity.ino);
    else this.#files.set(file.identity.ino, others);
    file.close();
    this.#fdShares.get(file)?.give();
    this.#fdShares.delete(file);
  }

  #sweep(): void {
    this.#cancelSweep = null;
    for (const [file, seen] of [...this.#idle]) {
      if (seen) this.#close(file);
      else this.#idle.set(file, true);
    }
    if (this.#idle.size > 0) this.#cancelSweep = this.#delay(() => this.#sweep(), IDLE_MS);
  }

  #dropIdle(): void {
    for (const file of [...this.#idle.keys()]) this.#close(file);
    this.#cancelSweep?.();
    this.#cancelSweep = null;
  }
}
