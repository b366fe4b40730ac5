import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { runChild } from '../../test/support/child.ts';
import { openSys } from './index.ts';
import type { Mapping } from './sys-layer.ts';

const sys = openSys();
const PAGE = 4096;
const SIZE = 16 * PAGE;
const EFAULT = 14;

/** A library that touches memory past the end of a file of its own. */
const FAULT_WHEN_LOADED = `
  #define _GNU_SOURCE
  #include <sys/mman.h>
  #include <unistd.h>
  __attribute__((constructor)) static void fault(void) {
    int fd = memfd_create("not a window", 0);
    if (ftruncate(fd, 4096) != 0) return;
    volatile char *at = mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
    if (ftruncate(fd, 0) != 0) return;
    (void)*at;
  }`;

/** A window full of 0xaa whose file was cut to `left` bytes. */
function cutWindow(left = 0, access: 'r' | 'rw' = 'rw'): Mapping {
  const fd = sys.memfdCreate('cut');
  sys.ftruncate(fd, SIZE);
  sys.pwrite(fd, new Uint8Array(SIZE).fill(0xaa), 0, SIZE, 0);
  const window = sys.map(fd, 0, SIZE, access);
  expect(window.bytes[SIZE - 1]).toBe(0xaa);
  sys.ftruncate(fd, left);
  sys.close(fd);
  return window;
}

const lines = (file: string): number => readFileSync(file, 'utf8').trimEnd().split('\n').length;

describe('memory that goes away under a window', () => {
  const target = Buffer.alloc(SIZE);
  const touches: [string, (bytes: Uint8Array) => unknown][] = [
    ['load', (bytes) => bytes[5 * PAGE]],
    ['store', (bytes) => bytes.fill(1, 0, 1)],
    ['DataView', (bytes) => new DataView(bytes.buffer).getUint32(8 * PAGE, true)],
    ['Atomics.load', (bytes) => Atomics.load(new Int32Array(bytes.buffer), 0)],
    ['Atomics.add', (bytes) => Atomics.add(new Int32Array(bytes.buffer), PAGE, 1)],
    ['Buffer.copy', (bytes) => Buffer.from(bytes.buffer).copy(target)],
    ['TypedArray.set', (bytes) => target.set(bytes.subarray(PAGE))],
    ['hash', (bytes) => createHash('sha256').update(bytes).digest()],
    ['copy from it', (bytes) => expect(sys.copy(target, 0, bytes, 0, SIZE)).toBe(EFAULT)],
    ['copy into it', (bytes) => expect(sys.copy(bytes, 0, target, 0, SIZE)).toBe(EFAULT)],
  ];

  test.each(touches)('%s: the process lives, the window is lost', (_, touch) => {
    const window = cutWindow();
    expect(window.lost).toBe(false);
    touch(window.bytes);
    expect(window.lost).toBe(true);
    window.unmap();
    expect(window.lost).toBe(true);
  });

  test('a window that lost one page is zeros as a whole', () => {
    const window = cutWindow(SIZE - PAGE, 'r');
    expect([window.bytes[0], window.lost]).toEqual([0xaa, false]);
    expect([window.bytes[SIZE - 1], window.lost]).toEqual([0, true]);
    expect(window.bytes.every((byte) => byte === 0)).toBe(true);
    window.unmap();
  });

  test('only the window that was touched is lost', () => {
    const [first, second] = [cutWindow(), cutWindow()];
    second.bytes[0] = 1;
    expect([first.lost, second.lost]).toEqual([false, true]);
    const third = cutWindow();
    expect(third.lost).toBe(false);
    for (const window of [first, second, third]) window.unmap();
  });

  test('optimized code that has been running for a while', () => {
    const window = cutWindow(PAGE);
    const sum = (bytes: Uint8Array, to: number): number => {
      let total = 0;
      for (let i = 0; i < to; i++) total += bytes[i]!;
      return total;
    };
    for (let i = 0; i < 200; i++) expect(sum(window.bytes, PAGE)).toBe(PAGE * 0xaa);
    sum(window.bytes, SIZE);
    expect(window.lost).toBe(true);
    window.unmap();
  });

  test('system calls into it fail with EFAULT and leave the process alone', () => {
    const window = cutWindow();
    const fd = sys.memfdCreate('source');
    sys.ftruncate(fd, SIZE);
    const fault = expect.objectContaining({ code: 'EFAULT' });
    expect(() => sys.pread(fd, window.bytes, 0, SIZE, 0)).toThrow(fault);
    expect(() => sys.pwrite(fd, window.bytes, 0, SIZE, 0)).toThrow(fault);
    sys.close(fd);
    window.unmap();
  });

  test('a worker thread has the same guard', async () => {
    const script = `
      const { parentPort } = require('node:worker_threads');
      const native = require('node-gyp-build')(${JSON.stringify(process.cwd())} + '/native');
      const fd = native.memfdCreate('worker', 0);
      native.ftruncate(fd, 4096);
      const buffer = native.map(fd, 0, 4096, 1);
      const slot = native.results[0];
      native.ftruncate(fd, 0);
      native.close(fd);
      const value = new Uint8Array(buffer)[7];
      parentPort.postMessage([value, native.lostTable[slot]]);`;
    const worker = new Worker(script, { eval: true });
    const result = await new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject));
    expect(result).toEqual([0, 1]);
    await worker.terminate();
  });
});

