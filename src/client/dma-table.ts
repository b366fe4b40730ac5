/*
 * The client's own table of what it has mapped for DMA: to answer DMA messages, to find free IOVAs, and to know at
 * the end what is left.
 */
import { ERRNO } from '../abi/index.ts';
import { VfioError } from '../core/index.ts';
import { IntervalMap } from '../core/interval-map.ts';
import type { DmaBacking } from './dma-backing.ts';

/** A mapping that the server knows of, or is about to. */
export interface DmaEntry {
  readonly iova: number;
  readonly sizeBytes: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly backing: DmaBacking;
}

/** Mappings by IOVA; they do not overlap. */
export class DmaTable {
  readonly #map: IntervalMap<DmaEntry> = new IntervalMap();
  /** Whether the range of the last successful `check` can be moved at once. */
  #immediate = true;

  get size(): number {
    return this.#map.size;
  }

  /** EEXIST if it overlaps a mapping. */
  insert(entry: DmaEntry): void {
    if (this.#map.insert(entry.iova, entry.sizeBytes, entry)) return;
    const message = `iova 0x${entry.iova.toString(16)}+0x${entry.sizeBytes.toString(16)} overlaps a mapping; unmap that first`;
    throw new VfioError('EEXIST', message);
  }

  /** Whether exactly this mapping is in the table. */
  has(entry: DmaEntry): boolean {
    return this.#map.find(entry.iova) === entry;
  }

  /** Takes out the mappings that lie inside the range, releases what is behind them, and returns their bytes. */
  removeInside(start: number, end: number): number {
    const inside: DmaEntry[] = [];
    this.#map.visit(start, end, (entry) => {
      if (entry.iova >= start && entry.iova + entry.sizeBytes <= end) inside.push(entry);
    });
    let total = 0;
    for (const entry of inside) {
      this.#map.remove(entry.iova);
      entry.backing.release();
      total += entry.sizeBytes;
    }
    return total;
  }

  /** Takes out everything. */
  clear(): number {
    return this.removeInside(0, Number.POSITIVE_INFINITY);
  }

  /**
   * Whether a device may reach all of [iova, iova + length): 0, EFAULT where nothing is mapped, EPERM where the
   * mapping forbids it.
   */
  check(iova: number, length: number, write: boolean): number {
    const map = this.#map;
    const end = iova + length;
    this.#immediate = true;
    for (let at = iova; at < end; ) {
      const slot = map.locate(at);
      if (slot < 0 || !map.holds(slot, at)) return ERRNO.EFAULT;
      const entry = map.valueAt(slot);
      if (!(write ? entry.write : entry.read)) return ERRNO.EPERM;
      if (!entry.backing.immediate) this.#immediate = false;
      at = map.endAt(slot);
    }
    return 0;
  }

  /** Whether `move` can do what the last `check` allowed; otherwise `moveLater` must. */
  get immediate(): boolean {
    return this.#immediate;
  }

  /** Moves a checked range between the mapped memory and `bytes[at ..]`; `write` is into the memory. 0 or an errno. */
  move(iova: number, bytes: Uint8Array, at: number, length: number, write: boolean): number {
    for (let done = 0; done < length; ) {
      const slot = this.#map.locate(iova + done);
      const entry = this.#map.valueAt(slot);
      const part = Math.min(length - done, this.#map.endAt(slot) - iova - done);
      const errno = entry.backing.move(iova + done - entry.iova, bytes, at + done, part, write);
      if (errno !== 0) return errno;
      done += part;
    }
    return 0;
  }

  /** The same where other devices must be asked. Each part is looked up anew: it may have been unmapped meanwhile. */
  async moveLater(
    iova: number,
    bytes: Uint8Array,
    at: number,
    length: number,
    write: boolean,
  ): Promise<number> {
    for (let done = 0; done < length; ) {
      const place = iova + done;
      const entry = this.#map.find(place);
      if (entry === undefined) return ERRNO.EFAULT;
      if (!(write ? entry.write : entry.read)) return ERRNO.EPERM;
      const part = Math.min(length - done, entry.iova + entry.sizeBytes - place);
      const errno = await entry.backing.moveLater(place - entry.iova, bytes, at + done, part, write);
      if (errno !== 0) return errno;
      done += part;
    }
    return 0;
  }

  /** All mappings by IOVA. The table must not change meanwhile. */
  *entries(): Generator<DmaEntry, void, undefined> {
    for (let slot = this.#map.first(); slot >= 0; slot = this.#map.next(slot)) yield this.#map.valueAt(slot);
  }
}
