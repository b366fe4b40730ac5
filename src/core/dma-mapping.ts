/*
 * One mapping of a container: so many bytes at an IOVA, with rights, and the source that they lead to.
 */
import type { DmaSource } from './source.ts';

/** What a mapping is made of. IOVA, size and source offset are bytes, multiples of the container's page size. */
export interface DmaMapRequest {
  readonly iova: number;
  readonly size: number;
  /** Whether the device may read. One of `read` and `write` must be true. */
  readonly read: boolean;
  /** Whether the device may write. */
  readonly write: boolean;
  readonly source: DmaSource;
  /** Where in the source the mapping begins; 0 unless said otherwise. */
  readonly sourceOffset?: number;
}

/** A mapping, made by `Container.map`. Linux: `struct vfio_dma`. */
export class DmaMapping {
  readonly iova: number;
  readonly size: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly source: DmaSource;
  readonly sourceOffset: number;

  /** Uses that began with `Container.acquire` and have not ended. */
  inFlight = 0;
  /** It was unmapped: nothing new may go through it. It keeps its IOVA until the last use in flight has ended. */
  dying = false;

  constructor(request: DmaMapRequest) {
    this.iova = request.iova;
    this.size = request.size;
    this.read = request.read;
    this.write = request.write;
    this.source = request.source;
    this.sourceOffset = request.sourceOffset ?? 0;
  }
}
