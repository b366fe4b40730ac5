/**
 * What the rest of the library may ask of the operating system: every system call is behind this interface.
 *
 * The live one is `openSys()` (index.ts), over the addon in native/; `FakeSys` (fake.ts) is the same in memory, for tests
 * of the rooms above. Both pass the same contract test. Calls that fail throw `VfioError` with the errno's name as `code`,
 * unless the docstring says that they return it.
 */

/** What an fd is, in one call: two fds with equal `dev` and `ino` are the same memory. */
export interface FileIdentity {
  /** st_dev (and, for inode numbers above 2^53, their upper bits: the pair stays exact). */
  readonly dev: number;
  /** st_ino. */
  readonly ino: number;
  readonly sizeBytes: number;
  /** F_SEAL_* bits, or -1 where the file knows no seals. */
  readonly seals: number;
  /** O_ACCMODE: 0 O_RDONLY, 1 O_WRONLY, 2 O_RDWR. */
  readonly accessMode: 0 | 1 | 2;
  /** st_mode: file type and permissions. */
  readonly mode: number;
}

/** One end of a UNIX socket as the kernel vouches for it (SO_PEERCRED). */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** How memory is mapped. With 'r', what is stored into the window stays private and never reaches the file. */
export type MapAccess = 'r' | 'rw';

/**
 * A window on a file's memory. The address never changes during its life, so views made from `bytes` stay good over
 * `replace` and `revoke`. Build views with `bytes.buffer` and `bytes.byteOffset` (a fake's window may not start at 0).
 */
export interface Mapping {
  readonly buffer: ArrayBuffer;
  /** The whole window. Length 0 after `unmap`. */
  readonly bytes: Uint8Array;
  readonly sizeBytes: number;
  /** The memory went away under us (its file was truncated): the whole window is private zero pages since. Costs no call. */
  readonly lost: boolean;
  /** Puts another file (or another place of the same file) under the same addresses; clears `lost`. */
  replace(fd: number, offset: number): void;
  /** Puts private zero pages under the window. */
  revoke(): void;
  /** Ends the window: its views have length 0 from now on. A second call does nothing. */
  unmap(): void;
}

/** Tells when an fd is ready (level triggered: use it or close the watcher, or it tells again). */
export interface Watcher {
  /** Stops watching. The fd stays open and may be closed at once. */
  close(): void;
  /** An open watcher keeps the process alive (the default). */
  ref(): void;
  unref(): void;
}

export interface ConnectionOptions {
  /** Largest whole message (header included) that is delivered. */
  readonly maxMessageBytes: number;
  /** Most fds that one message may carry, at most 253 (SCM_MAX_FD). More are closed and counted by `surplusFds`. */
  readonly maxMessageFds: number;
  /** Size of `sending`. Default: `maxMessageBytes` and 64 KiB more. */
  readonly sendBufferBytes?: number;
  /** How much is kept for a peer that does not read before the connection is closed. Default 16 MiB. */
  readonly sendQueueBytes?: number;
  /** After activity, look again for this long before sleeping. Default 0. */
  readonly busyPollUs?: number;
  /**
   * The thread is there for this connection: while messages keep coming it sleeps in the socket itself, up to 1 ms at a
   * time, which makes each message cheaper and lets whatever else the thread does wait that long. Only one connection of
   * a thread can have it at a time. Default false.
   */
  readonly dedicated?: boolean;
  /**
   * Go on reading while the peer does not read what we sent. Default false: a server answers no faster than its client
   * reads. A client must say true, or two full sockets would wait for each other for ever.
   */
  readonly readWhileBlocked?: boolean;
}

export interface ConnectionHandler {
  /**
   * Complete messages lie in `connection.received` [0, end). Replies are written into `connection.sending`; the result
   * says how many bytes of it to send (0 for none). They are sent before any promise continuation runs. Fds of these
   * messages that nobody takes are closed when this returns.
   */
  onMessages(end: number): number;
  /**
   * A message is larger than `maxMessageBytes`. `header` holds its 16 bytes and is good during the call. Its body is
   * dropped as it arrives, its fds are closed, and the next message is delivered as usual. Result as in `onMessages`.
   */
  onOversized(header: DataView): number;
  /**
   * The connection ended: the peer closed it, an error, a broken frame, lost fds, a full send queue. Called once, never
   * from inside `send`, and not at all after our own `close`. The fd is closed already. `errno` 0: the peer closed.
   */
  onClose(reason: string, errno: number): void;
}

/** A stream of vfio-user messages with fds, both ways. Owns its fd. */
export interface Connection {
  readonly fd: number;
  readonly closed: boolean;
  /** Where messages arrive: the same buffer for life, valid in [0, end) during `onMessages`. */
  readonly received: DataView;
  readonly receivedBytes: Uint8Array;
  /** Where messages to be sent are written: the same buffer for life, free again when `send` or `onMessages` returned. */
  readonly sending: DataView;
  readonly sendingBytes: Uint8Array;
  /** How many fds came with the messages of this `onMessages` call: 0 nearly always, so look here first. */
  readonly fdCount: number;
  /** The fds of the message that starts at `start` in `received`, in order. They belong to the caller from now on. */
  takeFds(start: number): number[];
  /** How many fds of that message were closed unseen because they were over `maxMessageFds`. */
  surplusFds(start: number): number;
  /** Bytes that wait because the peer does not read. */
  readonly queuedBytes: number;
  /**
   * Sends `sending` [0, length) now, in one piece. With fds it must be one message; they stay the caller's. Never blocks:
   * what the socket does not take is copied. An error closes the connection (`onClose` comes later); after that, and
   * after `close`, it does nothing.
   */
  send(length: number, fds?: readonly number[]): void;
  /** `false`: nothing more is read, and the peer has to wait; `true`: read again (the default). */
  setReading(on: boolean): void;
  /** Closes at once. What is still queued is dropped. A second call does nothing. */
  close(): void;
  /** An open connection keeps the process alive (the default). */
  ref(): void;
  unref(): void;
}

