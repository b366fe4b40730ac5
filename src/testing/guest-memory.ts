/*
 * Memory of the guest that a test is: the device reaches it by DMA until the test takes it away.
 */

import { lowestFreeIova } from '../client/free-iova.ts';
import type { DeviceHandle } from '../client/index.ts';
import { PAGE_SIZE, VfioError } from '../core/index.ts';

export interface GuestMemoryOptions {
  /** Where the device sees it, a multiple of 4096. Default: the lowest free place from 1 MiB on. */
  readonly iova?: number;
  /** Whether the device may read. Default true. */
  readonly read?: boolean;
  /** Whether the device may write. Default true. */
  readonly write?: boolean;
  /** Not shared: each transfer is asked for and takes time, as with a guest whose RAM has no `share=on`. */
  readonly byMessages?: boolean;
}

/** What holds the bytes, until the client leaves. */
interface Storage {
  readonly bytes: Uint8Array;
  readonly fd?: number;
}

export class GuestMemory {
  /** Where the device sees it. */
  readonly iova: number;
  readonly sizeBytes: number;
  readonly #handle: DeviceHandle;
  readonly #storage: Storage;
  readonly #options: GuestMemoryOptions;
  #mapped = true;

  /** @internal It is mapped already. */
  constructor(
    handle: DeviceHandle,
    iova: number,
    sizeBytes: number,
    storage: Storage,
    options: GuestMemoryOptions,
  ) {
    this.iova = iova;
    this.sizeBytes = sizeBytes;
    this.#handle = handle;
    this.#storage = storage;
    this.#options = options;
  }

  /** The memory itself. It stays readable when it is unmapped from the device. */
  get bytes(): Uint8Array {
    return this.#storage.bytes;
  }

  /** The same, for numbers: `memory.view.getUint32(0, true)`. */
  get view(): DataView {
    const { buffer, byteOffset, length } = this.#storage.bytes;
    return new DataView(buffer, byteOffset, length);
  }

  /** Whether the device can reach it. */
  get mapped(): boolean {
    return this.#mapped;
  }

  /** Takes it away from the device: DMA to it faults with 'not mapped'. Resolves when no DMA is under way any more. */
  async unmap(): Promise<void> {
    if (!this.#mapped) return;
    this.#mapped = false;
    await this.#handle.dmaUnmap(this.iova, this.sizeBytes);
  }

  /** Gives it back to the device, at the same place, optionally with other rights. EEXIST if the place is taken now. */
  async map(rights: { readonly read?: boolean; readonly write?: boolean } = {}): Promise<void> {
    if (this.#mapped) throw new VfioError('EEXIST', 'this memory is mapped already; unmap it first');
    await this.#handle.dmaMap(requestOf(this, this.#storage, { ...this.#options, ...rights }));
    this.#mapped = true;
  }
}

/** All guest memory of one client. Between two pieces there is a page of nothing: DMA past an end faults. */
export class GuestMemories {
  readonly #handle: DeviceHandle;
  readonly #taken: { readonly iova: number; readonly sizeBytes: number }[] = [];

  constructor(handle: DeviceHandle) {
    this.#handle = handle;
  }

  async allocate(sizeBytes: number, options: GuestMemoryOptions): Promise<GuestMemory> {
    const size = Math.ceil(sizeBytes / PAGE_SIZE) * PAGE_SIZE;
    const iova = this.reserve(size, options.iova);
    if (options.byMessages !== true) {
      const { read = true, write = true } = options;
      const shared = await this.#handle.dmaMemory(size, { iova, read, write });
      return new GuestMemory(this.#handle, iova, size, shared, options);
    }
    const storage = { bytes: new Uint8Array(size) };
    await this.#handle.dmaMap(requestOf({ iova, sizeBytes: size }, storage, options));
    return new GuestMemory(this.#handle, iova, size, storage, options);
  }

  /** A place that nobody else gets, or the one that was asked for. */
  reserve(sizeBytes: number, wanted?: number): number {
    const iova = wanted ?? lowestFreeIova(sizeBytes + PAGE_SIZE, this.#taken);
    this.#taken.push({ iova, sizeBytes: sizeBytes + PAGE_SIZE });
    this.#taken.sort((a, b) => a.iova - b.iova);
    return iova;
  }
}

function requestOf(
  { iova, sizeBytes }: { readonly iova: number; readonly sizeBytes: number },
  storage: Storage,
  { read = true, write = true }: GuestMemoryOptions,
): Parameters<DeviceHandle['dmaMap']>[0] {
  const { fd, bytes } = storage;
  return { iova, sizeBytes, read, write, ...(fd === undefined ? { bytes } : { fd }) };
}
