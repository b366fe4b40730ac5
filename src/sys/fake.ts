/*
 * FakeSys: a SysLayer in memory, for tests of the rooms above that need no kernel (or want to see what would be asked of
 * it). Two objects are two worlds; fds of one mean nothing in the other, nor to the kernel. It passes the same contract
 * test as the live layer. Differences: no real fd, no other process, windows are lost at once instead of on touch, and
 * nothing keeps the process alive.
 */
import { ERRNO } from '../abi/errno.ts';
import { VfioError } from '../core/error.ts';
import { FakeConnection } from './fake-connection.ts';
import {
  type Description,
  EventDescription,
  FileDescription,
  ListenerDescription,
} from './fake-descriptor.ts';
import { FakeFile } from './fake-file.ts';
import { FakeMapping } from './fake-mapping.ts';
import { FakePty } from './fake-pty.ts';
import { dropReference, FakeSocket } from './fake-socket.ts';
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

/** Out of the way of real ones, so that a mix-up is EBADF and not somebody's file. */
const FIRST_FD = 1_000_000;
const FAKE_DEVICE = 0xfa4e;
const O_RDWR = 2;
const S_IFREG_0777 = 0o100777;
const S_IFSOCK_0777 = 0o140777;
const S_IFCHR_0620 = 0o020620;
const MODES = {
  file: S_IFREG_0777,
  eventfd: 0,
  socket: S_IFSOCK_0777,
  listener: S_IFSOCK_0777,
  pty: S_IFCHR_0620,
} as const;
const MEMFD_NAME_MAX = 249;

/** The usual soft limit of a Linux process. */
const MAX_OPEN_FILES = 1024;

export class FakeSys implements SysLayer {
  private peerFds = 0;
  private readonly fds = new Map<number, Description>();
  private readonly paths = new Map<string, ListenerDescription>();
  private readonly links = new Map<string, string>();
  private readonly windows = new Set<FakeMapping>();
  private nextIno = 1;
  private nextTerminal = 0;
  private connections = 0;
  private watchers = 0;

  /** Open fds, for leak tests (a live layer's are in /proc/self/fd). */
  get openFds(): number {
    return this.fds.size;
  }

  /** Opens a terminal by its path, as open(2) would. */
  openTerminal(path: string): number {
    const found = [...this.fds.values()].find((each) => each.kind === 'pty' && each.name === path);
    if (found === undefined) throw sysError(ERRNO.ENOENT, `opening '${path}'`);
    return this.install(found);
  }

  memfdCreate(name: string, options: { readonly allowSealing?: boolean } = {}): number {
    if (Buffer.byteLength(name) > MEMFD_NAME_MAX)
      throw sysError(ERRNO.EINVAL, `creating memory named '${name}'`);
    return this.install(
      new FileDescription(new FakeFile(this.nextIno++, name, options.allowSealing === true)),
    );
  }

  ftruncate(fd: number, sizeBytes: number): void {
    this.file(fd).resize(sizeBytes);
  }

  fallocate(fd: number, mode: number, offset: number, length: number): void {
    this.file(fd).allocate(mode, offset, length);
  }

  addSeals(fd: number, seals: number): void {
    this.file(fd).addSeals(seals);
  }

  close(fd: number): void {
    const description = this.description(fd);
    this.fds.delete(fd);
    dropReference(description);
  }

  dup(fd: number): number {
    return this.install(this.description(fd));
  }

  identity(fd: number): FileIdentity {
    const description = this.description(fd);
    const base = { dev: FAKE_DEVICE, accessMode: O_RDWR, mode: S_IFREG_0777 } as const;
    if (!(description instanceof FileDescription)) {
      const mode = MODES[description.kind];
      return { ...base, ino: 0, sizeBytes: 0, seals: -1, mode };
    }
    const { ino, sizeBytes, seals } = description.file;
    return { ...base, ino, sizeBytes, seals };
  }

  fdName(fd: number): string {
    return this.description(fd).name;
  }

