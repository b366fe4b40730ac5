/*
 * The result of translating an IOVA range, owned and reused by the caller so that a translation allocates nothing; and
 * the faults, which are small objects made only when something is wrong.
 */
import { ERRNO } from '../abi/errno.ts';
import type { DmaFault, DmaFaultReason } from './dma.ts';
import type { DmaMapping } from './dma-mapping.ts';

/** Most transfers lie in one mapping; a scattered one makes room for itself once. */
const FIRST_CAPACITY = 8;

/**
 * The segments of a translated range, in order. Only entries below `count` mean anything, and only until the container
 * changes; who keeps a segment over that time must `acquire` its mapping.
 */
export class Translation {
  count = 0;
  /** The mapping of each segment. */
  readonly mapping: DmaMapping[] = [];
  /** Where each segment begins in its mapping's source, in bytes from the source's start. */
  offset: Float64Array = new Float64Array(FIRST_CAPACITY);
  /** Bytes of each segment. */
  length: Float64Array = new Float64Array(FIRST_CAPACITY);

  /** Adds a segment. There are never more than the container has mappings. */
  add(mapping: DmaMapping, offset: number, length: number): void {
    const at = this.count;
    if (at === this.offset.length) this.#grow();
    this.mapping[at] = mapping;
    this.offset[at] = offset;
    this.length[at] = length;
    this.count = at + 1;
  }

  /** Forgets the segments, also for the garbage collector; for owners that outlive their container. */
  clear(): void {
    this.count = 0;
    this.mapping.length = 0;
  }

  #grow(): void {
    const { offset, length } = this;
    this.offset = new Float64Array(offset.length * 2);
    this.offset.set(offset);
    this.length = new Float64Array(length.length * 2);
    this.length.set(length);
  }
}

/** The fault for `reason` at `iova`, with the errno that a message with this fault is answered with. */
export function dmaFault(iova: number, reason: DmaFaultReason): DmaFault {
  return { iova, reason, errno: errnoOf(reason) };
}

function errnoOf(reason: DmaFaultReason): number {
  switch (reason) {
    case 'not mapped':
    case 'mapping is being removed':
      return ERRNO.EFAULT;
    case 'read is not allowed':
    case 'write is not allowed':
    case 'bus master is off':
    case 'consent was withdrawn':
      return ERRNO.EACCES;
    case 'no client is attached':
      return ERRNO.ENODEV;
    case 'client waits for this access':
      return ERRNO.EDEADLK;
    case 'no direct view':
      return ERRNO.EOPNOTSUPP;
    case 'too many windows':
      return ERRNO.ENOSPC;
    default:
      // The memory is there, but cannot be reached: what a message access to the region is answered with, too (R4).
      return ERRNO.EIO;
  }
}