describe('what is not ours', () => {
  const cutByHand = `
    import { openSys } from './src/sys/index.ts';
    const sys = openSys();
    const fd = sys.memfdCreate('x');
    sys.ftruncate(fd, 4096);
    const window = sys.map(fd, 0, 4096, 'rw');`;

  test('a SIGBUS that is sent still kills', async () => {
    const result = await runChild(
      `${cutByHand} process.kill(process.pid, 'SIGBUS'); setInterval(() => {}, 1000);`,
    );
    expect(result.signal).toBe('SIGBUS');
  });

  test('a fault outside every window still kills', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'vfio-guard-'));
    const library = join(folder, 'fault.so');
    writeFileSync(join(folder, 'fault.c'), FAULT_WHEN_LOADED);
    execFileSync('cc', ['-shared', '-fPIC', '-o', library, join(folder, 'fault.c')]);
    const result = await runChild(`${cutByHand}
      console.log('loading');
      try { process.dlopen({ exports: {} }, ${JSON.stringify(library)}); } catch {}
      console.log('survived');`);
    rmSync(folder, { recursive: true });
    expect(result).toMatchObject({ signal: 'SIGBUS', stdout: 'loading\n' });
  });

  test('after somebody else took the signal, the next map takes it back', async () => {
    const result = await runChild(`${cutByHand}
      process.on('SIGBUS', () => {});
      const next = sys.map(fd, 0, 4096, 'rw');
      sys.ftruncate(fd, 0);
      console.log(window.bytes[0], next.bytes[0], window.lost, next.lost);
      process.exit(0);`);
    expect(result.stdout).toBe('0 0 true true\n');
  });
});

describe('addresses', () => {
  test('a read-only window takes stray stores privately', () => {
    const fd = sys.memfdCreate('read only');
    sys.ftruncate(fd, PAGE);
    const window = sys.map(fd, 0, PAGE, 'r');
    window.bytes[0] = 9;
    const byte = new Uint8Array(1);
    sys.pread(fd, byte, 0, 1, 0);
    expect(byte[0]).toBe(0);
    sys.pwrite(fd, Uint8Array.of(5), 0, 1, PAGE - 1);
    window.unmap();
    sys.close(fd);
  });

  test('views that somebody kept are empty after unmap, and what ran into them finds nothing', () => {
    const window = cutWindow(SIZE);
    const [bytes, view, words] = [window.bytes, new DataView(window.buffer), new Int32Array(window.buffer)];
    window.unmap();
    expect([bytes.length, words.length, bytes[0]]).toEqual([0, 0, undefined]);
    expect(() => view.getUint8(0)).toThrow(TypeError);
    expect(() => Atomics.load(words, 0)).toThrow(TypeError);
  });

  test('10,000 windows later the process has the mappings that it had', async () => {
    const fd = sys.memfdCreate('many');
    sys.ftruncate(fd, SIZE);
    const before = lines('/proc/self/maps');
    const windowsBefore = sys.counts().mappings;
    for (let i = 0; i < 10_000; i++) {
      const window = sys.map(fd, (i % 16) * PAGE, PAGE, i % 2 ? 'rw' : 'r');
      window.bytes[0] = i;
      window.unmap();
      if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    sys.close(fd);
    await new Promise((resolve) => setTimeout(resolve, 50));
    // kept addresses lie side by side, so that they are a few lines however many they are
    expect(lines('/proc/self/maps') - before).toBeLessThan(100);
    expect(sys.counts().mappings).toBe(windowsBefore);
    expect(sys.counts().quarantined).toBeLessThanOrEqual(4096);
  });

  test('kept addresses are given back by themselves after some seconds', async () => {
    const result = await runChild(`
      import { openSys } from './src/sys/index.ts';
      const sys = openSys();
      const fd = sys.memfdCreate('kept');
      sys.ftruncate(fd, 4096);
      for (let i = 0; i < 10; i++) sys.map(fd, 0, 4096, 'rw').unmap();
      setTimeout(() => console.log(sys.counts().quarantined), 500);
      setTimeout(() => console.log(sys.counts().quarantined), 6500);`);
    expect(result.stdout).toBe('10\n0\n');
  });

  test('a window that nobody holds any more is unmapped with its buffer', async () => {
    const result = await runChild(`
      import { setFlagsFromString } from 'node:v8';
      import { runInNewContext } from 'node:vm';
      import { openSys } from './src/sys/index.ts';
      setFlagsFromString('--expose-gc');
      const gc = runInNewContext('gc');
      const sys = openSys();
      const fd = sys.memfdCreate('forgotten');
      sys.ftruncate(fd, 4096);
      for (let i = 0; i < 100; i++) sys.map(fd, 0, 4096, 'rw');
      console.log(sys.counts().mappings);
      for (let i = 0; i < 5; i++) { gc(); await new Promise((resolve) => setImmediate(resolve)); }
      console.log(sys.counts().mappings < 5);`);
    expect(result.stdout).toBe('100\ntrue\n');
  });
});
