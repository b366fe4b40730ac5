/*
 * DMA mappings of a device behind a socket: DMA_MAP and DMA_UNMAP, and the table that answers its DMA messages.
 */
import {
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_USER_DMA_MAP,
  VFIO_USER_DMA_UNMAP,
  VFIO_USER_F_DMA_REGION_FILE_IO,
  VFIO_USER_F_DMA_REGION_MMAP,
  VFIO_USER_F_DMA_REGION_READ,
  VFIO_USER_F_DMA_REGION_WRITE,
  vfio_user_dma_map,
  vfio_user_dma_unmap,
} from '../abi/index.ts';
import { IOVA_END, VfioError } from '../core/index.ts';
import type { SealedMemory } from '../memory/index.ts';
import type { SysLayer } from '../sys/sys-layer.ts';
import type { Channel } from './channel.ts';
import type {
  DeviceHandle,
  DmaMapOptions,
  DmaMemory,
  DmaMemoryOptions,
  PeerMapOptions,
} from './device-handle.ts';
import { BytesBacking, type DmaBacking, FileBacking, PeerBacking } from './dma-backing.ts';
import { DmaMemories } from './dma-memory.ts';
import type { DmaEntry, DmaTable } from './dma-table.ts';
import { lowestFreeIova } from './free-iova.ts';
import type { Agreement } from './negotiate.ts';
import { locatePeer } from './peer-memory.ts';
import { protocolError } from './reply-error.ts';

/** One DMA_MAP. */
interface Mapping {
  readonly iova: number;
  readonly sizeBytes: number;
  readonly read: boolean;
  readonly write: boolean;
  /** null: the server reaches it by messages. */
  readonly file: { readonly fd: number; readonly offset: number } | null;
  readonly access: 'any' | 'mmap' | 'file-io';
}

export class SocketDma {
  readonly #sys: SysLayer;
  readonly #channel: Channel;
  readonly #agreement: Agreement;
  readonly #table: DmaTable;
  readonly #memories: DmaMemories;
  readonly #entries: Map<SealedMemory, DmaEntry> = new Map();

