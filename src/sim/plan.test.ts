import { describe, expect, test } from 'vitest';
import { designNamed } from './designs.ts';
import { SimulatedHost } from './host.ts';
import type { Action, Operation, Program, SimDevice, SimRegion } from './program.ts';

const pci = (...regions: SimRegion[]): SimDevice => ({ kind: 'pci', regions });
const mmap = (region: number, rest: Partial<Extract<Operation, { op: 'mmap' }>> = {}): Operation => ({
  op: 'mmap',
  process: 'vmm',
  device: 'gpu',
  region,
  as: 'window',
  ...rest,
});

const peer = (page: number): Operation => ({
  op: 'mapDma',
  container: 'nics',
  vma: 'window',
  page,
  as: 'peer',
});

function host(
  actions: readonly Action[],
  devices: Program['devices'] = { gpu: pci({ index: 2, pages: 2 }) },
): void {
  const program = { name: 'mine', devices, processes: ['vmm', 'child'], containers: ['nics'], setup: [] };
  new SimulatedHost({ ...program, threads: { cpu: actions } }, designNamed('node-vfio'));
}

describe('what an operation names has to be there', () => {
  test.each<[string, readonly Action[], string]>([
    [
      'a page beyond the VMA',
      [mmap(2), { op: 'read', vma: 'window', page: 2 }],
      'window has 2 pages, so no page 2',
    ],
    ['a VMA that begins beyond its region', [mmap(2, { page: 3 })], 'window is -1 pages from page 3 on'],
    ['a VMA that is too large', [mmap(2, { pages: 1e9 })], '0 to 512 are possible'],
    ['a name for two mappings', [mmap(2), peer(0), peer(1)], 'mapping peer is already another place'],
    ['a name for two places', [mmap(2), mmap(2, { page: 1 })], 'window is already another place'],
    [
      'a part of no page',
      [mmap(2), { op: 'munmap', vma: 'window', part: 'tail', pages: 0 }],
      'at least one page',
    ],
    ['a process that is its own child', [{ op: 'fork', process: 'vmm', child: 'vmm' }], 'its own child'],
    ['too many choices', [{ any: [mmap(2)], times: 65_536 }], '1 to 65535 are possible'],
    ['too many actions', new Array<Action>(65_536).fill(mmap(2)), 'cpu has more than 65535 actions'],
  ])('%s', (_, actions, message) => {
    expect(() => host(actions)).toThrow(message);
  });

  test('the same name for the same place is what it means', () => {
    expect(() => host([mmap(2), { op: 'munmap', vma: 'window' }, mmap(2, { pages: 2 })])).not.toThrow();
  });
});

describe('a machine has to be one that can be', () => {
  const devices = (count: number): Program['devices'] =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`d${i}`, pci({ index: 0 })]));
  const regions = (count: number, pages: number): SimDevice =>
    pci(...Array.from({ length: count }, (_, index) => ({ index, pages })));

  test.each<[string, Program['devices'], string]>([
    ['a region twice', { gpu: pci({ index: 2 }, { index: 2 }) }, 'gpu has region 2 twice'],
    ['a region with a number too high', { gpu: pci({ index: 100 }) }, '0 to 99 are possible'],
    ['a region too large', { gpu: pci({ index: 0, pages: 257 }) }, '1 to 256 are possible'],
    ['an address inside a page', { gpu: pci({ index: 0, address: 5 }) }, 'a multiple of 4096'],
    ['32-bit BARs above 4 GiB', devices(33), 'at most 32 devices'],
    ['regions where BARs move to', { gpu: regions(9, 1) }, 'gpu has more than 8 regions'],
    [
      'more pages than there are frames',
      {
        a: regions(8, 256),
        b: regions(8, 256),
        c: regions(8, 256),
        d: regions(8, 256),
        e: regions(8, 256),
        f: regions(8, 256),
        g: regions(8, 256),
        h: regions(8, 256),
      },
      'pages of memory',
    ],
  ])('%s', (_, machine, message) => {
    expect(() => host([], machine)).toThrow(message);
  });

  test('a thread is not named as the setup', () => {
    const program = {
      name: 'mine',
      devices: {},
      processes: [],
      containers: [],
      setup: [],
      threads: { setup: [] },
    };
    expect(() => new SimulatedHost(program, designNamed('node-vfio'))).toThrow("named 'setup'");
  });
});
