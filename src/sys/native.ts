/*
 * The addon as TypeScript sees it: numbers in, one number out (a result, or a negative errno). Calls with several results
 * leave them in `results`. Only this room may know these names; everybody else uses SysLayer.
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { VfioError } from '../core/error.ts';

/** What happens to a connection: the first argument of its callback. */
export const EVENT_MESSAGES = 0;
export const EVENT_OVERSIZED = 1;

/** Why a connection ended, by the number that the addon says. */
export const END_REASONS: readonly string[] = [
  'the peer closed the connection',
  'receiving failed',
  'sending failed',
  'a message claims a size smaller than its header',
  'file descriptors of a message were lost: this process has no free ones (raise `ulimit -n`)',
  'the peer does not read what is sent to it, and the send queue is full',
];

export interface NativeBinding {
  readonly results: Float64Array;
  /** By window slot: 0, or 1 once its memory was lost. */
  readonly lostTable: Int32Array;

  memfdCreate(name: string, allowSealing: number): number;
  ftruncate(fd: number, sizeBytes: number): number;
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  addSeals(fd: number, seals: number): number;
  close(fd: number): number;
  discard(fd: number): number;
  dup(fd: number): number;
  /** results: dev, ino, size, seals, access mode, mode, allocated bytes. */
  identity(fd: number): number;
  maxOpenFiles(): number;
  countPeerFds(change: number): number;
  pread(fd: number, target: Uint8Array, at: number, length: number, position: number): number;
  pwrite(fd: number, source: Uint8Array, at: number, length: number, position: number): number;
  copyPopulated(fromFd: number, toFd: number, offset: number, length: number): number;
  read(fd: number, target: Uint8Array, at: number, length: number): number;
  write(fd: number, source: Uint8Array, at: number, length: number): number;
  /** results: master, slave. */
  openPty(): number;
  eventfd(initial: number): number;
  setNonblocking(fd: number): number;
  eventfdSignal(fd: number): number;
  eventfdRead(fd: number): number;

  listen(path: string, backlog: number): number;
  connect(path: string): number;
  accept(fd: number): number;
  /** results: the two fds. */
  socketpair(): number;
  /** results: pid, uid, gid. */
  peerCredentials(fd: number): number;
  shutdown(fd: number): number;

  /** results: the slot. */
  map(fd: number, offset: number, sizeBytes: number, write: number): ArrayBuffer | number;
  replace(slot: number, fd: number, offset: number): number;
  revoke(slot: number): number;
  unmap(slot: number, buffer: ArrayBuffer): number;
  copy(target: Uint8Array, targetAt: number, source: Uint8Array, sourceAt: number, length: number): number;
  /** Unmaps what has been in quarantine long enough; returns how many are still in it. results: windows in use. */
  sweep(): number;

  watchOpen(fd: number, onReady: () => void, writable: number): number;
  watchClose(id: number): number;
  watchHold(id: number, hold: number): number;

  connectionOpen(
    fd: number,
    received: ArrayBuffer,
    sending: ArrayBuffer,
    control: ArrayBuffer,
    messageMax: number,
    fdsMax: number,
    queueMax: number,
    readWhileBlocked: number,
    busyPollUs: number,
    dedicated: number,
    callback: (event: number, first: number, second: number) => number,
  ): number;
  connectionSend(id: number, length: number, fdCount: number): number;
  connectionClose(id: number): number;
  connectionReading(id: number, on: number): number;
  connectionHold(id: number, hold: number): number;

  /** Places in a connection's control words, see native/connection.h. */
  readonly WORD_FD_COUNT: number;
  readonly WORD_QUEUED: number;
  readonly WORD_SURPLUS: number;
  readonly WORD_SENT_FDS: number;
  readonly WORD_FDS: number;
  readonly CONTROL_WORDS: number;
}

/** Loads the addon: a prebuilt binary for this platform, or the one that was built here. Throws ENOSYS if there is none. */
export function loadNative(): NativeBinding {
  const folder = fileURLToPath(new URL('../../native', import.meta.url));
  const load = createRequire(import.meta.url)('node-gyp-build') as (folder: string) => unknown;
  try {
    return load(folder) as NativeBinding;
  } catch (cause) {
    const where = `${process.platform}-${process.arch}`;
    throw new VfioError(
      'ENOSYS',
      `the addon for ${where} could not be loaded from ${folder}. Linux is needed; with a C++ compiler, build it there by \`npx node-gyp rebuild\`.`,
      { cause },
    );
  }
}
