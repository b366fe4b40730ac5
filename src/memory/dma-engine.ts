/*
 * Does what a device asks of its DMA port: translates through the session's container and moves the bytes.
 *
 * A transfer to memory that is mapped, or in a file, is done when the call returns, and a success allocates nothing.
 * Only memory that messages reach makes a promise; while a message is under way its mapping is held (`acquire`), so
 * that an unmap can wait for it. After each message the rest is translated anew: what was unmapped meanwhile faults.
 *
 * A fault names the first address that could not be reached, or for memory that was lost the begin of the piece that was
 * being moved. What cannot be translated moves nothing; what goes away during the transfer leaves the part before it
 * moved, as with a bus.
 */
import {
  assert,
  type Container,
  type DeviceMemory,
  type DmaFault,
  type DmaFaultReason,
  type DmaMapping,
  type DmaPort,
  type DmaWindow,
  dmaFault,
  type MaybePromise,
  PAGE_SIZE,
  type RegionMemory,
  Translation,
  VfioError,
} from '../core/index.ts';
import type { Mapping, SysLayer } from '../sys/sys-layer.ts';
import type { ClientMemory } from './client-memory.ts';
import { EngineWindow, type WindowBacking } from './dma-window.ts';
import { LiveRegionMemory } from './live-region.ts';
import { pageCeil, pageFloor, WINDOW_BYTES } from './window.ts';

/** Memory that only messages to the client reach (DMA_READ, DMA_WRITE). The session implements it. */
export interface RemoteMemory {
  /** Largest length of one call: the client's max_data_xfer_size. */
  readonly maxTransferBytes: number;
  /** Fills `target[at ..]`. 0, a positive errno that came back, or why no answer is waited for. */
  read(iova: number, target: Uint8Array, at: number, length: number): Promise<number | DmaFaultReason>;
  /** Sends `source[at ..]`. Results as `read`. */
  write(iova: number, source: Uint8Array, at: number, length: number): Promise<number | DmaFaultReason>;
  /** The client has unmapped this range: messages under way to it may be given up. */
  unmapped?(iova: number, size: number): void;
}

/** Windows of one engine at most. Each is a mapping of the process (vm.max_map_count); 512 queue pairs fit. */
const WINDOW_LIMIT = 1024;

/** The DMA port of a device with a client. */
export class DmaEngine implements DmaPort {
  readonly #container: Container;
  readonly #sys: SysLayer;
  readonly #remote: RemoteMemory | null;
  readonly #translation: Translation = new Translation();
  readonly #windows: Map<DmaMapping, Set<EngineWindow>> = new Map();
  #windowCount = 0;
  #closed = false;
  readonly #unsubscribe: () => void;

