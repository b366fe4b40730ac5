/*
 * R2 lookup: deviceFromVma answers device, region and offset, or null for whatever must not reach an IOMMU.
 */
import { describe, expect, it } from 'vitest';
import { deviceFromVma, ForeignFile, VfioDevice, Vma } from '../../src/core/index.ts';
import { card, KINDS, mmap, PAGE, PAGES } from '../support/pure-world.ts';

/** BAR 0: two pages allow, two deny, a page that is not mappable, one allow; BAR 2: registers only. */
function mixed(): VfioDevice {
  const areas = [
    { offset: 0, size: 2 * PAGE, dma: 'allow' as const },
    { offset: 2 * PAGE, size: 2 * PAGE, dma: 'deny' as const },
    { offset: 5 * PAGE, size: PAGE, dma: 'allow' as const },
  ];
  const regions = [
    { index: 0, sizeBytes: 8 * PAGE, areas },
    { index: 2, sizeBytes: 8 * PAGE },
  ];
  return new VfioDevice({ name: 'mixed', kind: 'pci', regions, irqs: [] });
}

describe.each(KINDS)('for a %s device', (kind) => {
  it('finds device, region and offset', () => {
    const device = card(kind);
    const region = device.region(5);
    expect(deviceFromVma(mmap(region, 'p', 4, 2))).toEqual({ device, region, offset: 4 * PAGE });
  });

  it('finds the part of a VMA that is asked for', () => {
    const region = card(kind).region(0);
    const vma = mmap(region, 'p', 2, 8);
    expect(deviceFromVma(vma, vma.start + 3 * PAGE, PAGE)?.offset).toBe(5 * PAGE);
    expect(deviceFromVma(vma, vma.start + 3 * PAGE)?.offset).toBe(5 * PAGE);
  });

  it('still finds memory that is suspended: to map it then is the answer of the IOMMU', () => {
    const device = card(kind);
    device.suspend('device is in reset');
    expect(deviceFromVma(mmap(device.region(0), 'p'))?.region).toBe(device.region(0));
  });
});

describe('is null', () => {
  it('for a file that is no device’s, whatever its offset looks like', () => {
    const file = new ForeignFile('/dev/shm/ram');
    expect(deviceFromVma(new Vma({ file, process: 'p', start: 0, sizeBytes: PAGE, pgoff: 0 }))).toBeNull();
  });

  it('for a released device', () => {
    const device = card();
    const vma = mmap(device.region(0), 'p');
    expect(deviceFromVma(vma)).not.toBeNull();
    device.release();
    expect(deviceFromVma(vma)).toBeNull();
  });

  it.each<[string, number, number, number]>([
    ['an index without a region', 1, 0, 1],
    ['an index beyond all regions', 8191, 0, 1],
    ['a region without mappable areas', 2, 0, 1],
    ['an area without consent', 0, 2, 2],
    ['a range that only begins with consent', 0, 1, 2],
    ['a range that only ends with consent', 0, 3, 3],
    ['a page that is not mappable', 0, 4, 1],
    ['the end of the region', 0, 6, 2],
    ['beyond the end of the region', 0, 8, 1],
    ['a pgoff that is a physical pfn (0xfebd0000 >> 12)', 0, 0xfebd0, 1],
  ])('for %s', (_what, index, page, count) => {
    const device = mixed();
    const pgoff = index * 2 ** 28 + page;
    const vma = new Vma({ file: device.file, process: 'p', start: PAGE, sizeBytes: count * PAGE, pgoff });
    expect(deviceFromVma(vma)).toBeNull();
  });

  it('but not for the parts of the same region that allow it', () => {
    const region = mixed().region(0);
    expect(deviceFromVma(mmap(region, 'p', 0, 2))?.offset).toBe(0);
    expect(deviceFromVma(mmap(region, 'p', 5, 1))?.offset).toBe(5 * PAGE);
  });

  it('for a range that is not in the VMA', () => {
    const vma = mmap(card().region(0), 'p', 0, 4);
    for (const [address, size] of [
      [vma.start - PAGE, PAGE],
      [vma.end, PAGE],
      [vma.start, 5 * PAGE],
      [vma.start, 0],
      [vma.start, -PAGE],
    ] as const) {
      expect(deviceFromVma(vma, address, size)).toBeNull();
    }
  });

  it('for a VMA that runs out of its region', () => {
    const device = card();
    const pgoff = device.region(0).offset / PAGE + PAGES - 1;
    const vma = new Vma({ file: device.file, process: 'p', start: 0, sizeBytes: 2 * PAGE, pgoff });
    expect(deviceFromVma(vma)).toBeNull();
  });
});
