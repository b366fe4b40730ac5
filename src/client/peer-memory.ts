/*
 * Memory of one open device as a DMA target of another: where it is, so that it can be passed on by fd or by
 * reference. Both backings answer this; other implementations of `DeviceHandle` are asked for their fd.
 */
import type { Region } from '../core/index.ts';
import type { DeviceHandle } from './device-handle.ts';

/** A range of a region. The fd stays its device's. */
export interface PeerPlace {
  readonly fd: number;
  readonly fileOffset: number;
}

/** What the backings know about their own regions. */
export interface PeerSource {
  /** The region itself, if the device lives in this process. */
  localRegion(index: number): Region | null;
  /** EINVAL if the range is not mappable as one. */
  locateRegion(index: number, offset: number, sizeBytes: number): Promise<PeerPlace>;
}

function isPeerSource(peer: DeviceHandle): peer is DeviceHandle & PeerSource {
  return 'localRegion' in peer && 'locateRegion' in peer;
}

/** The region of a peer in this process; null for any other. */
export function localRegion(peer: DeviceHandle, index: number): Region | null {
  return isPeerSource(peer) ? peer.localRegion(index) : null;
}

/** The place of a range of a peer's region in an fd. */
export async function locatePeer(
  peer: DeviceHandle,
  index: number,
  offset: number,
  sizeBytes: number,
): Promise<PeerPlace> {
  if (isPeerSource(peer)) return peer.locateRegion(index, offset, sizeBytes);
  const info = await peer.regionInfo(index);
  return { fd: await peer.regionFd(index), fileOffset: info.offset + offset };
}