  map(fd: number, offset: number, sizeBytes: number, access: MapAccess): Mapping {
    const find = (each: number): FakeFile => this.file(each, ERRNO.ENODEV);
    const mapping = new FakeMapping(find, fd, { offset, sizeBytes, access }, (ended) =>
      this.windows.delete(ended),
    );
    this.windows.add(mapping);
    return mapping;
  }

  copy(target: Uint8Array, targetAt: number, source: Uint8Array, sourceAt: number, length: number): number {
    if (targetAt + length > target.length || sourceAt + length > source.length) {
      throw new RangeError(`vfio: a copy of ${length} bytes leaves its source or target`);
    }
    if (this.touchesLost(target) || this.touchesLost(source)) return ERRNO.EFAULT;
    target.set(source.subarray(sourceAt, sourceAt + length), targetAt);
    return 0;
  }

  copyPopulated(fromFd: number, toFd: number, offset: number, length: number): number {
    const from = this.file(fromFd);
    const to = this.file(toFd);
    const page = new Uint8Array(4096);
    let copied = 0;
    for (const at of from.populated(offset, Math.min(offset + length, from.sizeBytes))) {
      const size = Math.min(page.length, offset + length - at, from.sizeBytes - at);
      from.read(at, page, 0, size);
      copied += to.write(at, page, 0, size);
    }
    return copied;
  }

  populatedBytes(fd: number): number {
    return this.file(fd).populated(0, Number.POSITIVE_INFINITY).length * 4096;
  }

  pread(fd: number, target: Uint8Array, at: number, length: number, position: number): number {
    return this.file(fd).read(position, target, at, length);
  }

  pwrite(fd: number, source: Uint8Array, at: number, length: number, position: number): number {
    return this.file(fd).write(position, source, at, length);
  }

  read(fd: number, target: Uint8Array, at: number, length: number): number {
    const result = this.stream(fd).read(part(target, at, length), 0);
    return result === -ERRNO.EAGAIN ? -1 : checked(result, `reading fd ${fd}`);
  }

  write(fd: number, source: Uint8Array, at: number, length: number): number {
    const result = this.stream(fd).write(part(source, at, length), []);
    return result === -ERRNO.EAGAIN ? -1 : checked(result, `writing to fd ${fd}`);
  }

  openPty(): Pty {
    const path = `/dev/pts/${FIRST_FD + this.nextTerminal++}`;
    const [master, slave] = FakePty.pair(path);
    return { master: this.install(master), slave: this.install(slave), path };
  }

  symlink(target: string, path: string): void {
    const present = this.links.get(path);
    const replaced = present !== undefined && !this.exists(present);
    if (this.exists(path) && !replaced) throw sysError(ERRNO.EEXIST, `linking '${path}' to '${target}'`);
    this.links.set(path, target);
  }

  unlinkSymlink(target: string, path: string): void {
    if (this.links.get(path) === target) this.links.delete(path);
  }

  eventfd(initial = 0): number {
    return this.install(new EventDescription(initial));
  }

  adoptEventfd(fd: number): void {
    this.event(fd);
  }

  eventfdSignal(fd: number): void {
    this.event(fd).signal();
  }

  eventfdRead(fd: number): number {
    const event = this.event(fd);
    const { count } = event;
    event.count = 0;
    return count;
  }

  socketpair(): [number, number] {
    const [first, second] = FakeSocket.pair();
    return [this.install(first), this.install(second)];
  }

  listen(path: string, backlog: number): number {
    if (this.paths.get(path)?.alive) throw sysError(ERRNO.EADDRINUSE, `listening on '${path}'`);
    const listener = new ListenerDescription(path, backlog);
    this.paths.set(path, listener);
    return this.install(listener);
  }

  unlink(path: string): void {
    this.links.delete(path);
    this.paths.delete(path);
  }

  accept(fd: number): number {
    const listener = this.description(fd);
    if (!(listener instanceof ListenerDescription))
      throw sysError(ERRNO.EINVAL, `accepting a client on fd ${fd}`);
    const socket = listener.waiting.shift();
    return socket === undefined ? -1 : this.install(socket);
  }

