/*
 * R9 type1 parity: map and unmap answer as Linux's type1 v2.
 *
 * The tables are what a Linux 7.3 kernel answered when its VFIO (legacy container, VFIO_TYPE1v2_IOMMU behind an emulated
 * Intel IOMMU) was asked the same in the same order. Each row has the name of the probe's record. Rows that only a message or
 * an ioctl can express are tested where messages are: argsz, unknown flags, the VADDR and dirty-bitmap flags
 * (3.map-argsz16, 3.map-flags-unknown, 3.unmap-vaddr-flag, ...). A vaddr of the probe is an offset in a source here.
 */
import { describe, expect, it } from 'vitest';
import {
  attachPlainMemory,
  Container,
  type ContainerOptions,
  DeviceMemory,
  type DmaFaultReason,
  type DmaSource,
  type Region,
  Translation,
  VfioDevice,
  VfioError,
} from '../../src/core/index.ts';

const R = 1;
const W = 2;
const RW = 3;
const WRAPPING = 2 ** 64 - 0x1000;
const RAM_IOVA = 0x10_0000;

/** IOVA ranges of the probed machine, record 2.iommu_cap id=1: [0..fedfffff] [fef00000..ffffffffffff]. */
const PROBED: ContainerOptions = { msiHole: true, iovaRanges: [{ start: 0, end: 2 ** 48 }] };

/** A process's memory, as far as pinning it matters: it may be read-only, and pages may be missing. */
class ProcessMemory implements DmaSource {
  readonly kind = 'client';
  readonly description = 'memory of a process';
  readonly #writable: boolean;
  readonly #hole: number;

  /** @param hole offset of the first missing byte. */
  constructor(writable: boolean = true, hole: number = Infinity) {
    this.#writable = writable;
    this.#hole = hole;
  }

  unavailable(offset: number, size: number): DmaFaultReason | null {
    return offset + size > this.#hole ? 'memory was lost' : null;
  }