  /** `remote` null: ranges without an fd cannot be reached. */
  constructor(container: Container, sys: SysLayer, remote: RemoteMemory | null) {
    this.#container = container;
    this.#sys = sys;
    this.#remote = remote;
    this.#unsubscribe = container.onUnmap((mapping) => {
      for (const window of this.#windows.get(mapping) ?? []) window.end('mapping is being removed');
      if (mapping.source.kind === 'remote' && mapping.inFlight > 0) {
        remote?.unmapped?.(mapping.iova, mapping.size);
      }
    });
  }

  get attached(): boolean {
    return !this.#closed;
  }

  /** Windows that are open now, for leak tests and metrics. */
  get windowCount(): number {
    return this.#windowCount;
  }

  read(
    iova: number,
    target: Uint8Array,
    at: number = 0,
    length: number = target.length - at,
  ): MaybePromise<DmaFault | null> {
    return this.#transfer(iova, target, at, length, false);
  }

  /** A promise means: `source` must stay as it is until it resolves. */
  write(
    iova: number,
    source: Uint8Array,
    at: number = 0,
    length: number = source.length - at,
  ): MaybePromise<DmaFault | null> {
    return this.#transfer(iova, source, at, length, true);
  }

  check(iova: number, size: number, write: boolean): DmaFault | null {
    if (this.#closed) return dmaFault(iova, 'no client is attached');
    return this.#container.translate(iova, size, write, this.#translation);
  }

  /**
   * 'no direct view' (EOPNOTSUPP): the range is mapped, but it lies in several mappings, is larger than 1 GiB, or its
   * memory is reached by messages or by file I/O. 'too many windows' (ENOSPC): close some first.
   */
  window(iova: number, size: number, write: boolean): DmaWindow | DmaFault {
    if (this.#closed) return dmaFault(iova, 'no client is attached');
    const segments = this.#translation;
    const fault = this.#container.translate(iova, size, write, segments);
    if (fault !== null) return fault;
    if (segments.count !== 1 || size > WINDOW_BYTES - PAGE_SIZE) return dmaFault(iova, 'no direct view');
    if (this.#windowCount >= WINDOW_LIMIT) return dmaFault(iova, 'too many windows');
    const mapping = segments.mapping[0]!;
    try {
      const backing = viewOf(mapping, segments.offset[0]!, size, write);
      return backing === null ? dmaFault(iova, 'no direct view') : this.#open(mapping, backing);
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      if (error.code === 'EINVAL') return dmaFault(iova, 'memory was lost');
      return { iova, reason: 'no direct view', errno: error.errno };
    }
  }

  /** The client left: every window dies, every transfer faults. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unsubscribe();
    for (const windows of [...this.#windows.values()]) {
      for (const window of windows) window.end('no client is attached');
    }
    this.#translation.clear();
  }

  #transfer(
    iova: number,
    bytes: Uint8Array,
    at: number,
    length: number,
    write: boolean,
  ): MaybePromise<DmaFault | null> {
    assert(at >= 0 && length >= 0 && at + length <= bytes.length, 'a DMA is longer than its buffer');
    if (this.#closed) return dmaFault(iova, 'no client is attached');
    const segments = this.#translation;
    const fault = this.#container.translate(iova, length, write, segments);
    if (fault !== null) return fault;
    let done = 0;
    for (let i = 0; i < segments.count; i++) {
      const mapping = segments.mapping[i]!;
      const part = segments.length[i]!;
      if (mapping.source.kind === 'remote') return this.#transferRest(iova, bytes, at, done, length, write);
      const moved = this.#move(mapping, segments.offset[i]!, bytes, at + done, part, write);
      if (moved < part) return dmaFault(iova + done + moved, 'memory was lost');
      done += part;
    }
    return null;
  }

  /** Goes on from `done` where messages are needed. */
  async #transferRest(
    iova: number,
    bytes: Uint8Array,
    at: number,
    done: number,
    length: number,
    write: boolean,
  ): Promise<DmaFault | null> {
    const remote = this.#remote;
    if (remote === null) return dmaFault(iova + done, 'no client is attached');
    const segments = this.#translation;
    while (done < length) {
      if (this.#closed) return dmaFault(iova + done, 'no client is attached');
      const next = iova + done;
      const most = Math.min(length - done, remote.maxTransferBytes);
      const fault = this.#container.translate(next, most, write, segments);
      if (fault !== null) return fault;
      const mapping = segments.mapping[0]!;
      const part = segments.length[0]!;
      if (mapping.source.kind === 'remote') {
        const result = await this.#message(remote, mapping, next, bytes, at + done, part, write);
        if (typeof result === 'string') return dmaFault(next, result);
        if (result !== 0) return { iova: next, reason: 'message failed', errno: result };
      } else {
        const moved = this.#move(mapping, segments.offset[0]!, bytes, at + done, part, write);
        if (moved < part) return dmaFault(next + moved, 'memory was lost');
      }
      done += part;
    }
    return null;
  }

  async #message(
    remote: RemoteMemory,
    mapping: DmaMapping,
    iova: number,
    bytes: Uint8Array,
    at: number,
    length: number,
    write: boolean,
  ): Promise<number | DmaFaultReason> {
    this.#container.acquire(mapping);
    try {
      return await (write ? remote.write(iova, bytes, at, length) : remote.read(iova, bytes, at, length));
    } finally {
      this.#container.release(mapping);
    }
  }

  /** Moves one segment and returns how many bytes; fewer than `length` when the memory is not there. */
  #move(
    mapping: DmaMapping,
    offset: number,
    bytes: Uint8Array,
    at: number,
    length: number,
    write: boolean,
  ): number {
    if (mapping.source.kind === 'client') {
      return this.#moveClient(mapping.source as ClientMemory, offset, bytes, at, length, write);
    }
    const source = mapping.source as DeviceMemory;
    const memory = source.region.memory;
    return memory === null ? 0 : this.#moveRegion(memory, source.offset + offset, bytes, at, length, write);
  }

  #moveRegion(
    memory: RegionMemory,
    offset: number,
    bytes: Uint8Array,
    at: number,
    length: number,
    write: boolean,
  ): number {
    let moved = 0;
    while (moved < length) {
      if (memory.lost) return moved;
      const window = memory.bytesAt(offset + moved);
      const from = offset + moved - memory.windowStart(offset + moved);
      const part = Math.min(length - moved, window.length - from);
      if (!(part > 0) || !this.#copy(window, from, bytes, at + moved, part, write)) return moved;
      moved += part;
    }
    return moved;
  }

  #moveClient(
    source: ClientMemory,
    offset: number,
    bytes: Uint8Array,
    at: number,
    length: number,
    write: boolean,
  ): number {
    const file = source.file;
    let moved = 0;
    while (moved < length) {
      const place = source.fileOffset + offset + moved;
      if (source.fileIo) {
        return moved + moveByFile(source, place, bytes, at + moved, length - moved, write);
      }
      const window = file.bytesAt(place, length - moved);
      const from = place - file.windowStart(place);
      const part = Math.min(length - moved, window.length - from);
      if (part > 0) {
        if (!this.#copy(window, from, bytes, at + moved, part, write)) return moved;
        moved += part;
      } else if (!source.fileIo) {
        return moved;
      }
    }
    return moved;
  }

  #copy(
    window: Uint8Array,
    from: number,
    bytes: Uint8Array,
    at: number,
    length: number,
    write: boolean,
  ): boolean {
    if (write) return this.#sys.copy(window, from, bytes, at, length) === 0;
    return this.#sys.copy(bytes, at, window, from, length) === 0;
  }

  #open(mapping: DmaMapping, backing: WindowBacking): EngineWindow {
    const { source } = mapping;
    let unwatch: (() => void) | null = null;
    const window = new EngineWindow(backing, () => {
      unwatch?.();
      this.#windowCount -= 1;
      const windows = this.#windows.get(mapping);
      windows?.delete(window);
      if (windows?.size === 0) this.#windows.delete(mapping);
    });
    if (source.kind === 'device') unwatch = (source as DeviceMemory).onRevoke((reason) => window.end(reason));
    const windows = this.#windows.get(mapping) ?? new Set();
    windows.add(window);
    this.#windows.set(mapping, windows);
    this.#windowCount += 1;
    return window;
  }
}

