/*
 * What the designs are known to do, each under the smallest program that shows it.
 */
import { describe, expect, test } from 'vitest';
import { search } from '../explore/search.ts';
import { trace } from '../explore/trace.ts';
import type { Design } from './design.ts';
import { designNamed } from './designs.ts';
import { type Program, pciDevice, type SimDevice } from './program.ts';

const TIB = 2 ** 40;

/** A process has touched a BAR; then memory decode goes off. */
function disabled(gpu: SimDevice, region: number): Program {
  return {
    name: 'disabled',
    devices: { gpu },
    processes: ['vmm'],
    containers: [],
    setup: [
      { op: 'open', process: 'vmm', device: 'gpu' },
      { op: 'mmap', process: 'vmm', device: 'gpu', region, as: 'window' },
      { op: 'write', vma: 'window' },
      { op: 'disable', device: 'gpu' },
      { op: 'read', vma: 'window' },
    ],
    threads: {},
  };
}

function broken(program: Program, design: string): string[] {
  return search(program, designNamed(design)).findings.map(({ property }) => property);
}

describe('rfc-2021: the range that is zapped counts regions, vm_pgoff counts physical pages', () => {
  const gpu = (address: number): SimDevice => ({ kind: 'pci', regions: [{ index: 2, address }] });

  test('BAR0 at address 0 is found: there both countings agree', () => {
    const device: SimDevice = { kind: 'pci', regions: [{ index: 0, address: 0 }] };
    expect(broken(disabled(device, 0), 'rfc-2021')).toEqual([]);
  });

  test('a BAR where hosts have their 64-bit window is missed, and the reason is named', () => {
    const program = disabled(gpu(0x3800_0000_0000), 2);
    const { findings } = search(program, designNamed('rfc-2021'));
    expect(findings.map(({ property }) => property)).toEqual(['R1', 'R4', 'R5']);
    const found = findings.find(({ property }) => property === 'R5')!;
    const { steps } = trace(program, designNamed('rfc-2021'), found.moves);
    const text = steps.at(-1)!.violations.find(({ property }) => property === 'R5')!.text;
    expect(text).toContain('BAR2 of gpu was taken away, but window is still in a page table');
    expect(text).toContain('its vm_pgoff is the physical page 0x380000000');
    expect(text).toContain('region 2 would be 0x20000000');
  });

  // The range ends where the ROM's region would begin: at 6 TiB. Below that a physical page is hit by accident.
  test.each([
    [6 * TIB - 4096, ['R1']],
    [6 * TIB, ['R1', 'R4', 'R5']],
  ])('a BAR at 0x%x', (address, expected) => {
    expect(broken(disabled(gpu(address), 2), 'rfc-2021')).toEqual(expected);
  });

  test('a device-specific region below 6 TiB is zapped although it is no BAR', () => {
    const device: SimDevice = { kind: 'pci', regions: [{ index: 0 }, { index: 9, address: 0xfe00_0000 }] };
    expect(broken(disabled(device, 9), 'rfc-2021')).toContain('R5');
    expect(broken(disabled(device, 9), 'linux-6.12')).toEqual([]);
  });

  test('with the region coding the same BARs are all found', () => {
    for (const address of [0, 0xfe00_0000, 6 * TIB, 0x3800_0000_0000])
      expect(broken(disabled(gpu(address), 2), 'linux-6.12')).toEqual([]);
  });
});

describe('consent', () => {
  /** A region without the driver's consent is mapped for DMA. */
  const mapped = (dma: 'allow' | 'deny'): Program => ({
    name: 'mapped',
    devices: {
      gpu: {
        kind: 'pci',
        regions: [
          { index: 0, dma },
          { index: 9, dma: 'deny' },
        ],
      },
    },
    processes: ['vmm'],
    containers: ['nics'],
    setup: [
      { op: 'open', process: 'vmm', device: 'gpu' },
      { op: 'mmap', process: 'vmm', device: 'gpu', region: 9, as: 'migration' },
      { op: 'mapDma', container: 'nics', vma: 'migration', as: 'state' },
    ],
    threads: {},
  });

  test('by region: nothing is mapped; of nobody, or by a device that allows another region: it is', () => {
    const ours = designNamed('node-vfio');
    const under = (consent: Design['consent'], dma: 'allow' | 'deny'): string[] =>
      search(mapped(dma), { ...ours, name: consent, consent }).findings.map(({ property }) => property);
    expect(under('region', 'allow')).toEqual([]);
    expect(under('none', 'deny')).toEqual(['R3']);
    expect(under('device', 'deny')).toEqual([]);
    expect(under('device', 'allow')).toEqual(['R3']);
  });
});

test('a zap of everything takes device-specific regions away with the BARs', () => {
  const ours = designNamed('node-vfio');
  const design: Design = { ...ours, name: 'everything', zap: { ...ours.zap, pci: 'everything' } };
  const program = disabled(pciDevice(), 9);
  expect(search(program, design).findings.map(({ property }) => property)).toContain('R5');
  expect(search(program, ours).findings).toEqual([]);
});

test('a program has its limits, and says so', () => {
  const ours = designNamed('node-vfio');
  const threads = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`t${i}`, []]));
  expect(() => search({ ...disabled(pciDevice(), 0), threads }, ours)).toThrow('at most 63 threads');
  const any = Array.from({ length: 65 }, () => ({ op: 'reset' as const, device: 'gpu' }));
  expect(() => search({ ...disabled(pciDevice(), 0), threads: { t: [{ any, times: 1 }] } }, ours)).toThrow(
    'among 64 operations at most, not 65',
  );
});
