/*
 * R5 scope: unmapMappingRange from BAR0 to ROM takes away the BARs and nothing else.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_ROM_REGION_INDEX } from '../../src/abi/index.ts';
import { Container, indexToOffset, type VfioDevice, Vma } from '../../src/core/index.ts';
import { card, dma, INDEXES, KINDS, mapDma, mmap, PAGE, PAGES, PageTables } from '../support/pure-world.ts';

/** The call of the rule, word for word. */
function unmapBars(device: VfioDevice): number {
  const start = indexToOffset(VFIO_PCI_BAR0_REGION_INDEX);
  return device.addressSpace.unmapMappingRange(start, indexToOffset(VFIO_PCI_ROM_REGION_INDEX) - start);
}

/** Which regions lose their page table entries: their next touch has to fault. */
function regionsThatFault(tables: PageTables, vmas: ReadonlyMap<number, Vma>): number[] {
  return [...vmas].flatMap(([index, vma]) => {
    const before = tables.faults;
    for (let page = 0; page < PAGES; page++) tables.touch(vma, vma.start + page * PAGE);
    const faults = tables.faults - before;
    expect([0, PAGES]).toContain(faults);
    return faults === PAGES ? [index] : [];
  });
}

describe.each(KINDS)('unmapMappingRange(BAR0 .. ROM) of a %s device', (kind) => {
  it('takes BARs 0 to 5; ROM, config, VGA and device-specific regions keep their mappings', () => {
    const device = card(kind);
    const tables = new PageTables(device);
    const vmas = new Map(INDEXES.map((index) => [index, mmap(device.region(index), 'p')]));
    expect(regionsThatFault(tables, vmas)).toEqual(INDEXES);
    expect(regionsThatFault(tables, vmas)).toEqual([]);
    expect(unmapBars(device)).toBe(3);
    expect(regionsThatFault(tables, vmas)).toEqual([0, 2, 5]);
  });

  it('takes them from every process', () => {
    const device = card(kind);
    const tables = new PageTables(device);
    const vmas = ['p', 'q', 'r'].map((process) => mmap(device.region(5), process));
    for (const vma of vmas) tables.touch(vma);
    unmapBars(device);
    expect(vmas.map((vma) => [tables.touch(vma), tables.faults])).toEqual([
      ['ok', 4],
      ['ok', 5],
      ['ok', 6],
    ]);
  });
});

describe('suspend of a pci device', () => {
  it('has the same scope for CPU, messages and DMA', () => {
    const device = card();
    const tables = new PageTables(device);
    const container = new Container();
    const iovas = new Map(INDEXES.map((index) => [index, mapDma(container, device.region(index))]));
    const vmas = new Map(INDEXES.map((index) => [index, mmap(device.region(index), 'p')]));
    device.suspend('memory decode is off');
    const bars = [0, 2, 5];
    expect(INDEXES.filter((index) => device.accessible(device.region(index)) !== null)).toEqual(bars);
    expect(INDEXES.filter((index) => tables.touch(vmas.get(index)!) === 'SIGBUS')).toEqual(bars);
    expect(INDEXES.filter((index) => dma(container, iovas.get(index)!) !== 'ok')).toEqual(bars);
  });

  it('asks for the range of the rule in one call', () => {
    const device = card();
    const ranges: unknown[] = [];
    device.on('suspend', (range) => ranges.push([range.start, range.length]));
    device.suspend('device is in reset');
    expect(ranges).toEqual([[0, Number(6n << 40n)]]);
  });

  it('can be told of a device-specific region alone', () => {
    const device = card();
    device.suspend('device is stopped', indexToOffset(9), indexToOffset(10) - indexToOffset(9));
    expect(INDEXES.filter((index) => device.accessible(device.region(index)) !== null)).toEqual([9]);
  });
});

describe('any VMA', () => {
  it('is taken exactly where its pgoff lies in the BARs', () => {
    const place = fc.tuple(
      fc.constantFrom(0, 1, 5, 6, 7, 9),
      fc.nat(2 ** 28 - 1),
      fc.integer({ min: 1, max: 64 }),
    );
    fc.assert(
      fc.property(fc.array(place, { maxLength: 20 }), (places) => {
        const device = card();
        const taken: bigint[] = [];
        device.addressSpace.onZap = (vma, start, length) => {
          const first = BigInt(vma.pgoff) + BigInt(start - vma.start) / 4096n;
          for (let page = 0n; page < BigInt(length) / 4096n; page++) taken.push(first + page);
        };
        const want: bigint[] = [];
        for (const [index, page, count] of places) {
          const pgoff = (BigInt(index) << 28n) + BigInt(page);
          const options = { file: device.file, process: 'p', start: 0, sizeBytes: count * PAGE };
          device.addressSpace.insert(new Vma({ ...options, pgoff: Number(pgoff) }));
          for (let i = 0n; i < BigInt(count); i++) if ((pgoff + i) << 12n < 6n << 40n) want.push(pgoff + i);
        }
        unmapBars(device);
        const sorted = (pages: bigint[]): bigint[] => pages.sort((a, b) => (a < b ? -1 : 1));
        expect(sorted(taken)).toEqual(sorted(want));
      }),
      { seed: 5, numRuns: 300 },
    );
  });
});

describe('canary: the bug that the seed of all this points out', () => {
  it('a VMA with a physical pfn in its pgoff escapes an invalidation of its BAR', () => {
    const device = card();
    const pfn = 0x38_0000_0000 / PAGE; // a 64-bit BAR above 4 GiB
    const right = mmap(device.region(2), 'right');
    const wrong = new Vma({ file: device.file, process: 'wrong', start: 0, sizeBytes: PAGE, pgoff: pfn });
    device.addressSpace.insert(wrong);
    const zapped: string[] = [];
    device.addressSpace.onZap = (vma) => zapped.push(vma.process);
    device.addressSpace.unmapMappingRange(indexToOffset(2), indexToOffset(3) - indexToOffset(2));
    expect([zapped, right.pgoff === wrong.pgoff]).toEqual([['right'], false]);
  });
});
