/*
 * The live SysLayer: each method is one call of the addon and a check of its result.
 */
import { existsSync, lstatSync, readFileSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { ERRNO } from '../abi/errno.ts';
import { VfioError } from '../core/error.ts';
import { fileSystemIn, isLocal } from './file-system.ts';
import type { NativeBinding } from './native.ts';
import { NativeConnection } from './native-connection.ts';
import { NativeMapping } from './native-mapping.ts';
import { checked, sysError } from './sys-error.ts';
import type {
  Connection,
  ConnectionHandler,
  ConnectionOptions,
  FileIdentity,
  MapAccess,
  Mapping,
  PeerCredentials,
  Pty,
  Readiness,
  SysCounts,
  SysLayer,
  Watcher,
} from './sys-layer.ts';

export class NativeSys implements SysLayer {
  private readonly native: NativeBinding;
  private connections = 0;
  private watchers = 0;

  constructor(native: NativeBinding) {
    this.native = native;
  }

  memfdCreate(name: string, options: { readonly allowSealing?: boolean } = {}): number {
    return checked(
      this.native.memfdCreate(name, options.allowSealing ? 1 : 0),
      `creating memory named '${name}'`,
    );
  }

  ftruncate(fd: number, sizeBytes: number): void {
    checked(this.native.ftruncate(fd, sizeBytes), `resizing fd ${fd} to ${sizeBytes} bytes`);
  }

  fallocate(fd: number, mode: number, offset: number, length: number): void {
    checked(
      this.native.fallocate(fd, mode, offset, length),
      `allocating ${length} bytes at ${offset} of fd ${fd}`,
    );
  }

  addSeals(fd: number, seals: number): void {
    checked(this.native.addSeals(fd, seals), `sealing fd ${fd}`);
  }

  close(fd: number): void {
    checked(this.native.close(fd), `closing fd ${fd}`);
  }

  discard(fd: number): void {
    this.native.discard(fd);
  }

  dup(fd: number): number {
    return checked(this.native.dup(fd), `duplicating fd ${fd}`);
  }

  identity(fd: number): FileIdentity {
    checked(this.native.identity(fd), `asking what fd ${fd} is`);
    const { results } = this.native;
    return {
      dev: results[0]!,
      ino: results[1]!,
      sizeBytes: results[2]!,
      seals: results[3]!,
      accessMode: results[4]! as 0 | 1 | 2,
      mode: results[5]!,
    };
  }

  isLocalFile(fd: number, identity: FileIdentity): boolean {
    if (identity.seals >= 0) return true;
    try {
      const mountId = /^mnt_id:\t(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? null;
      return isLocal(fileSystemIn(readFileSync('/proc/self/mountinfo', 'utf8'), identity.dev, mountId));
    } catch {
      return false; // no /proc, or no fd left to read it with
    }
  }

  fdName(fd: number): string {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch (cause) {
      throw new VfioError('EBADF', `asking for the name of fd ${fd}: the file descriptor is not open`, {
        cause,
      });
    }
  }

  map(fd: number, offset: number, sizeBytes: number, access: MapAccess): Mapping {
    return new NativeMapping(this.native, fd, offset, sizeBytes, access);
  }

  copy(target: Uint8Array, targetAt: number, source: Uint8Array, sourceAt: number, length: number): number {
    const result = this.native.copy(target, targetAt, source, sourceAt, length);
    if (result < 0) throw new RangeError(`vfio: a copy of ${length} bytes leaves its source or target`);
    return result;
  }

  copyPopulated(fromFd: number, toFd: number, offset: number, length: number): number {
    return checked(
      this.native.copyPopulated(fromFd, toFd, offset, length),
      `copying fd ${fromFd} to fd ${toFd}`,
    );
  }

  populatedBytes(fd: number): number {
    checked(this.native.identity(fd), `asking what fd ${fd} holds`);
    return this.native.results[6]!;
  }

  pread(fd: number, target: Uint8Array, at: number, length: number, position: number): number {
    return checked(this.native.pread(fd, target, at, length, position), `reading at ${position} of fd ${fd}`);
  }

  pwrite(fd: number, source: Uint8Array, at: number, length: number, position: number): number {
    return checked(
      this.native.pwrite(fd, source, at, length, position),
      `writing at ${position} of fd ${fd}`,
    );
  }

  read(fd: number, target: Uint8Array, at: number, length: number): number {
    const result = this.native.read(fd, target, at, length);
    return result === -ERRNO.EAGAIN ? -1 : checked(result, `reading fd ${fd}`);
  }

  write(fd: number, source: Uint8Array, at: number, length: number): number {
    const result = this.native.write(fd, source, at, length);
    return result === -ERRNO.EAGAIN ? -1 : checked(result, `writing to fd ${fd}`);
  }

  openPty(): Pty {
    checked(this.native.openPty(), 'making a pseudo terminal');
    const [master, slave] = [this.native.results[0]!, this.native.results[1]!];
    return { master, slave, path: this.fdName(slave) };
  }

  symlink(target: string, path: string): void {
    try {
      if (pointsNowhere(path)) unlinkSync(path);
      symlinkSync(target, path);
    } catch (error) {
      throw sysError(-((error as NodeJS.ErrnoException).errno ?? 0), `linking '${path}' to '${target}'`);
    }
  }

  unlinkSymlink(target: string, path: string): void {
    if (linkTarget(path) === target) this.unlink(path);
  }

  eventfd(initial = 0): number {
    return checked(this.native.eventfd(initial), 'creating an eventfd');
  }

  adoptEventfd(fd: number): void {
    if (this.fdName(fd) !== 'anon_inode:[eventfd]')
      throw new VfioError('EINVAL', `fd ${fd} is not an eventfd: send one`);
    checked(this.native.setNonblocking(fd), `making fd ${fd} non-blocking`);
  }

  eventfdSignal(fd: number): void {
    const result = this.native.eventfdSignal(fd);
    if (result < 0) checked(result, `signalling fd ${fd}`);
  }

  eventfdRead(fd: number): number {
    const result = this.native.eventfdRead(fd);
    return result < 0 ? checked(result, `reading the counter of fd ${fd}`) : result;
  }

  socketpair(): [number, number] {
    checked(this.native.socketpair(), 'creating two sockets');
    return [this.native.results[0]!, this.native.results[1]!];
  }

  listen(path: string, backlog: number): number {
    let result = this.native.listen(path, backlog);
    if (result === -ERRNO.EADDRINUSE && this.isStaleSocket(path)) {
      unlinkSync(path);
      result = this.native.listen(path, backlog);
    }
    return checked(result, `listening on '${path}'`);
  }

  unlink(path: string): void {
    try {
      unlinkSync(path);
    } catch (error) {
      const { errno, code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT') throw sysError(-(errno ?? 0), `removing '${path}'`);
    }
  }

  accept(fd: number): number {
    const result = this.native.accept(fd);
    return result === -ERRNO.EAGAIN ? -1 : checked(result, `accepting a client on fd ${fd}`);
  }

  connect(path: string): number {
    return checked(this.native.connect(path), `connecting to '${path}'`);
  }

  peerCredentials(fd: number): PeerCredentials {
    checked(this.native.peerCredentials(fd), `asking who is behind fd ${fd}`);
    const { results } = this.native;
    return { pid: results[0]!, uid: results[1]!, gid: results[2]! };
  }

  shutdown(fd: number): void {
    checked(this.native.shutdown(fd), `shutting fd ${fd} down`);
  }

  watch(fd: number, onReady: () => void, readiness: Readiness = 'readable'): Watcher {
    const { native } = this;
    const writable = readiness === 'writable' ? 1 : 0;
    const id = checked(native.watchOpen(fd, onReady, writable), `watching fd ${fd}`);
    let open = true;
    this.watchers++;
    return {
      close: () => {
        if (!open) return;
        open = false;
        this.watchers--;
        native.watchClose(id);
      },
      ref: () => void (open && native.watchHold(id, 1)),
      unref: () => void (open && native.watchHold(id, 0)),
    };
  }

  connection(fd: number, options: ConnectionOptions, handler: ConnectionHandler): Connection {
    const connection = new NativeConnection(this.native, fd, options, handler, () => this.connections--);
    this.connections++;
    return connection;
  }

  counts(): SysCounts {
    const quarantined = this.native.sweep();
    const mappings = this.native.results[0]!;
    return { mappings, quarantined, connections: this.connections, watchers: this.watchers };
  }

  maxOpenFiles(): number {
    return checked(this.native.maxOpenFiles(), 'asking how many fds there may be');
  }

  countPeerFds(change: number): number {
    return this.native.countPeerFds(change);
  }

  /** Whether a socket file is there that nobody listens on: its server died without removing it. */
  private isStaleSocket(path: string): boolean {
    if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() !== true) return false;
    const probe = this.native.connect(path);
    if (probe >= 0) this.native.close(probe);
    return probe === -ERRNO.ECONNREFUSED;
  }
}

/** What a symbolic link says, or null if the path is none. */
function linkTarget(path: string): string | null {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true ? readlinkSync(path) : null;
}

function pointsNowhere(path: string): boolean {
  const target = linkTarget(path);
  return target !== null && !existsSync(resolve(dirname(path), target));
}
