/*
 * What every SysLayer must do, live or fake: run against both, so that a test over the fake says something about the world.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Mapping, SysCounts, SysLayer } from '../../src/sys/sys-layer.ts';

const PAGE = 4096;
const F_SEAL_SHRINK = 0x2;
const F_SEAL_GROW = 0x4;
const PUNCH_HOLE_KEEP_SIZE = 0x3;
const EFAULT = 14;
const O_RDWR = 2;
const S_IFMT = 0o170000;
const S_IFREG = 0o100000;

export interface ContractWorld {
  readonly sys: SysLayer;
  /** Open fds of this world. */
  openFds(): number;
  /** A path for a socket that is not there yet. */
  path(): string;
}

const code = (name: string): unknown => expect.objectContaining({ name: 'VfioError', code: name });

function memory(sys: SysLayer, sizeBytes: number, allowSealing = false): number {
  const fd = sys.memfdCreate('contract', { allowSealing });
  sys.ftruncate(fd, sizeBytes);
  return fd;
}

/** Registers the tests; `world` is made anew for each, and must hold as many fds afterwards as before. */
export function sysContract(name: string, makeWorld: () => ContractWorld): void {
  let world: ContractWorld;
  let sys: SysLayer;
  let before: { readonly fds: number; readonly counts: SysCounts };

  function begin(): void {
    world = makeWorld();
    sys = world.sys;
    before = { fds: world.openFds(), counts: sys.counts() };
  }

  function end(): void {
    expect(world.openFds(), 'open fds').toBe(before.fds);
    const { mappings, connections, watchers } = before.counts;
    expect(sys.counts()).toMatchObject({ mappings, connections, watchers });
  }

  describe(`${name}: files`, () => {
    beforeEach(begin);
    afterEach(end);
    files(() => world);
  });
  describe(`${name}: windows`, () => {
    beforeEach(begin);
    afterEach(end);
    windows(() => world);
  });
  describe(`${name}: eventfds and sockets`, () => {
    beforeEach(begin);
    afterEach(end);
    sockets(() => world);
  });
}

function files(world: () => ContractWorld): void {
  test('identity: the same memory by any fd, and its size, seals and access', () => {
    const { sys } = world();
    const fd = memory(sys, 3 * PAGE, true);
    const copy = sys.dup(fd);
    const other = memory(sys, PAGE);
    const identity = sys.identity(fd);
    expect(identity).toMatchObject({ sizeBytes: 3 * PAGE, seals: 0, accessMode: O_RDWR });
    expect(identity.mode & S_IFMT).toBe(S_IFREG);
    expect(sys.identity(copy)).toEqual(identity);
    expect(sys.identity(other).ino).not.toBe(identity.ino);
    expect(sys.fdName(fd)).toBe('/memfd:contract (deleted)');
    for (const each of [fd, copy, other]) sys.close(each);
    expect(() => sys.identity(fd)).toThrow(code('EBADF'));
    expect(() => sys.close(fd)).toThrow(code('EBADF'));
    expect(() => sys.fdName(fd)).toThrow(code('EBADF'));
  });

  test('seals forbid what they name, and memory without MFD_ALLOW_SEALING takes none', () => {
    const { sys } = world();
    const fd = memory(sys, 2 * PAGE, true);
    sys.addSeals(fd, F_SEAL_SHRINK | F_SEAL_GROW);
    expect(sys.identity(fd).seals).toBe(F_SEAL_SHRINK | F_SEAL_GROW);
    expect(() => sys.ftruncate(fd, PAGE)).toThrow(code('EPERM'));
    expect(() => sys.ftruncate(fd, 3 * PAGE)).toThrow(code('EPERM'));
    const closed = memory(sys, PAGE);
    expect(() => sys.addSeals(closed, F_SEAL_SHRINK)).toThrow(code('EPERM'));
    sys.close(fd);
    sys.close(closed);
  });

  test('pread and pwrite: short at the end of the file, zeros in holes', () => {
    const { sys } = world();
    const fd = memory(sys, 2 * PAGE);
    const bytes = new Uint8Array(8).fill(0xff);
    expect(sys.pwrite(fd, Uint8Array.of(9, 1, 2, 3), 1, 3, PAGE - 1)).toBe(3);
    expect(sys.pread(fd, bytes, 2, 4, PAGE - 2)).toBe(4);
    expect([...bytes]).toEqual([0xff, 0xff, 0, 1, 2, 3, 0xff, 0xff]);
    expect(sys.pread(fd, bytes, 0, 8, 2 * PAGE - 5)).toBe(5);
    expect(sys.pread(fd, bytes, 0, 8, 9 * PAGE)).toBe(0);
    sys.close(fd);
  });

  test('populated pages: counted, copied sparsely to far offsets, punched away', () => {
    const { sys } = world();
    const far = 9 * 2 ** 40;
    const fd = memory(sys, far + 8 * PAGE);
    const copy = memory(sys, far + 8 * PAGE);
    sys.pwrite(fd, Uint8Array.of(5), 0, 1, 0);
    sys.pwrite(fd, Uint8Array.of(6), 0, 1, far + PAGE);
    sys.pwrite(fd, Uint8Array.of(7), 0, 1, far + 7 * PAGE);
    expect(sys.populatedBytes(fd)).toBe(3 * PAGE);
    expect(sys.copyPopulated(fd, copy, far, 8 * PAGE)).toBe(2 * PAGE);
    const byte = new Uint8Array(1);
    const at = (position: number): number => sys.pread(copy, byte, 0, 1, position) && byte[0]!;
    expect([at(0), at(far), at(far + PAGE), at(far + 7 * PAGE)]).toEqual([0, 0, 6, 7]);
    sys.fallocate(copy, PUNCH_HOLE_KEEP_SIZE, far, 8 * PAGE);
    expect([at(far + PAGE), sys.populatedBytes(copy)]).toEqual([0, 0]);
    sys.close(fd);
    sys.close(copy);
  });
}

