/*
 * DMA of a device in this process: a container and an engine like a session's, filled by the client directly. What a
 * range is (client memory, memory of a device, memory by messages) is decided as a server decides it.
 */
import { Container, type ContainerOptions } from '../core/container.ts';
import type { DmaMapping } from '../core/dma-mapping.ts';
import { type DmaPort, VfioError } from '../core/index.ts';
import { DeviceMemory, type DmaSource } from '../core/source.ts';
import {
  ClientFiles,
  classify,
  DmaEngine,
  RegionRegistry,
  type RemoteMemory,
  RemoteRange,
  type SealedMemory,
} from '../memory/index.ts';
import type { SysLayer } from '../sys/sys-layer.ts';
import type {
  DeviceHandle,
  DmaMapOptions,
  DmaMemory,
  DmaMemoryOptions,
  PeerMapOptions,
} from './device-handle.ts';
import { BytesBacking, type DmaBacking, PeerBacking } from './dma-backing.ts';
import { DmaMemories } from './dma-memory.ts';
import { DmaTable } from './dma-table.ts';
import { lowestFreeIova, type TakenRange } from './free-iova.ts';
import { DEFAULT_TRANSFER_BYTES } from './limits.ts';
import { localRegion, locatePeer } from './peer-memory.ts';

interface Rights {
  readonly iova: number;
  readonly sizeBytes: number;
  readonly read: boolean;
  readonly write: boolean;
}

export class InProcessDma {
  readonly container: Container;
  readonly #sys: SysLayer;
  readonly #engine: DmaEngine;
  /** Ranges that a server would reach by messages: here they are asked for in the same way, without the messages. */
  readonly #byMessages: DmaTable = new DmaTable();
  readonly #memories: DmaMemories;
  readonly #mappings: Map<SealedMemory, DmaMapping> = new Map();
  readonly #letGo: () => void;

  constructor(sys: SysLayer, options: ContainerOptions) {
    this.#sys = sys;
    this.container = new Container(options);
    this.#engine = new DmaEngine(this.container, sys, this.#remote());
    this.#letGo = ClientFiles.of(sys).hold();
    this.#memories = new DmaMemories(sys, {
      findFree: (sizeBytes) => lowestFreeIova(sizeBytes, taken(this.container)),
      map: (memory, iova, mapOptions) => this.#mapMemory(memory, iova, mapOptions),
      unmap: (memory, iova) => this.#unmapMemory(memory, iova),
    });
  }

  get port(): DmaPort {
    return this.#engine;
  }

  allocate(sizeBytes: number, options?: DmaMemoryOptions): Promise<DmaMemory> {
    return this.#memories.allocate(sizeBytes, options);
  }

  map(request: DmaMapOptions): void {
    const { iova, sizeBytes, fd, bytes, read = true, write = true, access = 'any' } = request;
    const rights = { iova, sizeBytes, read, write };
    if (fd !== undefined) this.#mapFd(rights, fd, request.offset ?? 0, access);
    else if (bytes !== undefined && bytes.length >= sizeBytes) {
      this.#mapByMessages(rights, new BytesBacking(this.#sys, () => bytes));
    } else {
      throw new VfioError(
        'EINVAL',
        `dmaMap needs an fd, or bytes of at least ${sizeBytes}; pass one of them`,
      );
    }
  }

  async mapPeer(peer: DeviceHandle, request: PeerMapOptions): Promise<void> {
    const { index, offset = 0, sizeBytes, iova, read = true, write = true, byMessages = false } = request;
    const rights = { iova, sizeBytes, read, write };
    const region = localRegion(peer, index);
    if (byMessages) this.#mapByMessages(rights, new PeerBacking(peer, index, offset));
    else if (region !== null) this.#mapSource(rights, new DeviceMemory({ region, offset, sizeBytes }));
    else {
      const { fd, fileOffset } = await locatePeer(peer, index, offset, sizeBytes);
      this.#mapFd(rights, fd, fileOffset, 'any');
    }
  }

  async unmap(iova: number, sizeBytes: number, all: boolean): Promise<number> {
    const bytes = this.container.unmap(iova, sizeBytes, { all });
    await this.container.idle();
    if (all) this.#byMessages.clear();
    else this.#byMessages.removeInside(iova, iova + sizeBytes);
    return bytes;
  }

  /** The client leaves: nothing can be reached any more when this returns. */
  close(): void {
    this.#engine.close();
    this.container.close();
    this.#byMessages.clear();
    this.#memories.closeAll();
    this.#letGo();
  }

  #mapFd(rights: Rights, fd: number, offset: number, mode: 'any' | 'mmap' | 'file-io'): DmaMapping {
    const { iova, sizeBytes: size, read, write } = rights;
    const sys = this.#sys;
    const request = { fd: sys.dup(fd), offset, size, iova, read, write, mode, peerPid: null };
    const context = { sys, files: ClientFiles.of(sys), registry: RegionRegistry.of(sys) };
    return this.#mapSource(rights, classify(request, context));
  }

  #mapByMessages(rights: Rights, backing: DmaBacking): void {
    const mapping = this.#mapSource(rights, new RemoteRange());
    try {
      this.#byMessages.insert({ ...rights, backing });
    } catch (error) {
      this.container.unmap(mapping.iova, mapping.size);
      throw error;
    }
  }

  #mapSource({ iova, sizeBytes: size, read, write }: Rights, source: DmaSource): DmaMapping {
    try {
      return this.container.map({ iova, size, read, write, source });
    } catch (error) {
      source.detach();
      throw error;
    }
  }

  async #mapMemory(memory: SealedMemory, iova: number, options: DmaMemoryOptions): Promise<void> {
    const { read = true, write = true } = options;
    const rights = { iova, sizeBytes: memory.sizeBytes, read, write };
    this.#mappings.set(memory, this.#mapFd(rights, memory.fd, 0, 'any'));
  }

  async #unmapMemory(memory: SealedMemory, iova: number): Promise<void> {
    const mapping = this.#mappings.get(memory);
    this.#mappings.delete(memory);
    if (mapping === undefined || this.container.closed || this.container.find(iova) !== mapping) return;
    await this.unmap(iova, memory.sizeBytes, false);
  }

  #remote(): RemoteMemory {
    const table = this.#byMessages;
    return {
      maxTransferBytes: DEFAULT_TRANSFER_BYTES,
      read: (iova, target, at, length) => table.moveLater(iova, target, at, length, false),
      write: (iova, source, at, length) => table.moveLater(iova, source, at, length, true),
    };
  }
}

function* taken(container: Container): Generator<TakenRange, void, undefined> {
  for (const { iova, size } of container.mappings()) yield { iova, sizeBytes: size };
}