  constructor(sys: SysLayer, channel: Channel, agreement: Agreement, table: DmaTable) {
    this.#sys = sys;
    this.#channel = channel;
    this.#agreement = agreement;
    this.#table = table;
    this.#memories = new DmaMemories(sys, {
      findFree: (sizeBytes) => lowestFreeIova(sizeBytes, table.entries()),
      map: (memory, iova, options) => this.#mapMemory(memory, iova, options),
      unmap: (memory, iova) => this.#unmapMemory(memory, iova),
    });
  }

  allocate(sizeBytes: number, options?: DmaMemoryOptions): Promise<DmaMemory> {
    return this.#memories.allocate(sizeBytes, options);
  }

  async map(request: DmaMapOptions): Promise<void> {
    const { iova, sizeBytes, fd, bytes, read = true, write = true, access = 'any' } = request;
    const mapping = { iova, sizeBytes, read, write, access };
    if (fd !== undefined) {
      const offset = request.offset ?? 0;
      await this.#send({ ...mapping, file: { fd, offset } }, new FileBacking(this.#sys, fd, offset));
      return;
    }
    if (bytes === undefined || bytes.length < sizeBytes) {
      throw new VfioError(
        'EINVAL',
        `dmaMap needs an fd, or bytes of at least ${sizeBytes}; pass one of them`,
      );
    }
    await this.#send({ ...mapping, file: null }, new BytesBacking(this.#sys, () => bytes));
  }

  async mapPeer(peer: DeviceHandle, request: PeerMapOptions): Promise<void> {
    const { index, offset = 0, sizeBytes, iova, read = true, write = true, byMessages = false } = request;
    const mapping = { iova, sizeBytes, read, write, access: 'any' } as const;
    if (byMessages) {
      await this.#send({ ...mapping, file: null }, new PeerBacking(peer, index, offset));
      return;
    }
    const { fd, fileOffset } = await locatePeer(peer, index, offset, sizeBytes);
    const file = { fd, offset: fileOffset };
    await this.#send({ ...mapping, file }, new FileBacking(this.#sys, fd, fileOffset));
  }

  async unmap(iova: number, sizeBytes: number, all: boolean): Promise<number> {
    const payload = new Uint8Array(vfio_user_dma_unmap.size);
    const flags = all ? VFIO_DMA_UNMAP_FLAG_ALL : 0;
    vfio_user_dma_unmap.encode(new DataView(payload.buffer), 0, {
      argsz: payload.length,
      flags,
      addr: iova,
      size: sizeBytes,
    });
    const about = all ? 'all' : `iova 0x${iova.toString(16)}, size 0x${sizeBytes.toString(16)}`;
    try {
      const reply = await this.#channel.request(VFIO_USER_DMA_UNMAP, payload, { about });
      // Some servers echo nothing when their device does no DMA.
      if (reply.payload.length !== 0 && reply.payload.length < payload.length) {
        throw protocolError(`DMA_UNMAP with ${reply.payload.length} bytes`);
      }
    } catch (error) {
      // libvfio-user's word for "nothing there", which type1 and our server call a success of 0 bytes.
      if (!(error instanceof VfioError) || error.code !== 'ENOENT') throw error;
    }
    // The server has ended every use by now, so nobody will ask for these ranges any more.
    return all ? this.#table.clear() : this.#table.removeInside(iova, iova + sizeBytes);
  }

  /** Frees everything here, without a word to the server. */
  close(): void {
    this.#table.clear();
    this.#memories.closeAll();
    this.#entries.clear();
  }

  async #mapMemory(memory: SealedMemory, iova: number, options: DmaMemoryOptions): Promise<void> {
    const { read = true, write = true } = options;
    const file = { fd: memory.fd, offset: 0 };
    const mapping = { iova, sizeBytes: memory.sizeBytes, read, write, file, access: 'any' } as const;
    this.#entries.set(memory, await this.#send(mapping, new BytesBacking(this.#sys, () => memory.bytes)));
  }

  async #unmapMemory(memory: SealedMemory, iova: number): Promise<void> {
    const entry = this.#entries.get(memory);
    this.#entries.delete(memory);
    if (entry === undefined || !this.#table.has(entry) || this.#channel.error !== null) return;
    await this.unmap(iova, memory.sizeBytes, false);
  }

  /** Sends a DMA_MAP. The server may use the range before its answer is here, so the table has it before. */
  async #send(mapping: Mapping, backing: DmaBacking): Promise<DmaEntry> {
    const { iova, sizeBytes, read, write, file, access } = mapping;
    const entry: DmaEntry = { iova, sizeBytes, read, write, backing };
    try {
      this.#checkRange(iova, sizeBytes);
      this.#table.insert(entry);
    } catch (error) {
      backing.release();
      throw error;
    }
    const payload = new Uint8Array(vfio_user_dma_map.size);
    const flags =
      (read ? VFIO_USER_F_DMA_REGION_READ : 0) |
      (write ? VFIO_USER_F_DMA_REGION_WRITE : 0) |
      (access === 'mmap' ? VFIO_USER_F_DMA_REGION_MMAP : 0) |
      (access === 'file-io' ? VFIO_USER_F_DMA_REGION_FILE_IO : 0);
    vfio_user_dma_map.encode(new DataView(payload.buffer), 0, {
      argsz: payload.length,
      flags,
      offset: file?.offset ?? 0,
      addr: iova,
      size: sizeBytes,
    });
    const about = `iova 0x${iova.toString(16)}, size 0x${sizeBytes.toString(16)}`;
    const fds = file === null ? [] : [file.fd];
    try {
      await this.#channel.request(VFIO_USER_DMA_MAP, payload, { fds, about });
    } catch (error) {
      if (this.#table.has(entry)) this.#table.removeInside(iova, iova + sizeBytes);
      throw error;
    }
    return entry;
  }

  #checkRange(iova: number, sizeBytes: number): void {
    const { maxDmaMaps } = this.#agreement;
    if (!(Number.isInteger(iova) && iova >= 0 && Number.isInteger(sizeBytes) && sizeBytes > 0)) {
      throw new VfioError('EINVAL', `iova ${iova}, size ${sizeBytes}: both must be whole numbers`);
    }
    if (iova + sizeBytes > IOVA_END) {
      const range = `iova 0x${iova.toString(16)}, size 0x${sizeBytes.toString(16)}`;
      throw new VfioError('EOVERFLOW', `${range} ends beyond the address space: map below 2^53`);
    }
    if (this.#table.size >= maxDmaMaps) {
      throw new VfioError('ENOSPC', `the server takes ${maxDmaMaps} mappings; unmap some`);
    }
  }
}
