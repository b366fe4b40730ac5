/*
 * A mapping of a part of a region into this process, by the region's fd: the same for a device in this process, in
 * another one, and for every server that passes an fd.
 */
import { PAGE_SIZE, VfioError } from '../core/index.ts';
import type { Mapping, SysLayer } from '../sys/sys-layer.ts';
import type { MappedRegion, RegionInfo } from './device-handle.ts';
import { MAPPING_BYTES_MAX } from './limits.ts';

/** Where a mappable part of a region lies. `fd` stays with whoever made this. */
export interface RegionFile {
  /** Of the part, in the region. */
  readonly offset: number;
  readonly size: number;
  readonly fd: number;
  /** Of the part, in the fd. */
  readonly fileOffset: number;
}

/** The range that `mmap` without one means: the only area. EINVAL if there are several. */
export function defaultRange(info: RegionInfo): { offset: number; size: number } {
  const [area, ...others] = info.areas;
  if (area === undefined) throw notMappable(info);
  if (others.length > 0) {
    const list = info.areas
      .map((each) => `0x${each.offset.toString(16)}+0x${each.size.toString(16)}`)
      .join(', ');
    throw new VfioError('EINVAL', `region ${info.index} is mappable in parts; map one of them: ${list}`);
  }
  return { offset: area.offset, size: area.size };
}

/**
 * The place of [offset, offset + sizeBytes) in one of the files; EINVAL if it is not in one.
 * @param files by offset; parts that follow each other in one fd are joined already
 */
export function locateRange(
  info: RegionInfo,
  files: readonly RegionFile[],
  offset: number,
  sizeBytes: number,
): { fd: number; fileOffset: number } {
  if (files.length === 0) throw notMappable(info);
  const valid = Number.isSafeInteger(offset) && Number.isSafeInteger(sizeBytes) && sizeBytes > 0;
  if (!valid || offset % PAGE_SIZE !== 0) {
    throw new VfioError(
      'EINVAL',
      `offset ${offset}, size ${sizeBytes}: map whole pages of ${PAGE_SIZE} bytes`,
    );
  }
  const file = files.find((each) => offset >= each.offset && offset + sizeBytes <= each.offset + each.size);
  if (file === undefined) {
    const list = files.map((each) => `0x${each.offset.toString(16)}+0x${each.size.toString(16)}`).join(', ');
    const range = `0x${offset.toString(16)}+0x${sizeBytes.toString(16)}`;
    throw new VfioError(
      'EINVAL',
      `${range} of region ${info.index} is not mappable; these parts are: ${list}`,
    );
  }
  return { fd: file.fd, fileOffset: file.fileOffset + offset - file.offset };
}

function notMappable(info: RegionInfo): VfioError {
  return new VfioError('EINVAL', `region ${info.index} cannot be mapped; use read and write`);
}

/** Joins parts that follow each other both in the region and in the same fd. */
export function joinFiles(files: readonly RegionFile[]): RegionFile[] {
  const joined: RegionFile[] = [];
  for (const file of [...files].sort((a, b) => a.offset - b.offset)) {
    const last = joined.at(-1);
    const follows =
      last !== undefined &&
      last.fd === file.fd &&
      last.offset + last.size === file.offset &&
      last.fileOffset + last.size === file.fileOffset;
    if (follows) joined[joined.length - 1] = { ...last, size: last.size + file.size };
    else joined.push(file);
  }
  return joined;
}

export class RegionMapping implements MappedRegion {
  readonly index: number;
  readonly offset: number;
  readonly sizeBytes: number;
  readonly #mapping: Mapping;
  readonly #fd: () => number;
  readonly #fileOffset: number;
  readonly #onUnmap: (mapping: RegionMapping) => void;
  #bytes: Uint8Array;

  /** `fd` is asked at each use: a region's file may be made anew. */
  constructor(
    sys: SysLayer,
    place: { index: number; offset: number; sizeBytes: number; fd: () => number; fileOffset: number },
    onUnmap: (mapping: RegionMapping) => void,
  ) {
    this.index = place.index;
    this.offset = place.offset;
    this.sizeBytes = place.sizeBytes;
    if (place.sizeBytes > MAPPING_BYTES_MAX) {
      throw new VfioError(
        'EINVAL',
        `a mapping has at most ${MAPPING_BYTES_MAX} bytes; map the region in parts`,
      );
    }
    this.#fd = place.fd;
    this.#fileOffset = place.fileOffset;
    this.#onUnmap = onUnmap;
    const pages = Math.ceil(place.sizeBytes / PAGE_SIZE) * PAGE_SIZE;
    this.#mapping = mapOrExplain(sys, place.fd(), place.fileOffset, pages);
    this.#bytes = this.#mapping.bytes.subarray(0, place.sizeBytes);
  }

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  get lost(): boolean {
    return this.#mapping.lost;
  }

  restore(): void {
    if (this.#bytes.length === 0)
      throw new VfioError('EINVAL', 'the mapping was unmapped; map the region again');
    if (!this.#mapping.lost) return;
    try {
      this.#mapping.replace(this.#fd(), this.#fileOffset);
    } catch (error) {
      throw new VfioError('EIO', AWAY, { cause: error });
    }
  }

  unmap(): void {
    if (this.#bytes.length === 0) return;
    this.#mapping.unmap();
    this.#bytes = this.#mapping.bytes;
    this.#onUnmap(this);
  }
}

const AWAY =
  'the region cannot be reached now: memory decode is off, or the device sleeps or is in reset; try again later';

function mapOrExplain(sys: SysLayer, fd: number, fileOffset: number, sizeBytes: number): Mapping {
  try {
    return sys.map(fd, fileOffset, sizeBytes, 'rw');
  } catch (error) {
    const tooShort = error instanceof VfioError && error.code === 'EINVAL';
    throw tooShort ? new VfioError('EIO', AWAY, { cause: error }) : error;
  }
}
