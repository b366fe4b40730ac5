/*
 * Nothing stays: fds and mappings are counted before and after ten thousand DMA_MAP and DMA_UNMAP pairs.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { fdCount, memfd } from '../../test/support/memory.ts';
import { Container } from '../core/index.ts';
import { openSys } from '../sys/index.ts';
import { classify } from './classify.ts';
import { ClientFiles } from './client-files.ts';
import { DmaEngine } from './dma-engine.ts';
import { RegionRegistry } from './registry.ts';

const sys = openSys();
const PAGE = 4096;
const PAIRS = 10_000;

const mapCount = (): number => readFileSync('/proc/self/maps', 'utf8').split('\n').length;

function pairs(touch: boolean, files: ClientFiles, ram: readonly number[]): void {
  const context = { sys, files, registry: new RegionRegistry() };
  const container = new Container();
  const engine = new DmaEngine(container, sys, null);
  const target = new Uint8Array(8);
  for (let i = 0; i < PAIRS; i++) {
    const fd = sys.dup(ram[i % ram.length]!);
    const range = { offset: 0, size: PAGE, iova: i * PAGE, read: true, write: true };
    const source = classify({ fd, ...range, mode: 'any', peerPid: null }, context);
    container.map({ ...range, source });
    if (touch) expect(engine.read(i * PAGE, target)).toBeNull();
    container.unmap(i * PAGE, PAGE);
  }
  engine.close();
  container.close();
}

test.each([
  ['one file', 1, false],
  ['one file, touched each time', 1, true],
  ['more files than are kept', 32, false],
])('10,000 pairs: %s', (_, count, touch) => {
  const ram = Array.from({ length: count }, () => memfd(sys, 16 * PAGE));
  const files = new ClientFiles(sys);
  const fds = fdCount();
  const mappings = sys.counts().mappings;
  const maps = mapCount();

  const end = files.hold();
  pairs(touch, files, ram);
  expect(fdCount()).toBeLessThanOrEqual(fds + 8);
  end();

  expect(fdCount()).toBe(fds);
  expect([files.openFiles, files.windows, sys.counts().mappings]).toEqual([0, 0, mappings]);
  // The heap of V8 comes and goes; a leak of one mapping a pair would show as thousands.
  expect(mapCount()).toBeLessThan(maps + 100);
  for (const fd of ram) sys.close(fd);
});

test('canary: a mapping that is not undone is counted', () => {
  const ram = memfd(sys, PAGE);
  const files = new ClientFiles(sys);
  const fds = fdCount();
  const mappings = sys.counts().mappings;
  const context = { sys, files, registry: new RegionRegistry() };
  const range = { offset: 0, size: PAGE, iova: 0, read: true, write: true };
  const source = classify({ fd: sys.dup(ram), ...range, mode: 'mmap', peerPid: null }, context);
  expect([fdCount(), sys.counts().mappings]).toEqual([fds + 1, mappings + 1]);
  source.detach();
  expect([fdCount(), sys.counts().mappings]).toEqual([fds, mappings]);
  sys.close(ram);
});
