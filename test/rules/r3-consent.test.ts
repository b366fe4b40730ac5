/*
 * R3 consent: a region is a DMA target only where its driver opted in, per area; the driver of a
 * device-specific region announces which parts are device memory, and withdraws them.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Consent,
  Container,
  deviceFromVma,
  type NotifierRange,
  type Region,
  VfioDevice,
} from '../../src/core/index.ts';
import { card, dma, KINDS, mapDma, mmap, PAGE, PageTables, readMessage } from '../support/pure-world.ts';

/** A region of `consents.length` adjacent areas of one page. */
function regionOf(consents: readonly Consent[], index: number = 9): Region {
  const areas = consents.map((consent, i) => ({ offset: i * PAGE, size: PAGE, dma: consent }));
  const regions = [{ index, sizeBytes: consents.length * PAGE, areas }];
  return new VfioDevice({ name: 'd', kind: 'pci', regions, irqs: [] }).region(index);
}

describe('without consent', () => {
  it.each(KINDS)('no region of a %s device is a DMA target', (kind) => {
    const areas = [{ offset: 0, size: 4 * PAGE, dma: 'deny' as const }];
    const regions = [{ index: 1, sizeBytes: 4 * PAGE, areas }];
    const region = new VfioDevice({ name: 'd', kind, regions, irqs: [] }).region(1);
    expect(region.consent(0, 4 * PAGE)).toBe('deny');
    expect(deviceFromVma(mmap(region, 'p', 0, 4))).toBeNull();
    const map = (): number => mapDma(new Container(), region, 0, 4 * PAGE);
    expect(map).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });
});

describe('consent over several areas', () => {
  it('is the consent of every byte', () => {
    const areas = fc.array(
      fc.record({ gap: fc.nat(2), pages: fc.integer({ min: 1, max: 3 }), allow: fc.boolean() }),
      {
        maxLength: 6,
      },
    );
    fc.assert(
      fc.property(areas, fc.nat(30 * PAGE), fc.nat(8 * PAGE), (specs, offset, size) => {
        // Which pages allow, said page by page; unmappable pages do not.
        const pages: (boolean | undefined)[] = [];
        for (const { gap, pages: count, allow } of specs) {
          pages.push(...new Array<undefined>(gap).fill(undefined), ...new Array<boolean>(count).fill(allow));
        }
        let at = 0;
        const declared = specs.map(({ gap, pages: count, allow }) => {
          const area = {
            offset: (at + gap) * PAGE,
            size: count * PAGE,
            dma: allow ? ('allow' as const) : ('deny' as const),
          };
          at += gap + count;
          return area;
        });
        const regions = [{ index: 0, sizeBytes: 64 * PAGE, areas: declared.reverse() }];
        const region = new VfioDevice({ name: 'd', kind: 'pci', regions, irqs: [] }).region(0);
        let want = size > 0;
        for (let page = Math.floor(offset / PAGE); page * PAGE < offset + size; page++)
          want &&= pages[page] === true;
        expect(region.consent(offset, size)).toBe(want ? 'allow' : 'deny');
      }),
      { seed: 9, numRuns: 2000 },
    );
  });

  it('of nothing, or of what is no range, is no consent', () => {
    const region = regionOf(['allow']);
    expect([region.consent(0, 0), region.consent(-PAGE, 2 * PAGE), region.consent(0, Number.NaN)]).toEqual(
      new Array(3).fill('deny'),
    );
  });
});

describe('a driver that announces and withdraws', () => {
  it('changes what lookups and new mappings may have', () => {
    const region = regionOf(['deny', 'deny', 'allow']);
    const vma = mmap(region, 'p', 0, 3);
    expect(deviceFromVma(vma)).toBeNull();
    region.setConsent(0, 'allow');
    expect(deviceFromVma(vma)).toBeNull();
    region.setConsent(1, 'allow');
    expect(deviceFromVma(vma)?.offset).toBe(0);
    expect(region.areas.map((area) => area.dma)).toEqual(['allow', 'allow', 'allow']);
    region.setConsent(2, 'deny');
    expect(deviceFromVma(vma)).toBeNull();
    expect(deviceFromVma(vma, vma.start, 2 * PAGE)?.region).toBe(region);
  });

  it('tells the IOMMU side of exactly that area, after the state has changed', () => {
    const region = regionOf(['allow', 'allow', 'allow']);
    const told: unknown[] = [];
    const note = (name: string) => (range: NotifierRange) =>
      told.push([
        name,
        range.start - region.offset,
        range.length,
        range.reason,
        region.dmaReason(PAGE, PAGE),
      ]);
    region.device.on('suspend', note('suspend'));
    region.device.on('resume', note('resume'));
    region.setConsent(1, 'deny');
    region.setConsent(1, 'deny');
    region.setConsent(1, 'allow');
    expect(told).toEqual([
      ['suspend', PAGE, PAGE, 'consent was withdrawn', 'consent was withdrawn'],
      ['resume', PAGE, PAGE, 'consent was withdrawn', null],
    ]);
  });

  it('cuts DMA off that was mapped, and lets it through again', () => {
    const region = regionOf(['allow', 'allow']);
    const container = new Container();
    const iova = mapDma(container, region, 0, 2 * PAGE);
    region.setConsent(1, 'deny');
    expect([dma(container, iova), dma(container, iova + PAGE)]).toEqual(['ok', 'consent was withdrawn']);
    region.setConsent(1, 'allow');
    expect(dma(container, iova + PAGE)).toBe('ok');
  });

  it('does not touch CPU mappings and messages', () => {
    const device = card();
    const tables = new PageTables(device);
    const vma = mmap(device.region(9), 'p');
    expect(tables.touch(vma)).toBe('ok');
    device.region(9).setConsent(0, 'deny');
    expect([tables.touch(vma), tables.faults, readMessage(device.region(9))]).toEqual(['ok', 1, 0]);
  });

  it('announces nothing to the IOMMU while the region cannot be reached; resume does', () => {
    const device = card();
    const told: string[] = [];
    device.on('resume', (range) => told.push(range.reason));
    device.region(0).setConsent(0, 'deny');
    device.suspend('memory decode is off');
    device.region(0).setConsent(0, 'allow');
    expect(told).toEqual([]);
    device.resume('memory decode is off');
    expect(told).toEqual(['memory decode is off']);
    expect(device.region(0).dmaReason(0, PAGE)).toBeNull();
  });

  it('keeps a withdrawal over suspend and resume', () => {
    const device = card();
    const container = new Container();
    const iova = mapDma(container, device.region(0));
    device.region(0).setConsent(0, 'deny');
    device.suspend('memory decode is off');
    expect(dma(container, iova)).toBe('memory decode is off');
    device.resume('memory decode is off');
    expect(dma(container, iova)).toBe('consent was withdrawn');
  });
});
