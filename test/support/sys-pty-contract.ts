/*
 * What every SysLayer's pseudo terminals and links must do, live or fake.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Pty, SysLayer } from '../../src/sys/sys-layer.ts';
import type { ContractWorld } from './sys-contract.ts';

const code = (name: string): unknown => expect.objectContaining({ name: 'VfioError', code: name });

/** Registers the tests; `world` is made anew for each, and must hold as many fds and watchers afterwards as before. */
export function ptyContract(name: string, makeWorld: () => ContractWorld): void {
  describe(`${name}: pseudo terminals`, () => {
    let world: ContractWorld;
    let sys: SysLayer;
    let fdsBefore: number;
    let watchersBefore: number;
    let pty: Pty;

    beforeEach(() => {
      world = makeWorld();
      sys = world.sys;
      fdsBefore = world.openFds();
      watchersBefore = sys.counts().watchers;
      pty = sys.openPty();
    });
    afterEach(() => {
      sys.close(pty.master);
      expect(world.openFds(), 'open fds').toBe(fdsBefore);
      expect(sys.counts().watchers).toBe(watchersBefore);
    });

    /** Reads until `count` bytes are there: the kernel hands them over in its own time. */
    async function readAll(fd: number, count: number): Promise<number[]> {
      const bytes = new Uint8Array(count);
      let done = 0;
      for (let i = 0; i < 2500 && done < count; i++) {
        const got = sys.read(fd, bytes, done, count - done);
        if (got > 0) done += got;
        else await new Promise((resolve) => setTimeout(resolve, 2));
      }
      return [...bytes.subarray(0, done)];
    }

    test('every byte passes as it is, both ways, and nothing is echoed', async () => {
      const all = Uint8Array.from({ length: 258 }, (_, i) => i % 256);
      expect(sys.write(pty.master, all, 1, 256)).toBe(256);
      expect(await readAll(pty.slave, 256)).toEqual([...all.subarray(1, 257)]);
      expect(sys.read(pty.master, new Uint8Array(4), 0, 4)).toBe(-1);
      expect(sys.write(pty.slave, all, 0, 256)).toBe(256);
      expect(await readAll(pty.master, 256)).toEqual([...all.subarray(0, 256)]);
      expect(sys.read(pty.slave, new Uint8Array(4), 0, 4)).toBe(-1);
      sys.close(pty.slave);
    });

    test('reads go where they are told', async () => {
      sys.write(pty.slave, Uint8Array.of(7, 8), 0, 2);
      const target = new Uint8Array(4);
      let got = -1;
      for (let i = 0; i < 2500 && got < 0; i++) {
        got = sys.read(pty.master, target, 1, 2);
        if (got < 0) await new Promise((resolve) => setTimeout(resolve, 2));
      }
      expect([...target]).toEqual([0, 7, 8, 0]);
      expect(() => sys.read(pty.master, target, 3, 2)).toThrow(code('EINVAL'));
      expect(() => sys.write(pty.master, target, 3, 2)).toThrow(code('EINVAL'));
      sys.close(pty.slave);
    });

    test('is a terminal with a name', () => {
      expect(pty.path).toMatch(/^\/dev\/pts\/\d+$/);
      expect(sys.fdName(pty.slave)).toBe(pty.path);
      const S_IFMT = 0o170000;
      const S_IFCHR = 0o020000;
      expect(sys.identity(pty.slave).mode & S_IFMT).toBe(S_IFCHR);
      sys.close(pty.slave);
    });

    test('takes a limited number of bytes, none after that, and tells when it takes more', async () => {
      const block = new Uint8Array(4096).map((_, i) => i % 251);
      // The kernel moves bytes on in its own time, which makes room for more: full is what stays full.
      let taken = 0;
      for (let full = 0; full < 10; full++) {
        for (let count = 0; count >= 0; count = sys.write(pty.master, block, 0, block.length)) {
          if (count > 0) full = 0;
          taken += count;
          expect(taken).toBeLessThan(64 * block.length);
        }
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      expect(sys.write(pty.master, block, 0, 1)).toBe(-1);
      const writer = sys.dup(pty.master);
      const reader = sys.watch(pty.master, () => {});
      let ready = false;
      const watcher = sys.watch(
        writer,
        () => {
          ready = true;
          watcher.close();
        },
        'writable',
      );
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(ready).toBe(false);
      expect((await readAll(pty.slave, taken)).length).toBe(taken);
      for (let i = 0; i < 2500 && !ready; i++) await new Promise((resolve) => setTimeout(resolve, 2));
      expect(ready).toBe(true);
      expect(sys.write(pty.master, block, 0, 16)).toBe(16);
      reader.close();
      sys.close(writer);
      sys.close(pty.slave);
    });

    test('without anybody at the other end reading is EIO', () => {
      sys.close(pty.slave);
      expect(() => sys.read(pty.master, new Uint8Array(1), 0, 1)).toThrow(code('EIO'));
    });

    test('a link replaces one that points nowhere and nothing else', () => {
      const link = world.path();
      sys.symlink('/nowhere/at/all', link);
      sys.symlink(pty.path, link);
      expect(() => sys.symlink(pty.path, link)).toThrow(code('EEXIST'));
      sys.unlinkSymlink('/nowhere/at/all', link);
      expect(() => sys.symlink(pty.path, link)).toThrow(code('EEXIST'));
      sys.unlinkSymlink(pty.path, link);
      sys.unlinkSymlink(pty.path, link);
      sys.symlink(pty.path, link);
      sys.unlink(link);
      const socket = world.path();
      const listener = sys.listen(socket, 1);
      expect(() => sys.symlink(pty.path, socket)).toThrow(code('EEXIST'));
      sys.unlinkSymlink(pty.path, socket);
      sys.close(sys.connect(socket));
      sys.close(listener);
      sys.unlink(socket);
      sys.close(pty.slave);
    });
  });
}