  connect(path: string): number {
    const listener = this.paths.get(path);
    if (listener === undefined) throw sysError(ERRNO.ENOENT, `connecting to '${path}'`);
    if (!listener.alive) throw sysError(ERRNO.ECONNREFUSED, `connecting to '${path}'`);
    if (listener.waiting.length > listener.backlog) throw sysError(ERRNO.EAGAIN, `connecting to '${path}'`);
    const [ours, theirs] = FakeSocket.pair();
    listener.arrive(theirs);
    return this.install(ours);
  }

  peerCredentials(fd: number): PeerCredentials {
    this.socket(fd);
    return { pid: process.pid, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  }

  shutdown(fd: number): void {
    this.socket(fd).shutdown();
  }

  watch(fd: number, onReady: () => void, readiness: Readiness = 'readable'): Watcher {
    const description = this.description(fd);
    let open = true;
    let scheduled = false;
    const look = (): void => {
      if (scheduled || !open || !description[readiness]) return;
      scheduled = true;
      setImmediate(() => {
        scheduled = false;
        if (!open || !description[readiness]) return;
        try {
          onReady();
        } finally {
          look();
        }
      });
    };
    description.watchers.add(look);
    this.watchers++;
    look();
    const close = (): void => {
      if (!open) return;
      open = false;
      this.watchers--;
      description.watchers.delete(look);
    };
    return { close, ref() {}, unref() {} };
  }

  connection(fd: number, options: ConnectionOptions, handler: ConnectionHandler): Connection {
    const table = {
      install: (each: Description): number => this.install(each),
      description: (each: number): Description => this.description(each),
      close: (each: number): void => this.close(each),
    };
    const onEnd = (): void => void this.connections--;
    const connection = new FakeConnection(table, fd, this.socket(fd), options, handler, onEnd);
    this.connections++;
    return connection;
  }

  counts(): SysCounts {
    const { connections, watchers } = this;
    return { mappings: this.windows.size, quarantined: 0, connections, watchers };
  }

  discard(fd: number): void {
    this.close(fd);
  }

  isLocalFile(): boolean {
    return true;
  }

  maxOpenFiles(): number {
    return MAX_OPEN_FILES;
  }

  countPeerFds(change: number): number {
    this.peerFds += change;
    return this.peerFds;
  }

  private install(description: Description): number {
    let fd = FIRST_FD;
    while (this.fds.has(fd)) fd++;
    this.fds.set(fd, description);
    description.references++;
    return fd;
  }

  private description(fd: number): Description {
    const description = this.fds.get(fd);
    if (description === undefined) throw sysError(ERRNO.EBADF, `fd ${fd}`);
    return description;
  }

  private file(fd: number, otherwise: number = ERRNO.EINVAL): FakeFile {
    const description = this.description(fd);
    if (!(description instanceof FileDescription)) throw sysError(otherwise, `fd ${fd} is no file`);
    return description.file;
  }

  private event(fd: number): EventDescription {
    const description = this.description(fd);
    if (description instanceof EventDescription) return description;
    throw new VfioError('EINVAL', `fd ${fd} is not an eventfd: send one`);
  }

  private stream(fd: number): FakeSocket | FakePty {
    const description = this.description(fd);
    if (description instanceof FakeSocket || description instanceof FakePty) return description;
    throw sysError(ERRNO.EINVAL, `fd ${fd} is no stream`);
  }

  private exists(path: string): boolean {
    if (this.paths.has(path) || this.links.has(path)) return true;
    return [...this.fds.values()].some((each) => each.kind === 'pty' && each.name === path);
  }

  private socket(fd: number): FakeSocket {
    const description = this.description(fd);
    if (!(description instanceof FakeSocket)) throw sysError(ERRNO.ENOTSOCK, `fd ${fd}`);
    return description;
  }

  /** A window that was cut off is touched: the first time is when the live layer would notice. */
  private touchesLost(view: Uint8Array): boolean {
    for (const window of this.windows) {
      if (!window.untouched || window.buffer !== view.buffer) continue;
      window.untouched = false;
      return true;
    }
    return false;
  }
}

function part(bytes: Uint8Array, at: number, length: number): Uint8Array {
  if (at < 0 || length < 0 || at + length > bytes.length) throw sysError(ERRNO.EINVAL, 'a buffer too small');
  return bytes.subarray(at, at + length);
}
