/*
 * BARs as software uses them: sizing, placing, reading back where they are; and what a spec may not say.
 */
import { describe, expect, test } from 'vitest';
import { type BarSpec, PciDevice, type PciDeviceSpec } from './index.ts';
import { readConfig, writeConfig } from './testing.ts';

function device(bars: PciDeviceSpec['bars'], rest: Partial<PciDeviceSpec> = {}): PciDevice {
  const spec: PciDeviceSpec = { name: 'bars', vendorId: 1, deviceId: 2, classCode: 0, ...rest };
  return new PciDevice(bars === undefined ? spec : { ...spec, bars });
}

function little(value: bigint | number, width: number): string {
  const bytes = Array.from({ length: width }, (_, i) => Number((BigInt(value) >> BigInt(8 * i)) & 0xffn));
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** What a driver does: all ones, read the mask, put the address back. */
function sizeOf(pci: PciDevice, offset: number, width: 4 | 8, flags: bigint): bigint {
  const before = readConfig(pci, offset, width);
  for (let i = 0; i < width; i += 4) writeConfig(pci, offset + i, 'ffffffff');
  const mask = BigInt(
    `0x${Buffer.from(readConfig(pci, offset, width), 'hex')
      .reverse()
      .toString('hex')}`,
  );
  for (let i = 0; i < width; i += 4) writeConfig(pci, offset + i, before.slice(2 * i, 2 * i + 8));
  expect(readConfig(pci, offset, width)).toBe(before);
  return (~(mask & ~flags) & (2n ** BigInt(8 * width) - 1n)) + 1n;
}

describe('sizing', () => {
  test.each([
    ['mem32', 16, 4, 0xfn],
    ['mem32', 4096, 4, 0xfn],
    ['mem32', 2 ** 31, 4, 0xfn],
    ['mem64', 4096, 8, 0xfn],
    ['mem64', 2 ** 31, 8, 0xfn],
    ['mem64', 2 ** 32, 8, 0xfn],
    ['mem64', 2 ** 33, 8, 0xfn],
    ['mem64', 2 ** 40, 8, 0xfn],
    ['io', 4, 4, 0x3n],
    ['io', 256, 4, 0x3n],
  ] as const)('%s of %i bytes', (type, sizeBytes, width, flags) => {
    expect(sizeOf(device({ 2: { type, sizeBytes } }), 0x18, width, flags)).toBe(BigInt(sizeBytes));
  });

  test.each([
    ['mem32', false, '00000000'],
    ['mem32', true, '08000000'],
    ['mem64', false, '04000000'],
    ['mem64', true, '0c000000'],
  ] as const)('type bits of %s, prefetchable %s', (type, prefetchable, expected) => {
    expect(readConfig(device({ 0: { type, sizeBytes: 4096, prefetchable } }), 0x10, 4)).toBe(expected);
  });

  test('a register without a BAR reads 0 whatever is written', () => {
    const pci = device({ 0: { type: 'mem32', sizeBytes: 4096 } });
    writeConfig(pci, 0x14, 'ffffffff');
    expect(readConfig(pci, 0x14, 4)).toBe('00000000');
  });

  test('a ROM is at least 2 KiB and at the next power of two', () => {
    expect(sizeOf(device({}, { rom: new Uint8Array(1) }), 0x30, 4, 0x7ffn)).toBe(2048n);
    expect(sizeOf(device({}, { rom: new Uint8Array(70_000) }), 0x30, 4, 0x7ffn)).toBe(131_072n);
  });
});

describe('barAddress', () => {
  const pci = () =>
    device(
      {
        0: { type: 'mem64', sizeBytes: 4096, prefetchable: true },
        2: { type: 'io', sizeBytes: 32 },
        3: { type: 'mem32', sizeBytes: 65_536 },
      },
      { capabilities: [{ type: 'power-management' }] },
    );

  test('is where software put the BAR, while that kind is decoded', () => {
    const moved = pci();
    writeConfig(moved, 0x10, little(0x0000_0012_3456_7000n, 8));
    writeConfig(moved, 0x18, little(0xc0e0, 4));
    writeConfig(moved, 0x1c, little(0xfebc_1234, 4));
    const all = () => [moved.barAddress(0), moved.barAddress(2), moved.barAddress(3)];
    expect(all()).toEqual([null, null, null]);
    writeConfig(moved, 4, '02');
    expect(all()).toEqual([0x12_3456_7000, null, 0xfebc_0000]);
    writeConfig(moved, 4, '01');
    expect(all()).toEqual([null, 0xc0e0, null]);
    writeConfig(moved, 4, '03');
    writeConfig(moved, 0x1c, little(0xfe00_0000, 4));
    expect(all()).toEqual([0x12_3456_7000, 0xc0e0, 0xfe00_0000]);
  });

  test('is null in D3hot, and for a BAR that has no address yet', () => {
    const asleep = pci();
    asleep.opened();
    expect(asleep.barAddress(3)).toBeNull();
    writeConfig(asleep, 0x1c, little(0xfe00_0000, 4));
    expect(asleep.barAddress(3)).toBe(0xfe00_0000);
    writeConfig(asleep, 0x44, '03');
    expect(asleep.barAddress(3)).toBeNull();
    writeConfig(asleep, 0x44, '00');
    expect(asleep.barAddress(3)).toBe(0xfe00_0000);
  });

  test('asks for a BAR that exists', () => {
    expect(() => pci().barAddress(1)).toThrow('no BAR1');
  });
});

describe('mappable', () => {
  const areasOf = (bar: BarSpec, rest: Partial<PciDeviceSpec> = {}) =>
    device({ 0: bar }, rest)
      .region(0)
      .areas.map(({ offset, size, dma }) => [offset, size, dma]);

  test('true is the whole BAR, with its consent', () => {
    expect(areasOf({ type: 'mem32', sizeBytes: 8192, mappable: true })).toEqual([[0, 8192, 'deny']]);
    expect(areasOf({ type: 'mem32', sizeBytes: 8192, mappable: true, dma: 'allow' })).toEqual([
      [0, 8192, 'allow'],
    ]);
  });

  test('true leaves out the pages with the MSI-X table and PBA', () => {
    const bar: BarSpec = { type: 'mem32', sizeBytes: 0x8000, mappable: true };
    const msix = (tableOffset: number, pbaOffset: number) =>
      areasOf(bar, { capabilities: [{ type: 'msix', vectors: 3, bar: 0, tableOffset, pbaOffset }] });
    expect(msix(0x2ff0, 0x5000)).toEqual([
      [0, 0x2000, 'deny'],
      [0x4000, 0x1000, 'deny'],
      [0x6000, 0x2000, 'deny'],
    ]);
    expect(msix(0, 0x7ff8)).toEqual([[0x1000, 0x6000, 'deny']]);
  });

  test('areas are taken as they are', () => {
    const areas = [{ offset: 4096, size: 4096, dma: 'allow' as const }];
    expect(areasOf({ type: 'mem32', sizeBytes: 16_384, mappable: areas })).toEqual([[4096, 4096, 'allow']]);
  });
});

describe('mistakes in a spec throw and say what to do', () => {
  const msix = { type: 'msix', vectors: 4, bar: 0 } as const;
  const page: BarSpec = { type: 'mem32', sizeBytes: 4096 };
  test.each<[string, Partial<PciDeviceSpec>]>([
    ['size 3000 is not a power of two', { bars: { 0: { type: 'mem32', sizeBytes: 3000 } } }],
    ["a 'mem32' BAR has 16 to", { bars: { 0: { type: 'mem32', sizeBytes: 8 } } }],
    ["a 'mem32' BAR has 16 to", { bars: { 0: { type: 'mem32', sizeBytes: 2 ** 32 } } }],
    ["an 'io' BAR has".replace('an', 'a'), { bars: { 0: { type: 'io', sizeBytes: 512 } } }],
    ['BAR1: the 64-bit BAR below it', { bars: { 0: { type: 'mem64', sizeBytes: 4096 }, 1: page } }],
    ['a 64-bit BAR needs two', { bars: { 5: { type: 'mem64', sizeBytes: 4096 } } }],
    ['I/O is not mappable', { bars: { 0: { type: 'io', sizeBytes: 32, mappable: true } } }],
    ['I/O is not prefetchable', { bars: { 0: { type: 'io', sizeBytes: 32, prefetchable: true } } }],
    ['only whole pages', { bars: { 0: { type: 'mem32', sizeBytes: 2048, mappable: true } } }],
    ["'dma' goes with 'mappable: true'", { bars: { 0: { ...page, dma: 'allow' } } }],
    ['MSI-X needs a memory BAR0', { capabilities: [msix] }],
    ['MSI-X ends at 0x1010', { bars: { 0: page }, capabilities: [{ ...msix, tableOffset: 4048 }] }],
    ['table and PBA overlap', { bars: { 0: page }, capabilities: [{ ...msix, pbaOffset: 56 }] }],
    ['must be multiples of 8', { bars: { 0: page }, capabilities: [{ ...msix, tableOffset: 4 }] }],
    ['2049 vectors', { bars: { 0: page }, capabilities: [{ ...msix, vectors: 2049 }] }],
    ['MSI-X is on all of its pages', { bars: { 0: { ...page, mappable: true } }, capabilities: [msix] }],
    [
      'contains the MSI-X table',
      {
        bars: { 0: { ...page, mappable: [{ offset: 0, size: 4096, dma: 'deny' }] } },
        capabilities: [msix],
      },
    ],
    ['3 vectors; use a power of two', { capabilities: [{ type: 'msi', vectors: 3 }] }],
    ["one 'msi' capability, not 2", { capabilities: [{ type: 'msi' }, { type: 'msi' }] }],
    ['0x100 is the end', { capabilities: [{ type: 'vendor', data: new Uint8Array(190) }] }],
    [
      'they are one mask',
      { capabilities: [{ type: 'vendor', data: new Uint8Array(2), writable: new Uint8Array(1) }] },
    ],
    ["need the 'express' capability", { serialNumber: 1n }],
    ['vendorId 65536', { vendorId: 0x1_0000 }],
    ['there is no device', { vendorId: 0xffff }],
    ['classCode 16777216', { classCode: 0x100_0000 }],
    ['commandAtOpen sets bits', { commandAtOpen: 0x8 }],
    ['needs an index from 9 on', { extraRegions: [{ index: 5, sizeBytes: 4096 }] }],
  ])('%s', (message, spec) => {
    expect(() => device(spec.bars, spec)).toThrow(message);
  });

  test('canary: a good spec does not throw', () => {
    expect(() =>
      device({ 0: page }, { capabilities: [msix, { type: 'express' }], serialNumber: 1n }),
    ).not.toThrow();
  });
});