function windows(world: () => ContractWorld): void {
  test('two windows and the file are the same memory', () => {
    const { sys } = world();
    const fd = memory(sys, 4 * PAGE);
    sys.pwrite(fd, Uint8Array.of(41), 0, 1, PAGE);
    const all = sys.map(fd, 0, 4 * PAGE, 'rw');
    const part = sys.map(fd, PAGE, PAGE, 'rw');
    expect(part.bytes.length).toBe(PAGE);
    expect([all.bytes[PAGE], part.bytes[0]]).toEqual([41, 41]);
    part.bytes[1] = 42;
    const byte = new Uint8Array(1);
    sys.pread(fd, byte, 0, 1, PAGE + 1);
    expect([all.bytes[PAGE + 1], byte[0]]).toEqual([42, 42]);
    sys.pwrite(fd, Uint8Array.of(43), 0, 1, PAGE + 2);
    expect(part.bytes[2]).toBe(43);
    expect(sys.counts().mappings).toBe(2);
    close(sys, [all, part], fd);
  });

  test('a window outlives its fd, and has length 0 once unmapped', () => {
    const { sys } = world();
    const fd = memory(sys, PAGE);
    const window = sys.map(fd, 0, PAGE, 'r');
    sys.close(fd);
    expect(window.bytes[PAGE - 1]).toBe(0);
    window.unmap();
    window.unmap();
    expect(window.bytes.length).toBe(0);
    expect(() => window.revoke()).toThrow('unmapped');
  });

  test.each([
    ['past the end', 0, 3 * PAGE],
    ['at an odd offset', 512, PAGE],
    ['of an odd size', 0, 100],
    ['of nothing', 0, 0],
    ['larger than 1 GiB', 0, 2 ** 30 + PAGE],
  ])('no window %s', (_, offset, size) => {
    const { sys } = world();
    const fd = memory(sys, size > 2 ** 30 ? 2 ** 31 : 2 * PAGE);
    expect(() => sys.map(fd, offset, size, 'rw')).toThrow(code('EINVAL'));
    sys.close(fd);
  });

  test('what cannot be mapped is ENODEV', () => {
    const { sys } = world();
    const fd = sys.eventfd();
    expect(() => sys.map(fd, 0, PAGE, 'rw')).toThrow(code('ENODEV'));
    sys.close(fd);
  });

  test('truncation: the copy that touches it is EFAULT, the window is lost, replace brings it back', () => {
    const { sys } = world();
    const fd = memory(sys, 2 * PAGE);
    const window = sys.map(fd, 0, 2 * PAGE, 'rw');
    const view = window.bytes;
    const target = new Uint8Array(64);
    view[0] = 1;
    expect(sys.copy(target, 0, view, 0, 64)).toBe(0);
    expect([target[0], window.lost]).toEqual([1, false]);
    sys.ftruncate(fd, 0);
    expect(sys.copy(target, 0, view, 0, 64)).toBe(EFAULT);
    expect([window.lost, view[0]]).toEqual([true, 0]);
    sys.ftruncate(fd, 2 * PAGE);
    sys.pwrite(fd, Uint8Array.of(77), 0, 1, PAGE);
    window.replace(fd, 0);
    expect([window.lost, view[0], view[PAGE]]).toEqual([false, 0, 77]);
    expect(sys.copy(view, 8, Uint8Array.of(5), 0, 1)).toBe(0);
    sys.pread(fd, target, 0, 1, 8);
    expect(target[0]).toBe(5);
    close(sys, [window], fd);
  });

  test('replace puts another file under the same view; the old file keeps its contents', () => {
    const { sys } = world();
    const first = memory(sys, PAGE);
    const second = memory(sys, 4 * PAGE);
    const window = sys.map(first, 0, PAGE, 'rw');
    const view = window.bytes;
    view[3] = 30;
    sys.pwrite(second, Uint8Array.of(40), 0, 1, 2 * PAGE + 3);
    window.replace(second, 2 * PAGE);
    expect(view[3]).toBe(40);
    view[4] = 50;
    const byte = new Uint8Array(1);
    sys.pread(second, byte, 0, 1, 2 * PAGE + 4);
    expect(byte[0]).toBe(50);
    sys.pread(first, byte, 0, 1, 3);
    expect(byte[0]).toBe(30);
    expect(() => window.replace(second, 4 * PAGE)).toThrow(code('EINVAL'));
    close(sys, [window], first, second);
  });

  test('revoke leaves zeros that are nobody else’s', () => {
    const { sys } = world();
    const fd = memory(sys, PAGE);
    const window = sys.map(fd, 0, PAGE, 'rw');
    window.bytes[0] = 9;
    window.revoke();
    expect(window.bytes[0]).toBe(0);
    window.bytes[1] = 8;
    const bytes = new Uint8Array(2);
    sys.pread(fd, bytes, 0, 2, 0);
    expect([...bytes]).toEqual([9, 0]);
    close(sys, [window], fd);
  });

  test('copy checks its bounds', () => {
    const { sys } = world();
    const small = new Uint8Array(4);
    expect(() => sys.copy(small, 2, new Uint8Array(8), 0, 3)).toThrow(RangeError);
    expect(() => sys.copy(new Uint8Array(8), 0, small, 2, 3)).toThrow(RangeError);
  });
}

