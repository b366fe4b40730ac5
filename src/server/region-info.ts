/*
 * DEVICE_GET_REGION_INFO: size, flags, capabilities, and the fd of a mappable region.
 *
 * A reply that says MMAP always carries the fd, also when the capabilities did not fit: the protocol ties the two
 * together, and a client that asks again with more room simply gets another one.
 */
import {
  ERRNO,
  VFIO_REGION_INFO_CAP_SPARSE_MMAP,
  VFIO_REGION_INFO_CAP_TYPE,
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_MMAP,
  vfio_region_info,
  vfio_region_info_cap_sparse_mmap,
  vfio_region_info_cap_type,
  vfio_region_sparse_mmap_area,
} from '../abi/index.ts';
import { indexToOffset, type Region, type VfioDevice } from '../core/index.ts';
import { LiveRegionMemory } from '../memory/index.ts';
import type { Message } from './message.ts';
import { NO_FDS } from './message.ts';

/** Answers DEVICE_GET_REGION_INFO. EINVAL: too short, or no such index. A region that is not implemented has size 0. */
export function getRegionInfo(device: VfioDevice, clientTakesFds: boolean, message: Message): number {
  const { size, at } = vfio_region_info;
  if (message.bodyBytes < size) return ERRNO.EINVAL;
  const argsz = message.view.getUint32(message.body + at.argsz, true);
  const index = message.view.getUint32(message.body + at.index, true);
  if (argsz < size || index >= device.regionCount) return ERRNO.EINVAL;
  const region = device.regions.get(index);
  const fds = region !== undefined && clientTakesFds ? fdsOf(region) : NO_FDS;
  message.replyWithFds(encodeRegionInfo(index, region, argsz, fds.length > 0), fds);
  return 0;
}

/** The fd behind a mappable region; none if its memory is not a file. */
function fdsOf(region: Region): readonly number[] {
  return region.memory instanceof LiveRegionMemory ? [region.memory.shareFd()] : NO_FDS;
}

/** The reply: all of it if it fits into `argsz`, else the fixed part, whose argsz says how much is needed. */
export function encodeRegionInfo(
  index: number,
  region: Region | undefined,
  argsz: number,
  withFd: boolean,
): Uint8Array<ArrayBuffer> {
  const fixedBytes = vfio_region_info.size;
  const sparseBytes = region?.sparse ? sparseSize(region) : 0;
  const typeBytes = region?.type ? vfio_region_info_cap_type.size : 0;
  const neededBytes = fixedBytes + sparseBytes + typeBytes;
  const capabilities = neededBytes > fixedBytes && neededBytes <= argsz;
  const body = new Uint8Array(capabilities ? neededBytes : fixedBytes);
  const view = new DataView(body.buffer);
  let flags = region?.flags ?? 0;
  if (!capabilities) flags &= ~VFIO_REGION_INFO_FLAG_CAPS;
  if (!withFd) flags &= ~VFIO_REGION_INFO_FLAG_MMAP;
  vfio_region_info.encode(view, 0, {
    argsz: neededBytes,
    flags,
    index,
    cap_offset: capabilities ? fixedBytes : 0,
    size: region?.sizeBytes ?? 0,
    offset: indexToOffset(index),
  });
  if (!capabilities || region === undefined) return body;
  if (sparseBytes > 0) putSparse(view, fixedBytes, region, typeBytes > 0 ? fixedBytes + sparseBytes : 0);
  if (typeBytes > 0) putType(view, fixedBytes + sparseBytes, region);
  return body;
}

function sparseSize(region: Region): number {
  return vfio_region_info_cap_sparse_mmap.size + region.areas.length * vfio_region_sparse_mmap_area.size;
}

function putSparse(view: DataView, at: number, region: Region, next: number): void {
  vfio_region_info_cap_sparse_mmap.encode(view, at, {
    id: VFIO_REGION_INFO_CAP_SPARSE_MMAP,
    version: 1,
    next,
    nr_areas: region.areas.length,
  });
  let place = at + vfio_region_info_cap_sparse_mmap.size;
  for (const { offset, size } of region.areas) {
    vfio_region_sparse_mmap_area.encode(view, place, { offset, size });
    place += vfio_region_sparse_mmap_area.size;
  }
}

function putType(view: DataView, at: number, region: Region): void {
  vfio_region_info_cap_type.encode(view, at, {
    id: VFIO_REGION_INFO_CAP_TYPE,
    version: 1,
    next: 0,
    type: region.type?.type ?? 0,
    subtype: region.type?.subtype ?? 0,
  });
}
