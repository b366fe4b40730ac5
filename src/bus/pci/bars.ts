/*
 * Base address registers: from a BarSpec to the register in the header, to the region behind it, and back from what
 * software wrote to the address where the BAR is. Sizing needs no code: the bits below the size are not writable, so
 * all ones read back as the size mask.
 */
import {
  PCI_BASE_ADDRESS_0,
  PCI_BASE_ADDRESS_MEM_PREFETCH,
  PCI_BASE_ADDRESS_MEM_TYPE_64,
  PCI_BASE_ADDRESS_SPACE_IO,
  PCI_STD_NUM_BARS,
} from '../../abi/index.ts';
import { assert, type MappableArea, PAGE_SIZE } from '../../core/index.ts';
import type { ConfigImage, ConfigSpace } from './config-space.ts';
import { msixPlaces } from './msix.ts';
import type { BarIndex, BarSpec, PciDeviceSpec } from './spec.ts';

/** Limits of the PCI specification, and of the region coding for `mem64`. */
const SIZE_LIMITS = {
  io: [4, 256],
  mem32: [16, 2 ** 31],
  mem64: [16, 2 ** 40],
} as const;

/** A declared BAR with its place. */
export interface Bar {
  readonly index: BarIndex;
  readonly spec: BarSpec;
  readonly areas: readonly MappableArea[];
}

/** The BARs of a spec by ascending index. Throws what is wrong with them. */
export function barsOf(spec: PciDeviceSpec): Bar[] {
  const bars: Bar[] = [];
  let nextFree = 0;
  for (const [key, bar] of Object.entries(spec.bars ?? {}).sort()) {
    const index = Number(key) as BarIndex;
    const name = `${spec.name}, BAR${index}`;
    const last = bar.type === 'mem64' ? index + 1 : index;
    assert(index >= nextFree, `${name}: the 64-bit BAR below it takes this register too`);
    assert(last < PCI_STD_NUM_BARS, `${name}: there are six registers, and a 64-bit BAR needs two`);
    nextFree = last + 1;
    checkSize(name, bar);
    bars.push({ index, spec: bar, areas: areasOf(name, index, bar, spec) });
  }
  checkMsix(spec, bars);
  return bars;
}

function checkSize(name: string, bar: BarSpec): void {
  const [least, most] = SIZE_LIMITS[bar.type];
  const { sizeBytes } = bar;
  const fits = Number.isSafeInteger(sizeBytes) && Number.isInteger(Math.log2(sizeBytes));
  assert(fits, `${name}: size ${sizeBytes} is not a power of two`);
  assert(
    sizeBytes >= least && sizeBytes <= most,
    `${name}: size ${sizeBytes}; a '${bar.type}' BAR has ${least} to ${most}`,
  );
  const memory = bar.type !== 'io';
  assert(memory || !(bar.prefetchable ?? false), `${name}: I/O is not prefetchable`);
  assert(memory || bar.mappable === undefined, `${name}: I/O is not mappable`);
  assert(
    bar.dma === undefined || bar.mappable === true,
    `${name}: 'dma' goes with 'mappable: true'; areas say it each for itself`,
  );
}

/** The mappable areas: as declared, or everything but the pages that MSI-X lies on. */
function areasOf(name: string, index: number, bar: BarSpec, spec: PciDeviceSpec): MappableArea[] {
  if (bar.mappable === undefined) return [];
  assert(bar.sizeBytes >= PAGE_SIZE, `${name}: only whole pages of ${PAGE_SIZE} bytes are mappable`);
  const taken = msixRanges(spec, index);
  if (bar.mappable !== true) {
    for (const area of bar.mappable) {
      const clear = taken.every(([start, end]) => area.offset >= end || area.offset + area.size <= start);
      assert(clear, `${name}: the area at 0x${area.offset.toString(16)} contains the MSI-X table or PBA`);
    }
    return [...bar.mappable];
  }
  const areas: MappableArea[] = [];
  let start = 0;
  for (const [from, to] of [...taken, [bar.sizeBytes, bar.sizeBytes] as const]) {
    const end = Math.floor(from / PAGE_SIZE) * PAGE_SIZE;
    if (end > start) areas.push({ offset: start, size: end - start, dma: bar.dma ?? 'deny' });
    start = Math.max(start, Math.ceil(to / PAGE_SIZE) * PAGE_SIZE);
  }
  assert(areas.length > 0, `${name}: mappable, but MSI-X is on all of its pages`);
  return areas;
}

/** [start, end) of what MSI-X has in a BAR, ascending. */
function msixRanges(spec: PciDeviceSpec, bar: number): (readonly [number, number])[] {
  const declared = (spec.capabilities ?? []).find((capability) => capability.type === 'msix');
  if (declared === undefined) return [];
  const { tableBar, tableOffset, tableBytes, pbaBar, pbaOffset, pbaBytes } = msixPlaces(declared);
  const ranges: [number, number][] = [];
  if (tableBar === bar) ranges.push([tableOffset, tableOffset + tableBytes]);
  if (pbaBar === bar) ranges.push([pbaOffset, pbaOffset + pbaBytes]);
  return ranges.sort((a, b) => a[0] - b[0]);
}

function checkMsix(spec: PciDeviceSpec, bars: readonly Bar[]): void {
  for (let index = 0; index < PCI_STD_NUM_BARS; index++) {
    const ranges = msixRanges(spec, index);
    if (ranges.length === 0) continue;
    const bar = bars.find((candidate) => candidate.index === index);
    assert(bar !== undefined && bar.spec.type !== 'io', `${spec.name}: MSI-X needs a memory BAR${index}`);
    for (const [, end] of ranges) {
      assert(
        end <= bar.spec.sizeBytes,
        `${spec.name}: MSI-X ends at 0x${end.toString(16)}, beyond BAR${index}`,
      );
    }
    const [first, second] = ranges;
    assert(second === undefined || first![1] <= second[0], `${spec.name}: MSI-X table and PBA overlap`);
  }
}

/** Defines the BAR's registers in the image of the header. */
export function defineBar(image: ConfigImage, bar: Bar): void {
  const { type, sizeBytes, prefetchable } = bar.spec;
  const at = PCI_BASE_ADDRESS_0 + 4 * bar.index;
  if (type === 'io') {
    image.u32(at, PCI_BASE_ADDRESS_SPACE_IO, -sizeBytes >>> 0);
    return;
  }
  const flags =
    (type === 'mem64' ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0) |
    ((prefetchable ?? false) ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0);
  // The size mask in 64 bits: from 4 GiB on nothing of the lower half is writable.
  image.u32(at, flags, sizeBytes < 2 ** 32 ? -sizeBytes >>> 0 : 0);
  if (type === 'mem64')
    image.u32(at + 4, 0, sizeBytes <= 2 ** 32 ? 0xffff_ffff : -(sizeBytes / 2 ** 32) >>> 0);
}

/** What software wrote into the BAR, without the flag bits; 0 is an address that nobody assigned. */
export function addressOf(config: ConfigSpace, bar: Bar): number {
  const at = PCI_BASE_ADDRESS_0 + 4 * bar.index;
  const low = config.get32(at);
  if (bar.spec.type === 'io') return (low & ~0x3) >>> 0;
  const high = bar.spec.type === 'mem64' ? config.get32(at + 4) : 0;
  return high * 2 ** 32 + ((low & ~0xf) >>> 0);
}