/** A pseudo terminal: two fds that are each other's other end. Both are non-blocking and belong to the caller. */
export interface Pty {
  /** Our end. */
  readonly master: number;
  /** The terminal's end. While it is open, `master` does not fail because nobody else has the terminal open. */
  readonly slave: number;
  /** What others open, '/dev/pts/3' for example. */
  readonly path: string;
}

/** What a watcher waits for. */
export type Readiness = 'readable' | 'writable';

/** What is held, for leak tests and metrics. */
export interface SysCounts {
  /** Windows in use. */
  readonly mappings: number;
  /** Windows that ended and whose addresses are kept for a while. */
  readonly quarantined: number;
  readonly connections: number;
  readonly watchers: number;
}

export interface SysLayer {
  /** Anonymous memory (memfd_create, CLOEXEC). `name` is at most 249 bytes. `allowSealing` defaults to false. */
  memfdCreate(name: string, options?: { readonly allowSealing?: boolean }): number;
  ftruncate(fd: number, sizeBytes: number): void;
  /** `mode` is a set of FALLOC_FL_* bits. */
  fallocate(fd: number, mode: number, offset: number, length: number): void;
  /** `seals` is a set of F_SEAL_* bits. */
  addSeals(fd: number, seals: number): void;
  close(fd: number): void;
  /** Closes an fd that a peer sent and nobody has looked at: in the background where closing it could wait for the peer. */
  discard(fd: number): void;
  dup(fd: number): number;
  identity(fd: number): FileIdentity;
  /** Whether a touch of the file waits for nobody but this kernel and its disks. Asks nobody else to find out. */
  isLocalFile(fd: number, identity: FileIdentity): boolean;
  /** What /proc/self/fd/N points to, for example '/memfd:name (deleted)'. */
  fdName(fd: number): string;
  /**
   * Maps a file's memory, at most 1 GiB; `offset` and `sizeBytes` are multiples of the page size. The whole window must lie in
   * the file now (EINVAL otherwise); if the file shrinks later the window becomes `lost`, and the process goes on.
   */
  map(fd: number, offset: number, sizeBytes: number, access: MapAccess): Mapping;
  /**
   * Copies between two views, either of which may be a window. Returns 0, or EFAULT when the memory of one of them went away
   * during the copy (what was copied then is worth nothing). Windows that were lost before: look at `lost`.
   */
  copy(target: Uint8Array, targetAt: number, source: Uint8Array, sourceAt: number, length: number): number;
  /** Copies what is populated of [offset, offset + length) to the same offsets of another file. Returns the bytes copied. */
  copyPopulated(fromFd: number, toFd: number, offset: number, length: number): number;
  /** Bytes that really take memory. */
  populatedBytes(fd: number): number;
  /** Returns the bytes read: fewer than `length` at the end of the file. */
  pread(fd: number, target: Uint8Array, at: number, length: number, position: number): number;
  /** Returns the bytes written. A write past the end of an unsealed file grows it. */
  pwrite(fd: number, source: Uint8Array, at: number, length: number, position: number): number;
  /** Reads what a non-blocking fd has, up to `length` bytes. Returns 0 at the end, -1 if there is nothing now. */
  read(fd: number, target: Uint8Array, at: number, length: number): number;
  /** Writes to a non-blocking fd. Returns how many bytes it took, -1 if none now. */
  write(fd: number, source: Uint8Array, at: number, length: number): number;
  /** A new pseudo terminal in raw mode: bytes pass as they are, nothing is echoed. */
  openPty(): Pty;
  /** A symbolic link. One whose target is gone is replaced, any other file in its place is EEXIST. */
  symlink(target: string, path: string): void;
  /** Removes a symbolic link if it still points to `target`. */
  unlinkSymlink(target: string, path: string): void;
  /** A counter to signal with (CLOEXEC, non-blocking). */
  eventfd(initial?: number): number;
  /** Readies an fd that a peer sent for `eventfdSignal`: EINVAL if it is no eventfd; made non-blocking, so that no peer can stop us. */
  adoptEventfd(fd: number): void;
  /** Adds 1. A counter that is full already stays so. */
  eventfdSignal(fd: number): void;
  /** Takes the counter's value and leaves 0. Returns 0 if there is nothing. */
  eventfdRead(fd: number): number;
  /** Two connected UNIX stream sockets. */
  socketpair(): [number, number];
  /** A listening UNIX socket. A socket file that nobody listens on any more is replaced; a live one is EADDRINUSE. */
  listen(path: string, backlog: number): number;
  /** Removes a file; it does not matter if there is none. */
  unlink(path: string): void;
  /** The next waiting client, or -1. At EMFILE the client is turned away and the error thrown. */
  accept(fd: number): number;
  connect(path: string): number;
  peerCredentials(fd: number): PeerCredentials;
  /** Ends both directions; the fd stays open. */
  shutdown(fd: number): void;
  /** Calls when `fd` is ready. One watcher an fd: who waits for both has a `dup` for the second. */
  watch(fd: number, onReady: () => void, readiness?: Readiness): Watcher;
  /** Serves a connected socket. Owns `fd` from now on. */
  connection(fd: number, options: ConnectionOptions, handler: ConnectionHandler): Connection;
  counts(): SysCounts;
  /** How many fds this process may have (RLIMIT_NOFILE). */
  maxOpenFiles(): number;
  /** Changes by `change` how many fds the process, with all its threads, holds for peers; returns how many. */
  countPeerFds(change: number): number;
}
