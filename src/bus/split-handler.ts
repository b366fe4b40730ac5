/*
 * One region, several answers: parts of a region go to handlers of their own, everything else to the rest. An access
 * over a boundary is cut there. Used for what lies over a BAR's own registers (an MSI-X table, a mappable area).
 */
import { type AccessResult, assert, type RegionHandler } from '../core/index.ts';

/** A part of a region and who answers there. The handler sees offsets of the region, not of the part. */
export interface RegionPart {
  readonly offset: number;
  readonly sizeBytes: number;
  readonly handler: RegionHandler;
}

/** Parts per region; each access looks through them in a row. */
export const PART_LIMIT: number = 64;

/** Reads as ones and ignores writes, as a bus does where nothing answers. */
export const UNANSWERED: RegionHandler = {
  read(_offset, count, view, at) {
    for (let i = at; i < at + count; i++) view.setUint8(i, 0xff);
    return 0;
  },
  write() {
    return 0;
  },
};

/** Sends each byte of an access to the part that holds it. */
export class SplitHandler implements RegionHandler {
  /** Ascending, without overlaps. */
  readonly #parts: readonly RegionPart[];
  readonly #rest: RegionHandler;

  constructor(parts: readonly RegionPart[], rest: RegionHandler) {
    this.#parts = [...parts].sort((a, b) => a.offset - b.offset);
    this.#rest = rest;
    assert(parts.length <= PART_LIMIT, `a region of ${parts.length} parts; ${PART_LIMIT} at the most`);
    let end = 0;
    for (const part of this.#parts) {
      assert(part.offset >= end, `parts of a region overlap at 0x${part.offset.toString(16)}`);
      end = part.offset + part.sizeBytes;
    }
  }

  read(offset: number, count: number, view: DataView, at: number): AccessResult {
    const length = this.#lengthAt(offset, count);
    if (length === count) return this.#handlerAt(offset).read(offset, count, view, at);
    return this.#inPieces('read', offset, count, view, at);
  }

  write(offset: number, count: number, view: DataView, at: number): AccessResult {
    const length = this.#lengthAt(offset, count);
    if (length === count) return this.#handlerAt(offset).write(offset, count, view, at);
    return this.#inPieces('write', offset, count, view, at);
  }

  #handlerAt(offset: number): RegionHandler {
    for (let i = 0; i < this.#parts.length; i++) {
      const part = this.#parts[i]!;
      if (offset < part.offset) return this.#rest;
      if (offset < part.offset + part.sizeBytes) return part.handler;
    }
    return this.#rest;
  }

  /** How many bytes from `offset` on, up to `count`, have the same handler. */
  #lengthAt(offset: number, count: number): number {
    for (let i = 0; i < this.#parts.length; i++) {
      const part = this.#parts[i]!;
      if (offset < part.offset) return Math.min(count, part.offset - offset);
      const end = part.offset + part.sizeBytes;
      if (offset < end) return Math.min(count, end - offset);
    }
    return count;
  }

  /** The pieces in turn; the first error ends the access. Waits only for a piece that takes time. */
  #inPieces(what: 'read' | 'write', offset: number, count: number, view: DataView, at: number): AccessResult {
    let done = 0;
    while (done < count) {
      const here = offset + done;
      const length = this.#lengthAt(here, count - done);
      const result = this.#handlerAt(here)[what](here, length, view, at + done);
      done += length;
      if (typeof result !== 'number') {
        const [next, left, target] = [offset + done, count - done, at + done];
        return result.then((errno) => (errno === 0 ? this.#inPieces(what, next, left, view, target) : errno));
      }
      if (result !== 0) return result;
    }
    return 0;
  }
}
