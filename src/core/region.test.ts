/* One region: what it declares, who answers its accesses, and what is refused. */
import { describe, expect, it } from 'vitest';
import { ERRNO } from '../abi/errno.ts';
import { VfioDevice } from './device.ts';
import type { AccessResult, Region, RegionHandler, RegionSpec } from './region.ts';
import { attachPlainMemory, PlainRegionMemory } from './testing.ts';

const PAGE = 4096;

function regionOf(spec: Partial<RegionSpec>): Region {
  const regions = [{ index: 0, sizeBytes: 4 * PAGE, ...spec }];
  const device = new VfioDevice({ name: 'd', kind: 'pci', regions, irqs: [] });
  return device.region(spec.index ?? 0);
}

function bytesOf(region: Region, offset: number, count: number): number[] {
  const view = new DataView(new ArrayBuffer(count + 2));
  expect(region.read(offset, count, view, 1)).toBe(0);
  expect([view.getUint8(0), view.getUint8(count + 1)]).toEqual([0, 0]);
  return [...new Uint8Array(view.buffer, 1, count)];
}

function write(region: Region, offset: number, ...bytes: number[]): AccessResult {
  return region.write(offset, bytes.length, new DataView(Uint8Array.from(bytes).buffer), 0);
}

/** A handler that says what it was asked. */
class Recorder implements RegionHandler {
  readonly calls: string[] = [];
  read(offset: number, count: number, view: DataView, at: number): number {
    this.calls.push(`read ${offset}+${count}`);
    view.setUint8(at, 0x5a);
    return 0;
  }
  write(offset: number, count: number, view: DataView, at: number): number {
    this.calls.push(`write ${offset}+${count} ${view.getUint8(at)}`);
    return ERRNO.EAGAIN;
  }
}

describe('flags (VFIO_REGION_INFO_FLAG_*: READ 1, WRITE 2, MMAP 4, CAPS 8)', () => {
  const whole = { offset: 0, size: 4 * PAGE, dma: 'deny' } as const;
  it.each<[string, Partial<RegionSpec>, number]>([
    ['plain registers', {}, 3],
    ['a ROM', { write: false }, 1],
    ['mappable as a whole', { areas: [whole] }, 7],
    ['sparse', { areas: [{ ...whole, size: PAGE }] }, 15],
    [
      'a whole made of two areas',
      {
        areas: [
          { ...whole, size: PAGE },
          { offset: PAGE, size: 3 * PAGE, dma: 'allow' },
        ],
      },
      15,
    ],
    ['typed', { index: 9, type: { type: 1, subtype: 2 } }, 11],
  ])('%s', (_what, spec, flags) => {
    expect(regionOf(spec).flags).toBe(flags);
  });

  it('has its index and size in the default name and offset', () => {
    const region = regionOf({ index: 2 });
    expect([region.name, region.offset, region.sizeBytes]).toEqual(['region2', 2 * 2 ** 40, 4 * PAGE]);
    expect(regionOf({ name: 'registers' }).name).toBe('registers');
  });
});

