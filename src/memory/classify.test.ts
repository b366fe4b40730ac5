import { closeSync, constants, openSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { codeOf, deviceWithRegion, isOpen, memfd, reopened } from '../../test/support/memory.ts';
import { DeviceMemory, indexToOffset, PAGE_SIZE, type VfioDevice } from '../core/index.ts';
import { openSys } from '../sys/index.ts';
import { attachMemory } from './attach.ts';
import { type ClassifyContext, type ClassifyRequest, classify } from './classify.ts';
import { ClientFiles } from './client-files.ts';
import { ClientMemory } from './client-memory.ts';
import type { LiveRegionMemory } from './live-region.ts';
import { RegionRegistry } from './registry.ts';

const sys = openSys();
const SIZE = 8 * PAGE_SIZE;
const NOBODY_WAKES = new Int32Array(new SharedArrayBuffer(4));
const BAR2 = indexToOffset(2);

let context: ClassifyContext;
let device: VfioDevice;
let region: LiveRegionMemory;
let detach: () => void;

beforeEach(() => {
  context = { sys, files: new ClientFiles(sys), registry: new RegionRegistry() };
  device = deviceWithRegion(2, SIZE);
  detach = attachMemory(device, sys, { registry: context.registry });
  region = device.region(2).memory as LiveRegionMemory;
});

afterEach(() => {
  detach();
  expect(context.files.openFiles).toBe(0);
  expect(context.registry.size).toBe(0);
});

const request = (fd: number | null, changes: Partial<ClassifyRequest> = {}): ClassifyRequest => ({
  ...{ fd, offset: 0, size: SIZE, iova: 0x10_0000, read: true, write: true, mode: 'any', peerPid: 1234 },
  ...changes,
});

/** The kind and access of the source; checks that the fd is gone afterwards. */
function kindOf(fd: number, changes: Partial<ClassifyRequest> = {}): string {
  const source = classify(request(fd, changes), context);
  const kind = source instanceof ClientMemory ? source.access : source.kind;
  source.detach();
  expect(isOpen(fd)).toBe(false);
  return kind;
}

function errorOf(fd: number, changes: Partial<ClassifyRequest> = {}): string {
  const code = codeOf(() => classify(request(fd, changes), context));
  // What is no memory is closed in another thread.
  for (let tries = 0; isOpen(fd) && tries < 1000; tries++) Atomics.wait(NOBODY_WAKES, 0, 0, 1);
  expect(isOpen(fd)).toBe(false);
  return code;
}

describe('the five sources', () => {
  test('1: an fd of our own region is device memory, and the offset says where', () => {
    const source = classify(
      request(sys.dup(region.shareFd()), { offset: BAR2 + PAGE_SIZE, size: PAGE_SIZE }),
      context,
    );
    expect(source).toBeInstanceOf(DeviceMemory);
    const memory = source as DeviceMemory;
    expect([memory.device, memory.region.index, memory.offset]).toEqual([device, 2, PAGE_SIZE]);
    expect(kindOf(sys.dup(region.shareFd()), { offset: BAR2 })).toBe('device');
    expect(kindOf(reopened(region.shareFd(), 'r+'), { offset: BAR2 })).toBe('device');
  });

  test('2: a file that cannot shrink is mapped for good', () => {
    expect(kindOf(memfd(sys, SIZE, true))).toBe('sealed');
  });

  test('3: any other file is mapped under guard', () => {
    expect(kindOf(memfd(sys, SIZE))).toBe('guarded');
  });

  test('4: a file that cannot be mapped, or must not be', () => {
    expect(kindOf(memfd(sys, SIZE), { mode: 'file-io' })).toBe('file-io');
    expect(kindOf(memfd(sys, SIZE), { mode: 'mmap' })).toBe('guarded');
    // Files of sysfs are regular files of 4096 bytes that have no mmap.
    const sysfs = '/sys/kernel/mm/transparent_hugepage/enabled';
    const readable = { size: PAGE_SIZE, write: false };
    expect(errorOf(openSync(sysfs, 'r'), { ...readable, mode: 'mmap' })).toBe('ENODEV');
    expect(kindOf(openSync(sysfs, 'r'), { ...readable, mode: 'file-io' })).toBe('file-io');
  });

  test('5: no fd means messages', () => {
    expect(classify(request(null), context).kind).toBe('remote');
    expect(codeOf(() => classify(request(null, { mode: 'mmap' }), context))).toBe('EINVAL');
    expect(codeOf(() => classify(request(null, { mode: 'file-io' }), context))).toBe('EINVAL');
  });

  test('5: no fd, but exactly where the same process has a region of ours', () => {
    const bar = { region: device.region(2), offset: PAGE_SIZE };
    const asked: unknown[] = [];
    const peerBars: ClassifyContext['peerBars'] = (...question) => {
      asked.push(question);
      return bar;
    };
    const withBars = { ...context, peerBars };
    const part = request(null, { size: PAGE_SIZE });
    expect(classify(part, withBars)).toMatchObject({ kind: 'device', offset: PAGE_SIZE });
    expect(asked).toEqual([[0x10_0000, PAGE_SIZE, 1234]]);
    expect(classify({ ...part, peerPid: null }, withBars).kind).toBe('remote');
    device.suspend('memory decode is off');
    expect(classify(part, withBars).kind).toBe('remote');
    device.resume('memory decode is off');
    device.region(2).setConsent(0, 'deny');
    expect(classify(part, withBars).kind).toBe('remote');
  });
});

describe('refusals, each of which closes the fd', () => {
  test('EINVAL: unaligned, too short, no file of memory', () => {
    expect(errorOf(memfd(sys, SIZE), { offset: 1, size: PAGE_SIZE })).toBe('EINVAL');
    expect(errorOf(memfd(sys, SIZE - 1))).toBe('EINVAL');
    expect(errorOf(memfd(sys, SIZE), { offset: PAGE_SIZE })).toBe('EINVAL');
    expect(errorOf(memfd(sys, SIZE), { offset: 2 ** 64 - PAGE_SIZE })).toBe('EINVAL');
    expect(errorOf(sys.eventfd())).toBe('EINVAL');
    expect(errorOf(openSync('/dev/zero', 'r+'))).toBe('EINVAL');
    expect(errorOf(openSync('/', 'r'), { write: false })).toBe('EINVAL');
  });

  test('EACCES: what the fd does not allow', () => {
    const ram = memfd(sys, SIZE);
    expect(errorOf(reopened(ram, 'r'))).toBe('EACCES');
    expect(kindOf(reopened(ram, 'r'), { write: false })).toBe('guarded');
    expect(errorOf(reopened(ram, constants.O_WRONLY))).toBe('EACCES');
    expect(kindOf(reopened(ram, constants.O_WRONLY), { read: false })).toBe('file-io');
    expect(errorOf(reopened(region.shareFd(), 'r'), { offset: BAR2 })).toBe('EACCES');
    sys.addSeals(ram, 0x0010); // F_SEAL_FUTURE_WRITE
    expect(errorOf(sys.dup(ram))).toBe('EACCES');
    expect(kindOf(ram, { write: false })).toBe('guarded');
  });

  test('a region of ours: outside it EINVAL, without consent EINVAL, suspended EFAULT', () => {
    const fd = (): number => sys.dup(region.shareFd());
    expect(errorOf(fd())).toBe('EINVAL');
    expect(errorOf(fd(), { offset: indexToOffset(1) })).toBe('EINVAL');
    expect(errorOf(fd(), { offset: BAR2 + PAGE_SIZE })).toBe('EINVAL');
    device.suspend('device is in D3hot');
    expect(errorOf(fd(), { offset: BAR2 })).toBe('EFAULT');
    device.resume('device is in D3hot');
    device.region(2).setConsent(0, 'deny');
    expect(errorOf(fd(), { offset: BAR2 })).toBe('EINVAL');
  });

  test('a region of another process: the same, by what its file name says', () => {
    const other: ClassifyContext = { ...context, registry: new RegionRegistry() };
    const code = (fd: number, changes: Partial<ClassifyRequest>): string =>
      codeOf(() => classify(request(fd, changes), other).detach());
    const fd = (): number => sys.dup(region.shareFd());
    expect(code(fd(), { offset: BAR2 })).toBe('none');
    expect(code(fd(), { offset: indexToOffset(1) })).toBe('EINVAL');
    expect(code(fd(), { offset: BAR2 + PAGE_SIZE })).toBe('EINVAL');
    device.suspend('device is in reset');
    expect(code(fd(), { offset: BAR2 })).toBe('EFAULT');
    device.release();
    const denied = deviceWithRegion(2, SIZE, 'deny');
    const end = attachMemory(denied, sys);
    expect(code(sys.dup((denied.region(2).memory as LiveRegionMemory).shareFd()), { offset: BAR2 })).toBe(
      'EINVAL',
    );
    end();
  });

  test('an fd that is none: EBADF, and nothing else is closed', () => {
    const free = memfd(sys, SIZE);
    closeSync(free);
    expect(codeOf(() => classify(request(free), context))).toBe('EBADF');
  });
});

test('a file that another program serves is EINVAL before it is touched', () => {
  const served = Object.create(sys, { isLocalFile: { value: () => false } }) as typeof sys;
  const files = new ClientFiles(served);
  const fd = memfd(sys, SIZE);
  expect(codeOf(() => classify(request(fd), { sys: served, files, registry: context.registry }))).toBe(
    'EINVAL',
  );
  expect([isOpen(fd), files.openFiles]).toEqual([false, 0]);
});
