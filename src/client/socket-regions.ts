/*
 * Regions of a device behind a socket: their info, asked once, the fds that came with it, and mappings made of them.
 */
import { VFIO_USER_DEVICE_GET_REGION_INFO, vfio_region_info } from '../abi/index.ts';
import type { Consent } from '../core/index.ts';
import { VfioError } from '../core/index.ts';
import { consents, parseRegionName, type RegionName } from '../memory/index.ts';
import type { SysLayer } from '../sys/sys-layer.ts';
import type { Channel } from './channel.ts';
import type { DeviceInfo, MappedRegion, RegionArea, RegionInfo } from './device-handle.ts';
import { type RegionReply, readRegionInfo } from './region-info.ts';
import { defaultRange, joinFiles, locateRange, type RegionFile, RegionMapping } from './region-mapping.ts';
import { protocolError } from './reply-error.ts';

interface RegionRecord {
  readonly info: RegionInfo;
  readonly files: readonly RegionFile[];
  readonly fds: readonly number[];
}

interface Answer {
  readonly reply: RegionReply;
  readonly fds: readonly number[];
}

export class SocketRegions {
  readonly #sys: SysLayer;
  readonly #channel: Channel;
  readonly #device: DeviceInfo;
  readonly #records: Map<number, Promise<RegionRecord>> = new Map();
  readonly #fds: Set<number> = new Set();
  readonly #mappings: Set<RegionMapping> = new Set();
  #closed = false;

  constructor(sys: SysLayer, channel: Channel, device: DeviceInfo) {
    this.#sys = sys;
    this.#channel = channel;
    this.#device = device;
  }

  async info(index: number): Promise<RegionInfo> {
    return (await this.#record(index)).info;
  }

  /** The first fd of a mappable region. EINVAL if there is none. */
  async fd(index: number): Promise<number> {
    const { info, files } = await this.#record(index);
    if (files.length > 0) return files[0]!.fd;
    throw new VfioError('EINVAL', `region ${info.index} cannot be mapped, so it has no fd`);
  }

  /** Where a range of a region lies; the fd stays ours. EINVAL if it is not mappable as one. */
  async locate(
    index: number,
    offset: number,
    sizeBytes: number,
  ): Promise<{ fd: number; fileOffset: number }> {
    const { info, files } = await this.#record(index);
    return locateRange(info, files, offset, sizeBytes);
  }

  async map(index: number, offset?: number, sizeBytes?: number): Promise<MappedRegion> {
    const { info, files } = await this.#record(index);
    const whole = offset === undefined && sizeBytes === undefined ? defaultRange(info) : null;
    const start = whole?.offset ?? offset ?? 0;
    const size = whole?.size ?? sizeBytes ?? info.sizeBytes - start;
    const { fd, fileOffset } = locateRange(info, files, start, size);
    const place = { index, offset: start, sizeBytes: size, fd: () => fd, fileOffset };
    const mapping = new RegionMapping(this.#sys, place, (ended) => this.#mappings.delete(ended));
    this.#mappings.add(mapping);
    return mapping;
  }

  /** Unmaps what was mapped and closes the fds. */
  close(): void {
    this.#closed = true;
    for (const mapping of [...this.#mappings]) mapping.unmap();
    this.#closeFds([...this.#fds]);
    this.#records.clear();
  }

  #record(index: number): Promise<RegionRecord> {
    if (!(Number.isInteger(index) && index >= 0 && index < this.#device.regionCount)) {
      const message = `there is no region ${index}; the device has ${this.#device.regionCount}`;
      return Promise.reject(new VfioError('EINVAL', message));
    }
    let record = this.#records.get(index);
    if (record === undefined) {
      record = this.#load(index);
      this.#records.set(index, record);
      record.catch(() => this.#records.delete(index));
    }
    return record;
  }

  async #load(index: number): Promise<RegionRecord> {
    let answer = await this.#ask(index, vfio_region_info.size);
    if (answer.reply.argsz > vfio_region_info.size) {
      // The first reply had no room for the capabilities. Servers differ in whether its fd comes then already.
      const first = answer;
      try {
        answer = await this.#ask(index, first.reply.argsz);
      } finally {
        this.#closeFds(first.fds);
      }
    }
    return this.#makeRecord(index, answer);
  }

  async #ask(index: number, argsz: number): Promise<Answer> {
    const payload = new Uint8Array(vfio_region_info.size);
    vfio_region_info.encode(new DataView(payload.buffer), 0, { argsz, index });
    const about = `region ${index}`;
    const reply = await this.#channel.request(VFIO_USER_DEVICE_GET_REGION_INFO, payload, {
      wantsFds: true,
      about,
    });
    for (const fd of reply.fds) this.#fds.add(fd);
    try {
      if (this.#closed) throw new VfioError('EBADF', 'the device was closed; open it again');
      if (reply.payload.length > argsz)
        throw protocolError(`region info of ${reply.payload.length} bytes, not ${argsz}`);
      return { reply: readRegionInfo(reply.view, index, reply.fds.length), fds: reply.fds };
    } catch (error) {
      this.#closeFds(reply.fds);
      throw error;
    }
  }

  #makeRecord(index: number, { reply, fds }: Answer): RegionRecord {
    const parts = reply.areas.map(({ offset, size, fdIndex, fileOffset }) => {
      return { offset, size, fd: fds[fdIndex]!, fileOffset };
    });
    const used = new Set(parts.map(({ fd }) => fd));
    this.#closeFds(fds.filter((fd) => !used.has(fd)));
    const names = new Map<number, RegionName | null>();
    for (const fd of used) names.set(fd, parseRegionName(this.#sys.fdName(fd)));
    const areas = parts.map(({ offset, size, fd }) =>
      describeArea(index, offset, size, names.get(fd) ?? null),
    );
    const name = this.#device.kind === 'pci' ? STANDARD_NAMES[index] : undefined;
    const info: RegionInfo = {
      index,
      ...(name === undefined ? {} : { name }),
      flags: reply.flags,
      sizeBytes: reply.sizeBytes,
      offset: reply.offset,
      areas,
      mappable: areas.length > 0,
      ...(reply.type === null ? {} : { type: reply.type }),
    };
    return { info, files: joinFiles(parts), fds: [...used] };
  }

  #closeFds(fds: readonly number[]): void {
    for (const fd of fds) {
      if (this.#fds.delete(fd)) this.#sys.close(fd);
    }
  }
}

/** Our servers write a region's consent into the name of its memfd; others say nothing about it. */
function describeArea(index: number, offset: number, size: number, name: RegionName | null): RegionArea {
  if (name === null || name.index !== index) return { offset, size };
  const dma: Consent = consents(name, offset, size) ? 'allow' : 'deny';
  return { offset, size, dma };
}

/** Only PCI fixes what an index is. */
const STANDARD_NAMES: readonly string[] = [
  'BAR0',
  'BAR1',
  'BAR2',
  'BAR3',
  'BAR4',
  'BAR5',
  'ROM',
  'config',
  'VGA',
];