/** A view of one segment, or null if its memory cannot be viewed. Throws VfioError when it cannot be mapped. */
function viewOf(mapping: DmaMapping, offset: number, size: number, write: boolean): WindowBacking | null {
  if (mapping.source.kind === 'client') {
    const source = mapping.source as ClientMemory;
    if (source.fileIo) return null;
    const place = source.fileOffset + offset;
    return apart(place, size, (start, bytes) => source.file.mapApart(start, bytes, write));
  }
  if (mapping.source.kind !== 'device') return null;
  const source = mapping.source as DeviceMemory;
  const memory = source.region.memory;
  const place = source.offset + offset;
  if (memory instanceof LiveRegionMemory) {
    return apart(place, size, (start, bytes) => memory.mapApart(start, bytes, write));
  }
  if (memory === null) return null;
  const window = memory.bytesAt(place);
  const from = place - memory.windowStart(place);
  return from + size <= window.length ? { bytes: window.subarray(from, from + size), mapping: null } : null;
}

function apart(
  place: number,
  size: number,
  map: (start: number, sizeBytes: number) => Mapping,
): WindowBacking {
  const start = pageFloor(place);
  const end = pageCeil(place + size);
  const mapping = map(start, end - start);
  return { bytes: mapping.bytes.subarray(place - start, place - start + size), mapping };
}

/** pread or pwrite until the end of the range or of the file. */
function moveByFile(
  source: ClientMemory,
  place: number,
  bytes: Uint8Array,
  at: number,
  length: number,
  write: boolean,
): number {
  let moved = 0;
  try {
    while (moved < length) {
      const part = write
        ? source.file.pwrite(place + moved, bytes, at + moved, length - moved)
        : source.file.pread(place + moved, bytes, at + moved, length - moved);
      if (part <= 0) break;
      moved += part;
    }
  } catch (error) {
    if (!(error instanceof VfioError)) throw error;
  }
  return moved;
}
