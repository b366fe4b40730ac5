/*
 * Memory and DMA of the core world: a process's memory that is pinned when it is mapped, and an engine that copies bytes
 * between a device and whatever its container leads to.
 */
import {
  type Container,
  type DeviceMemory,
  type DmaFault,
  type DmaFaultReason,
  type DmaPort,
  type DmaSource,
  dmaFault,
  Translation,
  VfioError,
} from '../../src/core/index.ts';
import type { MemoryRequest, ProcessMemory } from './world.ts';

/** Memory of the process, as far as pinning it matters: it may be read-only, and pages may be missing. */
export class CoreMemory implements ProcessMemory, DmaSource {
  readonly kind = 'client';
  readonly description = 'memory of a process';
  readonly bytes: Uint8Array;
  readonly #writable: boolean;
  readonly #presentBytes: number;

  constructor(request: MemoryRequest) {
    this.bytes = new Uint8Array(request.sizeBytes);
    this.#writable = request.writable ?? true;
    this.#presentBytes = request.presentBytes ?? Number.POSITIVE_INFINITY;
  }

  read(offset: number, length: number): Uint8Array {
    return this.bytes.slice(offset, offset + length);
  }

  write(offset: number, bytes: Uint8Array): void {
    this.bytes.set(bytes, offset);
  }

  /** It is pinned: what is mapped of it stays. */
  free(): void {}

  unavailable(offset: number, size: number): DmaFaultReason | null {
    return offset + size > this.#presentBytes ? 'memory was lost' : null;
  }

  admit(offset: number, size: number, _read: boolean, write: boolean): void {
    if (this.unavailable(offset, size) !== null) throw new VfioError('EFAULT', 'nothing is there to pin');
    if (write && !this.#writable)
      throw new VfioError('EFAULT', 'read-only memory cannot be pinned for writing');
  }

  detach(): void {}
}

/** DMA through the container, byte by byte. */
export class CoreDma implements DmaPort {
  readonly attached = true;
  readonly #container: Container;
  readonly #translation: Translation = new Translation();

  constructor(container: Container) {
    this.#container = container;
  }

  read(
    iova: number,
    target: Uint8Array,
    at: number = 0,
    length: number = target.length - at,
  ): DmaFault | null {
    return this.#move(iova, length, false, (memory, done) => target.set(memory, at + done));
  }

  write(
    iova: number,
    source: Uint8Array,
    at: number = 0,
    length: number = source.length - at,
  ): DmaFault | null {
    return this.#move(iova, length, true, (memory, done) =>
      memory.set(source.subarray(at + done, at + done + memory.length)),
    );
  }

  check(iova: number, size: number, write: boolean): DmaFault | null {
    return this.#container.translate(iova, size, write, this.#translation);
  }

  window(iova: number): DmaFault {
    return dmaFault(iova, 'no direct view');
  }

  #move(
    iova: number,
    length: number,
    write: boolean,
    copy: (memory: Uint8Array, done: number) => void,
  ): DmaFault | null {
    const segments = this.#translation;
    const fault = this.#container.translate(iova, length, write, segments);
    if (fault !== null) return fault;
    for (let i = 0, done = 0; i < segments.count; done += segments.length[i++]!) {
      copy(bytesOf(segments.mapping[i]!.source, segments.offset[i]!, segments.length[i]!), done);
    }
    return null;
  }
}

function bytesOf(source: DmaSource, offset: number, length: number): Uint8Array {
  if (source instanceof CoreMemory) return source.bytes.subarray(offset, offset + length);
  const { region, offset: start } = source as DeviceMemory;
  const memory = region.memory!;
  const from = start + offset - memory.windowStart(start + offset);
  return memory.bytesAt(start + offset).subarray(from, from + length);
}