  admit(offset: number, size: number, _read: boolean, write: boolean): void {
    if (this.unavailable(offset, size) !== null) throw new VfioError('EFAULT', 'nothing is there to pin');
    if (write && !this.#writable)
      throw new VfioError('EFAULT', 'read-only memory cannot be pinned for writing');
  }

  detach(): void {}
}

/** One call, and what the kernel said: '0', an errno, or for a successful unmap the size it gave back. */
type Row =
  | {
      record: string;
      map: [iova: number, size: number, rights: number];
      at?: number;
      source?: DmaSource;
      says: string;
    }
  | { record: string; unmap: [iova: number, size: number]; all?: boolean; says: string | number };

const ram = new ProcessMemory();
const readOnly = new ProcessMemory(false);
const absent = new ProcessMemory(true, 0);
const withHole = new ProcessMemory(true, 0x2000);

/** Records 3.*: one container from beginning to end. Rows without a number prepare the next one, as the probe did. */
const SECTION_3: readonly Row[] = [
  { record: '3.map', map: [RAM_IOVA, 0x10000, RW], says: '0' },
  { record: '3.map-same', map: [RAM_IOVA, 0x10000, RW], says: 'EEXIST' },
  { record: '3.map-overlap', map: [RAM_IOVA + 0xf000, 0x2000, RW], says: 'EEXIST' },
  { record: '3.map-flags0', map: [0x300000, 0x1000, 0], says: 'EINVAL' },
  { record: '3.map-iova-unaligned', map: [0x300800, 0x1000, RW], says: 'EINVAL' },
  { record: '3.map-vaddr-unaligned', map: [0x300000, 0x1000, RW], at: 0x800, says: 'EINVAL' },
  { record: '3.map-size-unaligned', map: [0x300000, 0x1800, RW], says: 'EINVAL' },
  { record: '3.map-size0', map: [0x300000, 0, RW], says: 'EINVAL' },
  { record: '3.map-iova-wrap', map: [WRAPPING, 0x2000, RW], says: 'EOVERFLOW' },
  { record: '3.map-vaddr-wrap', map: [0x300000, 0x2000, RW], at: WRAPPING, says: 'EOVERFLOW' },
  { record: '3.map-vaddr-unmapped', map: [0x300000, 0x1000, RW], source: absent, says: 'EFAULT' },
  { record: '3.map-msi-window', map: [0xfee00000, 0x1000, RW], says: 'EINVAL' },
  { record: '3.map-high-iova-1<<48', map: [2 ** 48, 0x1000, RW], says: 'EINVAL' },
  { record: '3.map-iova-1<<39', map: [2 ** 39, 0x1000, RW], says: '0' },
  { record: 'prepares', unmap: [2 ** 39, 0x1000], says: 0x1000 },
  { record: '3.map-ro-memory-with-WRITE', map: [0x300000, 0x1000, RW], source: readOnly, says: 'EFAULT' },
  { record: '3.map-ro-memory-READ-only', map: [0x300000, 0x1000, R], source: readOnly, says: '0' },
  { record: 'prepares', unmap: [0x300000, 0x1000], says: 0x1000 },
  { record: '3.map-READ-only', map: [0x300000, 0x1000, R], says: '0' },
  { record: '3.map-WRITE-only', map: [0x301000, 0x1000, W], says: '0' },
  { record: '3.unmap-two-adjacent', unmap: [0x300000, 0x2000], says: 0x2000 },
  { record: 'prepares', map: [0x300000, 0x2000, RW], says: '0' },
  { record: '3.unmap-part-head', unmap: [0x300000, 0x1000], says: 'EINVAL' },
  { record: '3.unmap-part-tail', unmap: [0x301000, 0x1000], says: 'EINVAL' },
  { record: '3.unmap-straddle', unmap: [0x2ff000, 0x2000], says: 'EINVAL' },
  { record: '3.unmap-superset', unmap: [0x2f0000, 0x20000], says: 0x2000 },
  { record: '3.unmap-nothing-there', unmap: [0x300000, 0x2000], says: 0 },
  { record: '3.unmap-size0', unmap: [0x300000, 0], says: 'EINVAL' },
  { record: '3.unmap-iova-unaligned', unmap: [0x300800, 0x1000], says: 'EINVAL' },
  { record: '3.unmap-size-unaligned', unmap: [0x300000, 0x800], says: 'EINVAL' },
  { record: '3.unmap-wrap', unmap: [WRAPPING, 0x2000], says: 'EOVERFLOW' },
  { record: '3.unmap-all-iova-nonzero', unmap: [0x1000, 0], all: true, says: 'EINVAL' },
  { record: '3.unmap-all-size-nonzero', unmap: [0, 0x1000], all: true, says: 'EINVAL' },
  { record: '3.unmap-all', unmap: [0, 0], all: true, says: 0x10000 },
  { record: '3.map-again', map: [RAM_IOVA, 0x10000, RW], says: '0' },
  { record: '3.map-hole-in-vma', map: [0x400000, 0x4000, RW], source: withHole, says: 'EFAULT' },
  { record: '3.unmap-after-failed-map', unmap: [0x400000, 0x4000], says: 0 },
  { record: '3.map-then-munmap', map: [0x400000, 0x1000, RW], source: withHole, says: '0' },
  { record: '3.unmap-after-munmap-of-the-vaddr', unmap: [0x400000, 0x1000], says: 0x1000 },
];

/** What one row gets from a container: as `says`. */
function answer(container: Container, row: Row): string | number {
  try {
    if ('unmap' in row) return container.unmap(row.unmap[0], row.unmap[1], { all: row.all ?? false });
    const [iova, size, rights] = row.map;
    const [read, write] = [(rights & R) !== 0, (rights & W) !== 0];
    container.map({ iova, size, read, write, source: row.source ?? ram, sourceOffset: row.at ?? 0 });
    return '0';
  } catch (error) {
    if (error instanceof VfioError) return error.code;
    throw error;
  }
}

/** The rows in which a container answers something else than the kernel. */
function differences(container: Container, rows: readonly Row[]): string[] {
  return rows.flatMap((row) => {
    const got = answer(container, row);
    return got === row.says ? [] : [`${row.record}: ${got} and not ${row.says}`];
  });
}

/** A BAR of 64 KiB, as the probe mapped it (section 6: ivshmem, nvme CMB and pci-testdev all answered the same). */
function bar(write: boolean = true): Region {
  const sizeBytes = 0x10000;
  const areas = [{ offset: 0, size: sizeBytes, dma: 'allow' as const }];
  const regions = [{ index: 2, sizeBytes, areas, write }];
  const device = new VfioDevice({ name: 'bar', kind: 'pci', regions, irqs: [] });
  attachPlainMemory(device);
  return device.region(2);
}

const BAR_IOVA = 0x500_0000;

function mapBar(region: Region, rights: number = RW, size: number = 0x10000): Row {
  const source = new DeviceMemory({ region, offset: 0, sizeBytes: 0x10000 });
  return { record: 'map-BAR', map: [BAR_IOVA, size, rights], source, says: '0' };
}

describe('memory of a process', () => {
  it.each(SECTION_3.map((row, at) => [row.record, at] as const))('%s (row %i)', (_record, at) => {
    const container = new Container(PROBED);
    for (const row of SECTION_3.slice(0, at)) answer(container, row);
    expect(answer(container, SECTION_3[at]!)).toBe(SECTION_3[at]!.says);
  });

  it('is mapped as the kernel maps it over the whole table', () => {
    expect(differences(new Container(PROBED), SECTION_3)).toEqual([]);
  });

  it('canary: other answers that are in use are seen', () => {
    // iommufd's own unmap: ENOENT where nothing is.
    class Iommufd extends Container {
      override unmap(iova: number, size: number, options?: { readonly all?: boolean }): number {
        const bytes = super.unmap(iova, size, options);
        if (bytes === 0) throw new VfioError('ENOENT', 'nothing is mapped there');
        return bytes;
      }
    }
    // type1 before v2: the first page of a mapping stands for all of it, a later one for nothing.
    class Type1 extends Container {
      override unmap(iova: number, size: number, options?: { readonly all?: boolean }): number {
        const first = this.find(iova);
        if (first === undefined || options?.all || size % 0x1000 !== 0 || size === 0)
          return super.unmap(iova, size, options);
        return first.iova === iova ? super.unmap(iova, Math.max(size, first.size)) : 0;
      }
    }
    expect(differences(new Iommufd(PROBED), SECTION_3)).toEqual([
      '3.unmap-nothing-there: ENOENT and not 0',
      '3.unmap-after-failed-map: ENOENT and not 0',
    ]);
    expect(differences(new Type1(PROBED), SECTION_3)).toContain('3.unmap-part-head: 8192 and not EINVAL');
    expect(differences(new Container(), SECTION_3)).toEqual([
      '3.map-msi-window: 0 and not EINVAL',
      '3.map-high-iova-1<<48: 0 and not EINVAL',
      expect.stringContaining('3.unmap-all'),
    ]);
  });
});

describe('what the container says about itself', () => {
  it('2.iommu_cap id=3 and id=1: 65535 mappings, two ranges around the MSI window', () => {
    const container = new Container(PROBED);
    expect(container.available).toBe(65_535);
    // The capability's ends are inclusive.
    expect(container.iovaRanges.map(({ start, end }) => [start, end - 1])).toEqual([
      [0, 0xfedfffff],
      [0xfef00000, 0xffffffffffff],
    ]);
  });

  it('10.unmap-after-last-group-left, 1.map-no-iommu: EINVAL without an IOMMU', () => {
    const container = new Container(PROBED);
    answer(container, SECTION_3[0]!);
    container.close();
    expect(answer(container, { record: '10', unmap: [RAM_IOVA, 0x10000], says: 'EINVAL' })).toBe('EINVAL');
    expect(answer(container, SECTION_3[0]!)).toBe('EINVAL');
  });
});

describe('memory of a device', () => {
  it('6.*.i: cannot be mapped while memory decode is off, and an older entry stays', () => {
    const region = bar();
    const container = new Container(PROBED);
    expect(answer(container, mapBar(region))).toBe('0');
    region.device.suspend('memory decode is off');
    // The probe's map-dma-while-disabled was at another IOVA than the entry.
    expect(answer(new Container(PROBED), mapBar(region))).toBe('EFAULT');
    expect(answer(container, mapBar(bar()))).toBe('EEXIST');
    region.device.resume('memory decode is off');
    expect(container.translate(BAR_IOVA, 4, true, new Translation())).toBeNull();
  });

  it('6.*.iv: the entry of a released device stays until it is unmapped, with its full size', () => {
    const region = bar();
    const container = new Container(PROBED);
    answer(container, mapBar(region));
    region.device.release();
    expect(
      differences(container, [
        { ...mapBar(bar()), record: '6.*.iv.map-over-IOVA', says: 'EEXIST' },
        { record: '6.*.iv.UNMAP_DMA', unmap: [BAR_IOVA, 0x10000], says: 0x10000 },
        { record: '6.*.iv.UNMAP_DMA-again', unmap: [BAR_IOVA, 0x10000], says: 0 },
      ] as Row[]),
    ).toEqual([]);
  });

  it('7.map-ro-BAR-vma, 7.map-over-end-of-BAR-vma: EFAULT, and nothing is left behind', () => {
    expect(answer(new Container(PROBED), mapBar(bar(false), RW))).toBe('EFAULT');
    expect(answer(new Container(PROBED), mapBar(bar(false), R))).toBe('0');
    const container = new Container(PROBED);
    expect(answer(container, mapBar(bar(), RW, 0x20000))).toBe('EFAULT');
    expect(answer(container, { record: '7.unmap-after', unmap: [BAR_IOVA, 0x20000], says: 0 })).toBe(0);
  });

  it('differs on purpose where type1 goes on reaching what is gone (R4, R6)', () => {
    // 6.*.i.edu-dma-read-of-BAR-IOVA and 6.ivshmem.iv.edu-dma-read-after-release: there the DMA went out, "dma rc 0/0".
    const region = bar();
    const container = new Container(PROBED);
    const out = new Translation();
    answer(container, mapBar(region));
    region.device.suspend('memory decode is off');
    expect(container.translate(BAR_IOVA, 4, false, out)).toMatchObject({ reason: 'memory decode is off' });
    region.device.release();
    expect(container.translate(BAR_IOVA, 4, false, out)).toMatchObject({ reason: 'device is released' });
  });

  it('differs on purpose without consent (R3): type1 takes any device, this one says EINVAL', () => {
    const region = bar();
    region.setConsent(0, 'deny');
    expect(answer(new Container(PROBED), mapBar(region))).toBe('EINVAL');
  });
});