describe('accesses', () => {
  it('go to the handler, with its result', () => {
    const handler = new Recorder();
    const region = regionOf({ handler });
    expect(bytesOf(region, 8, 2)).toEqual([0x5a, 0]);
    expect(write(region, 16, 7, 8)).toBe(ERRNO.EAGAIN);
    expect(handler.calls).toEqual(['read 8+2', 'write 16+2 7']);
  });

  it('may take their time', async () => {
    const handler = { read: async () => 0, write: async () => ERRNO.EIO };
    await expect(Promise.resolve(write(regionOf({ handler }), 0, 1))).resolves.toBe(ERRNO.EIO);
  });

  it('go to the memory of a mappable region without a handler, across windows', () => {
    const region = regionOf({ areas: [{ offset: 0, size: 4 * PAGE, dma: 'deny' }] });
    region.memory = new PlainRegionMemory(4 * PAGE, PAGE);
    expect(write(region, PAGE - 2, 1, 2, 3, 4)).toBe(0);
    expect(bytesOf(region, PAGE - 2, 4)).toEqual([1, 2, 3, 4]);
    const pattern = Array.from({ length: 3 * PAGE }, (_, i) => (i * 31 + (i >> 8)) & 0xff);
    expect(write(region, PAGE / 2, ...pattern)).toBe(0);
    expect(bytesOf(region, PAGE / 2, 3 * PAGE)).toEqual(pattern);
    expect([...region.memory.bytesAt(PAGE).subarray(0, 4)]).toEqual(pattern.slice(PAGE / 2, PAGE / 2 + 4));
  });

  it('are EIO while the memory is lost', () => {
    const region = regionOf({ areas: [{ offset: 0, size: 4 * PAGE, dma: 'deny' }] });
    const memory = new PlainRegionMemory(4 * PAGE);
    region.memory = memory;
    memory.lost = true;
    expect(write(region, 0, 1)).toBe(ERRNO.EIO);
    expect(region.read(0, 1, new DataView(new ArrayBuffer(1)), 0)).toBe(ERRNO.EIO);
    memory.lost = false;
    expect(bytesOf(region, 0, 1)).toEqual([0]);
  });

  it('let a handler forward a part of its region to the memory', () => {
    const handler: RegionHandler = {
      read: (offset, count, view, at) => region.readMemory(offset, count, view, at),
      write: (offset, count, view, at) => region.writeMemory(offset, count, view, at),
    };
    const region = regionOf({ handler, areas: [{ offset: 0, size: PAGE, dma: 'deny' }] });
    attachPlainMemory(region.device);
    expect(write(region, 12, 9)).toBe(0);
    expect(bytesOf(region, 12, 1)).toEqual([9]);
  });

  it('read all ones and write nothing where nobody answers', () => {
    const region = regionOf({});
    expect(write(region, 0, 1)).toBe(0);
    expect(bytesOf(region, 0, 3)).toEqual([0xff, 0xff, 0xff]);
  });

  it.each([
    [4 * PAGE, 1],
    [4 * PAGE - 1, 2],
    [-1, 1],
    [0, -1],
    [2 ** 64, 1],
    [0, Number.NaN],
  ])('outside the region are EINVAL: %d+%d', (offset, count) => {
    const handler = new Recorder();
    const region = regionOf({ handler });
    const view = new DataView(new ArrayBuffer(8));
    expect(region.read(offset, count, view, 0)).toBe(ERRNO.EINVAL);
    expect(region.write(offset, count, view, 0)).toBe(ERRNO.EINVAL);
    expect(handler.calls).toEqual([]);
  });

  it('against the region rights are EINVAL, and of no bytes are nothing', () => {
    const handler = new Recorder();
    const view = new DataView(new ArrayBuffer(8));
    expect(regionOf({ read: false }).read(0, 1, view, 0)).toBe(ERRNO.EINVAL);
    expect(regionOf({ write: false }).write(0, 1, view, 0)).toBe(ERRNO.EINVAL);
    expect(regionOf({ handler }).read(4 * PAGE, 0, view, 0)).toBe(0);
    expect(regionOf({ handler }).write(0, 0, view, 0)).toBe(0);
    expect(handler.calls).toEqual([]);
  });
});

describe('host mistakes', () => {
  const area = (offset: number, size: number) => ({ offset, size, dma: 'deny' as const });
  it.each<[string, Partial<RegionSpec>]>([
    ['is not a count of bytes', { sizeBytes: 0 }],
    ['is not a count of bytes', { sizeBytes: 1.5 }],
    ['more than 1 TiB', { sizeBytes: 2 ** 40 + 1 }],
    ['whole pages', { areas: [area(1, PAGE)] }],
    ['whole pages', { areas: [area(0, 0)] }],
    ['overlaps', { areas: [area(PAGE, PAGE), area(0, 2 * PAGE)] }],
    ['beyond the region', { areas: [area(0, 5 * PAGE)] }],
    [
      'join adjacent areas',
      { sizeBytes: 2 ** 30, areas: Array.from({ length: 2049 }, (_, i) => area(i * PAGE, PAGE)) },
    ],
  ])('are told at construction: %s', (message, spec) => {
    expect(() => regionOf(spec)).toThrow(message);
  });

  it('are told when memory does not fit, is not there, or is not for this region', () => {
    const mappable = regionOf({ areas: [area(0, 4 * PAGE)] });
    expect(() => write(mappable, 0, 1)).toThrow('has no memory');
    expect(() => {
      mappable.memory = new PlainRegionMemory(PAGE);
    }).toThrow('too small');
    expect(() => {
      regionOf({}).memory = new PlainRegionMemory(4 * PAGE);
    }).toThrow('declare areas');
    expect(() => mappable.setConsent(1, 'allow')).toThrow('no area 1');
  });
});

describe('covers', () => {
  it('joins adjacent areas whatever their consent, and stops at gaps', () => {
    const region = regionOf({
      areas: [
        { offset: 0, size: PAGE, dma: 'allow' },
        { offset: PAGE, size: PAGE, dma: 'deny' },
        { offset: 3 * PAGE, size: PAGE, dma: 'allow' },
      ],
    });
    expect(region.covers(0, 2 * PAGE)).toBe(true);
    expect(region.covers(100, PAGE)).toBe(true);
    expect(region.covers(0, 2 * PAGE + 1)).toBe(false);
    expect(region.covers(2 * PAGE, PAGE)).toBe(false);
    expect(region.covers(3 * PAGE, PAGE)).toBe(true);
    expect(region.covers(3 * PAGE, 0)).toBe(false);
    expect(region.covers(-1, PAGE)).toBe(false);
  });
});
