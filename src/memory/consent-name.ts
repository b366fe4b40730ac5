/*
 * A region's memfd carries its name, size and consent in its file name.
 *
 * Inside one process (st_dev, st_ino) leads from an fd to the region and its policy. A server in another process that is
 * handed the same fd for DMA knows neither; the file name is what every holder of an fd can read, and nobody can change
 * afterwards. So the rule of consent (R3) also holds between processes, and /proc/PID/maps says which region is mapped.
 *
 * The limit: the name says what was allowed when the fd was first given away. A driver that withdraws consent later cuts
 * off the IOMMUs of its own process at once, those of another process only by suspending the region.
 */
import type { Consent } from '../core/index.ts';

/** Longest name that memfd_create(2) takes, in bytes without the final NUL. */
const MEMFD_NAME_BYTES_MAX = 249;
/** A device name is for people; it may not push the consent out of the file name. */
const DEVICE_NAME_LENGTH_MAX = 48;
const PREFIX = 'vfio-region';
/** What readlink of /proc/self/fd/N shows for a memfd: "/memfd:NAME (deleted)". */
const LINK = /^\/memfd:vfio-region:(\d{1,5}):([0-9a-f]{1,14}):([a-z0-9+,]+):([\w.-]*)(?: \(deleted\))?$/;

/** A range of a region, offsets and sizes in bytes from the region's start. */
export interface ConsentRange {
  readonly offset: number;
  readonly size: number;
}

/** What the file name of a region's memfd says. */
export interface RegionName {
  readonly index: number;
  readonly sizeBytes: number;
  /** Ranges whose driver consented to DMA: sorted, not adjacent. */
  readonly allowed: readonly ConsentRange[];
  /** Name of the device, cut to what a file name can carry. */
  readonly device: string;
}

/** The parts of a region that its file name is made of. `Region` of the core fits. */
export interface NamedRegion {
  readonly index: number;
  readonly sizeBytes: number;
  readonly areas: readonly { readonly offset: number; readonly size: number; readonly dma: Consent }[];
}

/**
 * The memfd name for a region. A list of allowed ranges that does not fit becomes "deny": another process then refuses a
 * DMA that would have been fine, which is the safe side.
 */
export function encodeRegionName(device: string, region: NamedRegion): string {
  const name = device.replace(/[^\w.-]/g, '_').slice(0, DEVICE_NAME_LENGTH_MAX);
  const head = `${PREFIX}:${region.index}:${region.sizeBytes.toString(16)}:`;
  const full = `${head}${encodeConsent(region)}:${name}`;
  return full.length <= MEMFD_NAME_BYTES_MAX ? full : `${head}deny:${name}`;
}

/** Reads the name back from the text of a /proc/PID/fd link. `null`: not a region's memfd. */
export function parseRegionName(link: string): RegionName | null {
  const match = LINK.exec(link);
  if (match === null) return null;
  const index = Number(match[1]);
  const sizeBytes = Number.parseInt(match[2]!, 16);
  const allowed = parseConsent(match[3]!, sizeBytes);
  return allowed === null ? null : { index, sizeBytes, allowed, device: match[4]! };
}

/** Whether `[offset, offset + size)` of the region lies wholly in one allowed range. */
export function consents(name: RegionName, offset: number, size: number): boolean {
  return name.allowed.some((range) => offset >= range.offset && offset + size <= range.offset + range.size);
}

function encodeConsent(region: NamedRegion): string {
  const allowed = joinRanges(region.areas.filter((area) => area.dma === 'allow'));
  if (allowed.length === 0) return 'deny';
  const first = allowed[0]!;
  if (first.offset === 0 && first.size === region.sizeBytes) return 'allow';
  return allowed.map((range) => `${range.offset.toString(16)}+${range.size.toString(16)}`).join(',');
}

function joinRanges(ranges: readonly ConsentRange[]): ConsentRange[] {
  const joined: { offset: number; size: number }[] = [];
  for (const { offset, size } of [...ranges].sort((a, b) => a.offset - b.offset)) {
    const last = joined.at(-1);
    if (last !== undefined && last.offset + last.size >= offset) {
      last.size = Math.max(last.size, offset + size - last.offset);
    } else {
      joined.push({ offset, size });
    }
  }
  return joined;
}

function parseConsent(text: string, sizeBytes: number): ConsentRange[] | null {
  if (text === 'deny') return [];
  if (text === 'allow') return [{ offset: 0, size: sizeBytes }];
  const ranges: ConsentRange[] = [];
  for (const part of text.split(',')) {
    const match = /^([0-9a-f]{1,14})\+([0-9a-f]{1,14})$/.exec(part);
    if (match === null) return null;
    const range = { offset: Number.parseInt(match[1]!, 16), size: Number.parseInt(match[2]!, 16) };
    if (range.offset + range.size > sizeBytes) return null;
    ranges.push(range);
  }
  return joinRanges(ranges);
}
