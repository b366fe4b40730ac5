import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { consents, encodeRegionName, type NamedRegion, parseRegionName } from './consent-name.ts';

const link = (name: string): string => `/memfd:${name} (deleted)`;

describe('the name of a region memfd', () => {
  test('says index, size, consent and device', () => {
    const region: NamedRegion = {
      index: 2,
      sizeBytes: 0x10_0000,
      areas: [{ offset: 0, size: 0x10_0000, dma: 'allow' }],
    };
    const name = encodeRegionName('edu0', region);
    expect(name).toBe('vfio-region:2:100000:allow:edu0');
    expect(parseRegionName(link(name))).toEqual({
      index: 2,
      sizeBytes: 0x10_0000,
      allowed: [{ offset: 0, size: 0x10_0000 }],
      device: 'edu0',
    });
  });

  test('a region without consent says deny', () => {
    const region: NamedRegion = {
      index: 0,
      sizeBytes: 4096,
      areas: [{ offset: 0, size: 4096, dma: 'deny' }],
    };
    const name = parseRegionName(link(encodeRegionName('a', region)))!;
    expect(consents(name, 0, 4096)).toBe(false);
  });

  test('adjacent allowed areas join, others do not', () => {
    const region: NamedRegion = {
      index: 9,
      sizeBytes: 0x5000,
      areas: [
        { offset: 0x3000, size: 0x1000, dma: 'allow' },
        { offset: 0x1000, size: 0x1000, dma: 'allow' },
        { offset: 0x2000, size: 0x1000, dma: 'allow' },
        { offset: 0x0000, size: 0x1000, dma: 'deny' },
      ],
    };
    const name = parseRegionName(link(encodeRegionName('a', region)))!;
    expect(name.allowed).toEqual([{ offset: 0x1000, size: 0x3000 }]);
    expect(consents(name, 0x1000, 0x3000)).toBe(true);
    expect(consents(name, 0x0fff, 2)).toBe(false);
    expect(consents(name, 0x3fff, 2)).toBe(false);
  });

  test('what does not fit into 249 bytes is denied', () => {
    const areas = Array.from({ length: 100 }, (_, i) => ({
      offset: i * 0x2000,
      size: 0x1000,
      dma: 'allow' as const,
    }));
    const name = encodeRegionName('x'.repeat(300), { index: 65535, sizeBytes: 100 * 0x2000, areas });
    expect(name.length).toBeLessThanOrEqual(249);
    expect(parseRegionName(link(name))!.allowed).toEqual([]);
  });

  test.each([
    '/memfd:qemu-ram (deleted)',
    '/dev/shm/vfio-region:2:1000:allow:a',
    '/memfd:vfio-region:2:1000:maybe:a (deleted)',
    '/memfd:vfio-region:2:1000:0+2000:a (deleted)',
    '/memfd:vfio-region:2:1000:0+1000,:a (deleted)',
    '/memfd:vfio-region:2:1000:allow:a\n(deleted)',
    'socket:[12345]',
  ])('%j is not a region', (text) => {
    expect(parseRegionName(text)).toBeNull();
  });

  test('any region and any device name survive the way to the file name and back', () => {
    const area = fc.record({
      page: fc.integer({ min: 0, max: 63 }),
      pages: fc.integer({ min: 1, max: 8 }),
      allowed: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.string(), fc.array(area, { maxLength: 5 }), (device, list) => {
        const areas = list.map(({ page, pages, allowed }) => ({
          offset: page * 4096,
          size: pages * 4096,
          dma: allowed ? ('allow' as const) : ('deny' as const),
        }));
        const name = encodeRegionName(device, { index: 4, sizeBytes: 80 * 4096, areas });
        const parsed = parseRegionName(link(name))!;
        for (let page = 0; page < 80; page++) {
          const covered = areas.some(
            (a) => a.dma === 'allow' && a.offset <= page * 4096 && page * 4096 < a.offset + a.size,
          );
          expect(consents(parsed, page * 4096, 4096)).toBe(covered);
        }
      }),
    );
  });
});