function sockets(world: () => ContractWorld): void {
  test('an eventfd counts and is emptied by a read', () => {
    const { sys } = world();
    const fd = sys.eventfd(3);
    sys.adoptEventfd(fd);
    sys.eventfdSignal(fd);
    expect([sys.eventfdRead(fd), sys.eventfdRead(fd)]).toEqual([4, 0]);
    sys.close(fd);
    const file = memory(sys, PAGE);
    expect(() => sys.adoptEventfd(file)).toThrow(code('EINVAL'));
    sys.close(file);
  });

  test('a watcher tells until the fd is read, and no more after it was closed', async () => {
    const { sys } = world();
    const fd = sys.eventfd();
    let told = 0;
    const watcher = sys.watch(fd, () => {
      told++;
      if (told === 3) sys.eventfdRead(fd);
    });
    sys.eventfdSignal(fd);
    await soon(() => told === 3);
    await pause();
    expect(told).toBe(3);
    watcher.close();
    watcher.close();
    sys.eventfdSignal(fd);
    await pause();
    expect(told).toBe(3);
    sys.close(fd);
  });

  test('listen, connect, accept; both ends know who the other is', async () => {
    const { sys, path } = world();
    const at = path();
    expect(() => sys.connect(at)).toThrow(code('ENOENT'));
    const listener = sys.listen(at, 4);
    expect(sys.accept(listener)).toBe(-1);
    let waiting = false;
    const watcher = sys.watch(listener, () => {
      waiting = true;
    });
    const client = sys.connect(at);
    await soon(() => waiting);
    const server = sys.accept(listener);
    expect(sys.accept(listener)).toBe(-1);
    expect(sys.peerCredentials(server)).toEqual({
      pid: process.pid,
      uid: process.getuid!(),
      gid: process.getgid!(),
    });
    watcher.close();
    for (const fd of [client, server, listener]) sys.close(fd);
    sys.unlink(at);
    sys.unlink(at);
  });

  test('a socket file that nobody listens on is replaced, a live one is EADDRINUSE', () => {
    const { sys, path } = world();
    const at = path();
    const first = sys.listen(at, 1);
    expect(() => sys.listen(at, 1)).toThrow(code('EADDRINUSE'));
    sys.close(first);
    expect(() => sys.connect(at)).toThrow(code('ECONNREFUSED'));
    const second = sys.listen(at, 1);
    sys.close(sys.connect(at));
    sys.close(second);
    sys.unlink(at);
  });
}

function close(sys: SysLayer, mappings: readonly Mapping[], ...fds: readonly number[]): void {
  for (const mapping of mappings) mapping.unmap();
  for (const fd of fds) sys.close(fd);
}

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

async function soon(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 2));
  expect(condition()).toBe(true);
}
