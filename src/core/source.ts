/*
 * What lies behind an IOMMU mapping: memory of the client, memory of a device, or a client that must be asked by message.
 *
 * The container knows sources only by this interface. The memory room implements those that need I/O; device memory is
 * here because it is the heart of the rules: consent (R3), reach (R4), lifetime (R6) and return (R7).
 */
import { VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE } from '../abi/vfio.ts';
import type { NotifierRange, VfioDevice } from './device.ts';
import type { DmaFaultReason } from './dma.ts';
import { VfioError } from './error.ts';
import { attempt, rethrow } from './events.ts';
import type { Region, RegionSeat } from './region.ts';

/** The target of a mapping. Offsets count from the source's start, in bytes. */
export interface DmaSource {
  readonly kind: 'client' | 'device' | 'remote';
  /** One phrase for people: what this is and whose. */
  readonly description: string;

  /**
   * Why a DMA to [offset, offset + size) is impossible at this moment, or null. Hot: called for every translation,
   * allocates nothing. If a part is unavailable, so is every longer part that begins at the same offset.
   */
  unavailable(offset: number, size: number): DmaFaultReason | null;

  /**
   * Throws what MAP_DMA must answer when this range may not be mapped with these rights. A source without it may be mapped
   * whenever it is not `unavailable` (EFAULT otherwise, as type1 answers for what it cannot fault in).
   */
  admit?(offset: number, size: number, read: boolean, write: boolean): void;

  /** Called once, when the mapping is gone and no DMA is in flight any more: the source lets go of what it holds. */
  detach(): void;
}

/** Which bytes of which device. Page aligned like all that is mapped; `offset` counts from the region's start. */
export interface DeviceMemoryOptions {
  readonly region: Region;
  readonly offset: number;
  readonly sizeBytes: number;
}

/**
 * Memory of a device as a DMA target, by reference (R6).
 *
 * Whether it can be reached is asked of the region at each translation, so a suspend takes effect for thousands of
 * mappings at once and a resume needs nobody to map again (R7). Who keeps more than a translation (a window, a TLB entry)
 * subscribes with `onRevoke` and is told before `suspend`, `release` or the withdrawal of consent returns.
 *
 * Linux: what `vfio_pci_dma_buf_move` does for iommufd, but the mapping comes back by itself; type1 has nothing like it.
 */
export class DeviceMemory implements DmaSource {
  readonly kind: 'device' = 'device';
  readonly offset: number;
  readonly sizeBytes: number;
  /** Not the region itself: a new instance of the device may take over while the mapping lives. */
  readonly #seat: RegionSeat;
  readonly #listeners: Set<RevokeListener> = new Set();

  /** EINVAL: the range is not inside the region. Consent and reach are judged when it is mapped. */
  constructor(options: DeviceMemoryOptions) {
    const { region, offset, sizeBytes } = options;
    if (!(offset >= 0 && sizeBytes > 0 && offset + sizeBytes <= region.sizeBytes)) {
      const range = `[${offset}, ${offset + sizeBytes})`;
      throw new VfioError(
        'EINVAL',
        `${range} is not inside ${region.name} of ${region.device.name}: check offset and size`,
      );
    }
    this.#seat = region.seat;
    this.offset = offset;
    this.sizeBytes = sizeBytes;
  }

  get region(): Region {
    return this.#seat.region;
  }

  get device(): VfioDevice {
    return this.#seat.region.device;
  }

  get description(): string {
    return `${this.region.name} of ${this.device.name} at 0x${this.offset.toString(16)}`;
  }

  unavailable(offset: number, size: number): DmaFaultReason | null {
    if (offset + size > this.sizeBytes) return 'not mapped';
    return this.#seat.region.dmaReason(this.offset + offset, size);
  }

  /** EINVAL without consent (R3); EFAULT beyond the end, against the region's rights, or while it cannot be reached (R4). */
  admit(offset: number, size: number, read: boolean, write: boolean): void {
    const what = `${size} bytes at ${offset} of ${this.description}`;
    if (offset + size > this.sizeBytes) throw new VfioError('EFAULT', `${what} end beyond it: map less`);
    if (this.region.consent(this.offset + offset, size) !== 'allow') {
      throw new VfioError(
        'EINVAL',
        `${what} are no DMA target: its driver has not allowed DMA to all of these pages`,
      );
    }
    const needed = (read ? VFIO_REGION_INFO_FLAG_READ : 0) | (write ? VFIO_REGION_INFO_FLAG_WRITE : 0);
    if ((this.region.flags & needed) !== needed) {
      throw new VfioError(
        'EFAULT',
        `${what} cannot be read or written so: map with the rights that the region has`,
      );
    }
    const reason = this.device.accessible(this.region);
    if (reason !== null)
      throw new VfioError('EFAULT', `${what} cannot be reached: ${reason}; map it again afterwards`);
  }

  /** Tells `listener` when any of this memory stops being reachable. Returns the unsubscribe, which may be called twice. */
  onRevoke(listener: RevokeListener): () => void {
    this.#listeners.add(listener);
    DeviceWatch.of(this.device).add(this);
    return () => {
      if (this.#listeners.delete(listener) && this.#listeners.size === 0)
        DeviceWatch.of(this.device).delete(this);
    };
  }

  detach(): void {
    this.#listeners.clear();
    DeviceWatch.of(this.device).delete(this);
  }

  /** @internal Part of the device's address space was suspended or released; collects what listeners throw. */
  revoke(start: number, end: number, errors: unknown[]): void {
    const first = this.region.offset + this.offset;
    if (first >= end || start >= first + this.sizeBytes) return;
    const reason = this.region.dmaReason(this.offset, this.sizeBytes);
    // Another listener may have resumed the device already: then nothing was cut off.
    if (reason === null) return;
    for (const listener of [...this.#listeners]) attempt(() => listener(reason), errors);
  }
}

/** Told why the memory can no longer be reached; must let go of it before it returns. */
export type RevokeListener = (reason: DmaFaultReason) => void;

/**
 * The one listener that a device has for all of its memory that somebody watches. One for each mapping would make every
 * suspend walk them all; most mappings are only translated through, and need none.
 */
class DeviceWatch {
  static readonly #all: WeakMap<VfioDevice, DeviceWatch> = new WeakMap();
  readonly #device: VfioDevice;
  readonly #memories: Set<DeviceMemory> = new Set();
  #unsubscribe: (() => void)[] = [];

  static of(device: VfioDevice): DeviceWatch {
    let watch = DeviceWatch.#all.get(device);
    if (watch === undefined) {
      watch = new DeviceWatch(device);
      DeviceWatch.#all.set(device, watch);
    }
    return watch;
  }

  constructor(device: VfioDevice) {
    this.#device = device;
  }

  add(memory: DeviceMemory): void {
    this.#memories.add(memory);
    if (this.#unsubscribe.length > 0) return;
    const tell = (range: NotifierRange): void => {
      const errors: unknown[] = [];
      for (const each of [...this.#memories]) each.revoke(range.start, range.start + range.length, errors);
      rethrow(errors, `revocation of memory of ${this.#device.name}`);
    };
    this.#unsubscribe = [
      this.#device.on('suspend', tell),
      this.#device.on('release', tell),
      this.#device.on('replace', ({ device }) => this.#moveTo(DeviceWatch.of(device))),
    ];
  }

  #moveTo(next: DeviceWatch): void {
    for (const memory of [...this.#memories]) {
      next.add(memory);
      this.delete(memory);
    }
  }

  delete(memory: DeviceMemory): void {
    this.#memories.delete(memory);
    if (this.#memories.size > 0) return;
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#unsubscribe = [];
  }
}
