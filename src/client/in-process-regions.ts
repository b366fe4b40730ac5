/*
 * Regions of a device in this process: info as a server would give it, and mappings by the region's own memfd, so that
 * a mapping here is cut off and comes back as in any other process.
 */
import { indexToOffset, type Region, type VfioDevice, VfioError } from '../core/index.ts';
import { attachMemory, LiveRegionMemory } from '../memory/index.ts';
import type { SysLayer } from '../sys/sys-layer.ts';
import type { MappedRegion, RegionInfo } from './device-handle.ts';
import type { PeerPlace } from './peer-memory.ts';
import { defaultRange, joinFiles, locateRange, type RegionFile, RegionMapping } from './region-mapping.ts';

/** Devices whose memory was attached here. */
const attached = new WeakSet<VfioDevice>();

/**
 * Gives a device its memory with its first client in this process. It stays between clients, as a device's memory
 * does, and goes when the device is released. Memory that somebody else attached is left alone.
 */
export function attachForLife(device: VfioDevice, sys: SysLayer): void {
  if (attached.has(device)) return;
  const regions = [...device.regions.values()].filter((region) => region.mappable);
  if (regions.some(({ memory }) => memory !== null && !(memory instanceof LiveRegionMemory))) return;
  const detach = attachMemory(device, sys);
  attached.add(device);
  device.on('release', () => {
    attached.delete(device);
    detach();
  });
}

export class InProcessRegions {
  readonly #device: VfioDevice;
  readonly #sys: SysLayer;
  readonly #mappings: Set<RegionMapping> = new Set();

  constructor(device: VfioDevice, sys: SysLayer) {
    this.#device = device;
    this.#sys = sys;
  }

  info(index: number): RegionInfo {
    const region = this.#device.regions.get(index);
    if (region !== undefined) return describeRegion(region);
    const { name, regionCount } = this.#device;
    if (Number.isInteger(index) && index >= 0 && index < regionCount) {
      return { index, flags: 0, sizeBytes: 0, offset: indexToOffset(index), areas: [], mappable: false };
    }
    throw new VfioError('EINVAL', `there is no region ${index}; ${name} has ${regionCount}`);
  }

  fd(index: number): number {
    return this.#memory(this.#device.region(index)).shareFd();
  }

  locate(index: number, offset: number, sizeBytes: number): PeerPlace {
    const region = this.#device.region(index);
    return locateRange(this.info(index), this.#files(region), offset, sizeBytes);
  }

  map(index: number, offset?: number, sizeBytes?: number): MappedRegion {
    const info = this.info(index);
    const whole = offset === undefined && sizeBytes === undefined ? defaultRange(info) : null;
    const start = whole?.offset ?? offset ?? 0;
    const size = whole?.size ?? sizeBytes ?? info.sizeBytes - start;
    const region = this.#device.region(index);
    const { fileOffset } = locateRange(info, this.#files(region), start, size);
    const memory = this.#memory(region);
    const place = { index, offset: start, sizeBytes: size, fd: () => memory.shareFd(), fileOffset };
    const mapping = new RegionMapping(this.#sys, place, (ended) => this.#mappings.delete(ended));
    this.#mappings.add(mapping);
    return mapping;
  }

  close(): void {
    for (const mapping of [...this.#mappings]) mapping.unmap();
  }

  #files(region: Region): RegionFile[] {
    if (!region.mappable) return [];
    const fd = this.#memory(region).shareFd();
    return joinFiles(
      region.areas.map(({ offset, size }) => ({ offset, size, fd, fileOffset: region.offset + offset })),
    );
  }

  #memory(region: Region): LiveRegionMemory {
    if (!region.mappable) {
      throw new VfioError('EINVAL', `region ${region.index} cannot be mapped; use read and write`);
    }
    if (region.memory instanceof LiveRegionMemory) return region.memory;
    throw new VfioError(
      'ENODEV',
      `the memory of ${region.name} has no file; attach live memory to the device`,
    );
  }
}

function describeRegion(region: Region): RegionInfo {
  const { index, name, flags, sizeBytes, offset, areas, mappable, type } = region;
  return { index, name, flags, sizeBytes, offset, areas, mappable, ...(type === null ? {} : { type }) };
}
