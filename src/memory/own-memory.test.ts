import { expect, test } from 'vitest';
import { codeOf, fdCount } from '../../test/support/memory.ts';
import { openSys } from '../sys/index.ts';
import { SealedMemory } from './own-memory.ts';

const sys = openSys();

test('sealed memory is mapped, cannot change its length, and leaves nothing', () => {
  const fds = fdCount();
  const memory = new SealedMemory(sys, 5000, 'ring');
  expect([memory.sizeBytes, memory.bytes.length]).toEqual([8192, 8192]);
  expect(sys.fdName(memory.fd)).toContain('ring');
  memory.bytes[8191] = 7;
  const target = new Uint8Array(1);
  expect(sys.pread(memory.fd, target, 0, 1, 8191)).toBe(1);
  expect(target[0]).toBe(7);
  expect(codeOf(() => sys.ftruncate(memory.fd, 0))).toBe('EPERM');
  expect(codeOf(() => sys.ftruncate(memory.fd, 1e6))).toBe('EPERM');
  const { bytes } = memory;
  memory.close();
  memory.close();
  expect([bytes.length, memory.bytes.length, fdCount()]).toEqual([0, 0, fds]);
});

test.each([0, -1, Number.NaN, 2 ** 30 + 1])('%d bytes are refused', (sizeBytes) => {
  expect(codeOf(() => new SealedMemory(sys, sizeBytes))).toBe('EINVAL');
});
