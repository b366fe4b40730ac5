/*
 * Reads the answer to GET_REGION_INFO: the fixed part, the chain of capabilities, and which fd each mappable area
 * lies in. A server may be wrong in any of it, so everything is checked before somebody maps by it.
 */
import {
  isExactU64,
  readU64,
  VFIO_REGION_INFO_CAP_SPARSE_MMAP,
  VFIO_REGION_INFO_CAP_TYPE,
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_MMAP,
  VFIO_USER_REGION_INFO_CAP_SPARSE_MMAP_FDS,
  vfio_info_cap_header,
  vfio_region_info,
  vfio_region_info_cap_sparse_mmap,
  vfio_region_info_cap_type,
  vfio_region_sparse_mmap_area,
  vfio_user_region_sparse_mmap_fd_area,
} from '../abi/index.ts';
import { PAGE_SIZE, type RegionType } from '../core/index.ts';
import { CAPABILITIES_MAX, REGION_INFO_BYTES_MAX } from './limits.ts';
import { protocolError } from './reply-error.ts';

/** A part of a region and where it lies in one of the fds that came with the reply. */
export interface AreaPlace {
  readonly offset: number;
  readonly size: number;
  readonly fdIndex: number;
  readonly fileOffset: number;
}

/** One reply, checked. */
export interface RegionReply {
  /** What the reply would need in full; more than its length: ask again. */
  readonly argsz: number;
  readonly flags: number;
  readonly sizeBytes: number;
  readonly offset: number;
  /** Mappable areas; empty if the region cannot be mapped, or if no fd came. */
  readonly areas: readonly AreaPlace[];
  readonly type: RegionType | null;
}

/** @throws VfioError EPROTO for a reply that contradicts itself or the request */
export function readRegionInfo(view: DataView, index: number, fdCount: number): RegionReply {
  if (view.byteLength < vfio_region_info.size) throw wrong(index, `of ${view.byteLength} bytes`);
  const info = vfio_region_info.decode(view, 0);
  if (info.index !== index) throw wrong(index, `for region ${info.index}`);
  if (info.argsz < vfio_region_info.size || info.argsz > REGION_INFO_BYTES_MAX) {
    throw wrong(index, `that needs ${info.argsz} bytes`);
  }
  if (!Number.isSafeInteger(info.size)) throw wrong(index, `of a region of ${info.size} bytes`);
  const capabilities = readCapabilities(view, index, info.flags, info.cap_offset);
  const exactOffset = isExactU64(view, vfio_region_info.at.offset) && Number.isSafeInteger(info.offset);
  const mappable =
    (info.flags & VFIO_REGION_INFO_FLAG_MMAP) !== 0 && fdCount > 0 && info.size > 0 && exactOffset;
  return {
    argsz: info.argsz,
    flags: info.flags,
    sizeBytes: info.size,
    offset: info.offset,
    areas: mappable ? placeAreas(view, index, info, capabilities, fdCount) : [],
    type: readType(view, capabilities),
  };
}

/** Offsets of the capabilities by id. */
type Capabilities = ReadonlyMap<number, number>;

interface FixedInfo {
  readonly size: number;
  readonly offset: number;
}

function wrong(index: number, what: string): Error {
  return protocolError(`region info ${what} (asked for region ${index})`);
}

function readCapabilities(view: DataView, index: number, flags: number, first: number): Capabilities {
  const found = new Map<number, number>();
  // Without the flag, or when the reply was cut to its fixed part, there is no chain to follow.
  if ((flags & VFIO_REGION_INFO_FLAG_CAPS) === 0 || view.byteLength === vfio_region_info.size) return found;
  for (let at = first; at !== 0; ) {
    if (at < vfio_region_info.size || at + vfio_info_cap_header.size > view.byteLength) {
      throw wrong(index, `with a capability at ${at} of ${view.byteLength} bytes`);
    }
    if (found.size >= CAPABILITIES_MAX) throw wrong(index, 'with a chain of capabilities that does not end');
    const { id, next } = vfio_info_cap_header.decode(view, at);
    if (next !== 0 && next <= at) throw wrong(index, 'with a chain of capabilities that goes backwards');
    found.set(id, at);
    at = next;
  }
  return found;
}

function readType(view: DataView, capabilities: Capabilities): RegionType | null {
  const at = capabilities.get(VFIO_REGION_INFO_CAP_TYPE);
  if (at === undefined || at + vfio_region_info_cap_type.size > view.byteLength) return null;
  const { type, subtype } = vfio_region_info_cap_type.decode(view, at);
  return { type, subtype };
}

function placeAreas(
  view: DataView,
  index: number,
  info: FixedInfo,
  capabilities: Capabilities,
  fdCount: number,
): AreaPlace[] {
  const perFd = capabilities.get(VFIO_USER_REGION_INFO_CAP_SPARSE_MMAP_FDS);
  const sparse = capabilities.get(VFIO_REGION_INFO_CAP_SPARSE_MMAP);
  let areas: AreaPlace[];
  if (perFd !== undefined) areas = readFdAreas(view, index, perFd);
  else if (sparse !== undefined) areas = readAreas(view, index, sparse, info.offset);
  else areas = [{ offset: 0, size: info.size, fdIndex: 0, fileOffset: info.offset }];
  for (const area of areas) {
    if (!(area.offset + area.size <= info.size)) {
      throw wrong(index, `with an area ${area.offset}+${area.size} outside the region's ${info.size} bytes`);
    }
    if (area.fdIndex >= fdCount) throw wrong(index, `with an area in fd ${area.fdIndex} of ${fdCount}`);
  }
  return areas.filter((area) => area.size > 0 && isPage(area.offset) && isPage(area.fileOffset));
}

function countAreas(view: DataView, index: number, at: number, areaBytes: number): number {
  const { size } = vfio_region_info_cap_sparse_mmap;
  if (at + size > view.byteLength) throw wrong(index, 'with half a capability');
  const { nr_areas: count } = vfio_region_info_cap_sparse_mmap.decode(view, at);
  if (at + size + count * areaBytes > view.byteLength)
    throw wrong(index, `with ${count} areas that are not there`);
  return count;
}

function readAreas(view: DataView, index: number, at: number, regionOffset: number): AreaPlace[] {
  const layout = vfio_region_sparse_mmap_area;
  const count = countAreas(view, index, at, layout.size);
  const areas: AreaPlace[] = [];
  for (let i = 0; i < count; i++) {
    const area = layout.decode(view, at + vfio_region_info_cap_sparse_mmap.size + i * layout.size);
    areas.push({ offset: area.offset, size: area.size, fdIndex: 0, fileOffset: regionOffset + area.offset });
  }
  return areas;
}

function readFdAreas(view: DataView, index: number, at: number): AreaPlace[] {
  const layout = vfio_user_region_sparse_mmap_fd_area;
  const count = countAreas(view, index, at, layout.size);
  const areas: AreaPlace[] = [];
  for (let i = 0; i < count; i++) {
    const base = at + vfio_region_info_cap_sparse_mmap.size + i * layout.size;
    areas.push({
      offset: readU64(view, base + layout.at.offset),
      size: readU64(view, base + layout.at.size),
      fdIndex: view.getUint32(base + layout.at.fd_index, true),
      fileOffset: readU64(view, base + layout.at.fd_offset),
    });
  }
  return areas;
}

function isPage(offset: number): boolean {
  return Number.isSafeInteger(offset) && offset % PAGE_SIZE === 0;
}
