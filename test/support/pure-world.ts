/*
 * The smallest world in which the rules of the core can be seen at work: a device of any kind with plain
 * memory, processes that touch it through page tables, and a container that reaches it by DMA. No operating
 * system.
 */
import {
  attachPlainMemory,
  type Container,
  type DeviceKind,
  DeviceMemory,
  type DmaFaultReason,
  offsetToIndex,
  PAGE_SIZE,
  type PlainRegionMemory,
  pgoffToOffset,
  type Region,
  Translation,
  VfioDevice,
  Vma,
} from '../../src/core/index.ts';

export const PAGE: number = PAGE_SIZE;
export const KINDS: readonly DeviceKind[] = ['pci', 'platform', 'fsl-mc', 'mdev'];

/** Pages of each region of a `card`. */
export const PAGES = 16;

/** Region indexes of a `card`: three BARs, ROM, config, VGA and two device-specific regions. */
export const INDEXES: readonly number[] = [0, 2, 5, 6, 7, 8, 9, 10];

/** A device whose regions are all memory, wholly mappable and wholly DMA targets. */
export function card(kind: DeviceKind = 'pci', resettable: boolean = false): VfioDevice {
  const size = PAGES * PAGE;
  const areas = [{ offset: 0, size, dma: 'allow' as const }];
  const regions = INDEXES.map((index) => ({ index, sizeBytes: size, areas }));
  const device = new VfioDevice({ name: `${kind} card`, kind, regions, irqs: [], resettable });
  attachPlainMemory(device);
  return device;
}

/** The plain memory behind a region of a `card`. */
export function memoryOf(region: Region): PlainRegionMemory {
  return region.memory as PlainRegionMemory;
}

/** mmap: `process` maps pages [page, page + count) of a region. */
export function mmap(region: Region, process: string, page: number = 0, count: number = PAGES): Vma {
  const { device } = region;
  const vma = new Vma({
    file: device.file,
    process,
    start: 0x7000_0000_0000 + region.index * 0x1000_0000,
    sizeBytes: count * PAGE,
    pgoff: region.offset / PAGE + page,
  });
  device.addressSpace.insert(vma);
  return vma;
}

/** Page tables of every process: filled by faults, emptied by the zap port. */
export class PageTables {
  /** How often a touch had to fault. */
  faults = 0;
  readonly #present: Map<Vma, Set<number>> = new Map();

  constructor(device: VfioDevice) {
    device.addressSpace.onZap = (vma, start, length) => {
      const pages = this.#present.get(vma);
      for (let address = start; address < start + length; address += PAGE) pages?.delete(address);
    };
  }

  /**
   * A load at `address`. The fault handler is the one of vfio-pci: region and reach by the pgoff as it is
   * now.
   */
  touch(vma: Vma, address: number = vma.start): 'ok' | 'SIGBUS' {
    const page = address - (address % PAGE);
    let pages = this.#present.get(vma);
    if (pages?.has(page)) return 'ok';
    this.faults++;
    const { device } = vma.file as { device: VfioDevice };
    const region = device.regions.get(offsetToIndex(pgoffToOffset(vma.pgoff)));
    if (region === undefined || device.accessible(region) !== null) return 'SIGBUS';
    if (pages === undefined) {
      pages = new Set();
      this.#present.set(vma, pages);
    }
    pages.add(page);
    return 'ok';
  }
}

/** MAP_DMA of a whole region at an IOVA of its own; returns that IOVA. */
export function mapDma(
  container: Container,
  region: Region,
  offset: number = 0,
  size: number = PAGES * PAGE,
): number {
  const iova = (region.index + 1) * 0x1000_0000 + offset;
  const source = new DeviceMemory({ region, offset, sizeBytes: size });
  container.map({ iova, size, read: true, write: true, source });
  return iova;
}

/** What a DMA read of one page at `iova` meets: 'ok' or the fault's reason. */
export function dma(container: Container, iova: number): 'ok' | DmaFaultReason {
  const fault = container.translate(iova, PAGE, false, new Translation());
  return fault === null ? 'ok' : fault.reason;
}

/** A read message of one byte: 0, or the errno. */
export function readMessage(region: Region, offset: number = 0): unknown {
  return region.read(offset, 1, new DataView(new ArrayBuffer(1)), 0);
}

/** A write message of one byte: 0, or the errno. */
export function writeMessage(region: Region, offset: number, value: number): unknown {
  return region.write(offset, 1, new DataView(Uint8Array.of(value).buffer), 0);
}
