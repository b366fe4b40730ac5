/*
 * The devices of a plan: where the memory of each lies, and what page of it is what frame.
 */
import { type DeviceKind, PAGE_SIZE, REGION_LIMIT, VfioError } from '../core/index.ts';
import type { SimDevice, SimRegion } from './program.ts';

const LOW_WINDOW = 0xe000_0000;
const HIGH_WINDOW = 0x3800_0000_0000;
/** Every BAR has two places that are so far apart; the second is where `relocate` moves it. */
const PLACE_SPACING = 0x80_0000;
const DEVICE_SPACING = 0x100_0000;
const REGION_SPACING = 0x10_0000;
/** The region at this position would lie where the first region's second place is. */
const REGION_COUNT_LIMIT = PLACE_SPACING / REGION_SPACING;
/** The device with this number would have its 32-bit BARs above 4 GiB. */
const DEVICE_LIMIT = (2 ** 32 - LOW_WINDOW) / DEVICE_SPACING;
/** Above it numbers of bytes are not exact. */
const ADDRESS_LIMIT = 2 ** 52;

export interface PlannedRegion {
  readonly index: number;
  readonly pages: number;
  /** Number of its first page among all of the device's. */
  readonly firstPage: number;
  readonly dma: 'allow' | 'deny';
  readonly clearedByReset: boolean;
  /** Physical addresses at the two places. */
  readonly addresses: readonly [number, number];
  /** Whether decode, power and reset decide if it can be reached: BARs, and all memory of the kinds that have none. */
  readonly isBar: boolean;
}

export interface PlannedDevice {
  readonly name: string;
  /** Of memory 'platform': to the core it is a device that nobody opens and nothing happens to. */
  readonly kind: DeviceKind;
  readonly isMemory: boolean;
  readonly resettable: boolean;
  readonly regions: readonly PlannedRegion[];
  readonly pageCount: number;
  /** Frame number of its first page at the first place; those of the second place follow. */
  readonly firstFrame: number;
  /** By page: it moves with the BARs. */
  readonly moves: readonly boolean[];
}

/** Puts device `number` of a machine at its place. EINVAL, ENOSPC: it cannot be. */
export function plannedDevice(
  name: string,
  device: SimDevice,
  number: number,
  firstFrame: number,
): PlannedDevice {
  if (number >= DEVICE_LIMIT) throw new VfioError('ENOSPC', `a machine has at most ${DEVICE_LIMIT} devices`);
  if (device.regions.length > REGION_COUNT_LIMIT)
    throw new VfioError('ENOSPC', `${name} has more than ${REGION_COUNT_LIMIT} regions`);
  const { kind, resettable = true } = device;
  const regions: PlannedRegion[] = [];
  let pageCount = 0;
  for (const [position, region] of device.regions.entries()) {
    if (regions.some(({ index }) => index === region.index))
      throw new VfioError('EINVAL', `${name} has region ${region.index} twice`);
    const address = number * DEVICE_SPACING + position * REGION_SPACING;
    regions.push(plannedRegion(name, kind, region, address, pageCount));
    pageCount += regions.at(-1)!.pages;
  }
  return {
    name,
    kind: kind === 'memory' ? 'platform' : kind,
    isMemory: kind === 'memory',
    resettable,
    regions,
    pageCount,
    firstFrame,
    moves: regions.flatMap(({ pages, isBar }) => Array.from({ length: pages }, () => isBar)),
  };
}

/** @param within its window, in bytes, unless the program says where it is. */
function plannedRegion(
  name: string,
  kind: SimDevice['kind'],
  region: SimRegion,
  within: number,
  firstPage: number,
): PlannedRegion {
  const { index, pages = 1, dma = 'allow', clearedByReset = false } = region;
  if (!Number.isInteger(index) || index < 0 || index >= REGION_LIMIT)
    throw new VfioError('EINVAL', `${name} has a region ${index}; 0 to ${REGION_LIMIT - 1} are possible`);
  const most = REGION_SPACING / PAGE_SIZE;
  if (!Number.isInteger(pages) || pages < 1 || pages > most)
    throw new VfioError('EINVAL', `region ${index} of ${name} has ${pages} pages; 1 to ${most} are possible`);
  const { address = (region.below4GiB ? LOW_WINDOW : HIGH_WINDOW) + within } = region;
  if (address < 0 || address >= ADDRESS_LIMIT || address % PAGE_SIZE !== 0)
    throw new VfioError(
      'EINVAL',
      `region ${index} of ${name} is at ${address}; an address is a multiple of ${PAGE_SIZE} below 2^52`,
    );
  const isBar = kind === 'pci' ? index < 6 : kind !== 'memory';
  const addresses = [address, isBar ? address + PLACE_SPACING : address] as const;
  return { index, pages, firstPage, dma, clearedByReset, addresses, isBar };
}
