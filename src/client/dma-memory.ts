/*
 * Memory that a program shares with its device: sealed, mapped here, and mapped for the device as long as it is open.
 */
import { SealedMemory } from '../memory/index.ts';
import type { SysLayer } from '../sys/sys-layer.ts';
import type { DmaMemory, DmaMemoryOptions } from './device-handle.ts';

/** How a backing maps and unmaps such memory. */
export interface DmaMemoryPort {
  /** The lowest free range of IOVAs. */
  findFree(sizeBytes: number): number;
  map(memory: SealedMemory, iova: number, options: DmaMemoryOptions): Promise<void>;
  /** Does nothing if the mapping is gone already. */
  unmap(memory: SealedMemory, iova: number): Promise<void>;
}

/** All such memory of one open device. */
export class DmaMemories {
  readonly #sys: SysLayer;
  readonly #port: DmaMemoryPort;
  readonly #open: Set<SealedMemory> = new Set();

  constructor(sys: SysLayer, port: DmaMemoryPort) {
    this.#sys = sys;
    this.#port = port;
  }

  async allocate(sizeBytes: number, options: DmaMemoryOptions = {}): Promise<DmaMemory> {
    const memory = new SealedMemory(this.#sys, sizeBytes, options.name);
    const iova = options.iova ?? this.#port.findFree(memory.sizeBytes);
    try {
      await this.#port.map(memory, iova, options);
    } catch (error) {
      memory.close();
      throw error;
    }
    this.#open.add(memory);
    let closing: Promise<void> | null = null;
    return {
      iova,
      sizeBytes: memory.sizeBytes,
      fd: memory.fd,
      get bytes() {
        return memory.bytes;
      },
      close: () => {
        closing ??= this.#close(memory, iova);
        return closing;
      },
    };
  }

  /** Frees everything, without a word to the device: for a device that is being left, or gone. */
  closeAll(): void {
    for (const memory of this.#open) memory.close();
    this.#open.clear();
  }

  async #close(memory: SealedMemory, iova: number): Promise<void> {
    try {
      await this.#port.unmap(memory, iova);
    } finally {
      this.#open.delete(memory);
      memory.close();
    }
  }
}
