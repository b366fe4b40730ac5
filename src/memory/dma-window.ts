/*
 * A device's direct view of memory: a mapping of its own, so that it can be taken away alone.
 *
 * The bytes of a shared window could be cut off only by asking everybody not to use them any more; a view kept by a
 * device, or a read that the thread pool is doing into it, would go on. A mapping of its own is replaced by zero pages
 * and detached at the moment the DMA mapping or the device's memory goes away, and whoever still holds the view holds
 * an empty array. That costs some 20 us per window: windows are for queues, not for single transfers.
 */
import type { DmaFaultReason, DmaWindow } from '../core/index.ts';
import type { Mapping } from '../sys/sys-layer.ts';
import { NO_BYTES } from './window.ts';

/** What an engine holds to end a window: the mapping under it, or nothing for plain memory, and what else to undo. */
export interface WindowBacking {
  readonly bytes: Uint8Array;
  readonly mapping: Mapping | null;
}

/** A live window. `bytes` is the same array until it dies, then an empty one. */
export class EngineWindow implements DmaWindow {
  #bytes: Uint8Array;
  #mapping: Mapping | null;
  #dead: DmaFaultReason | null = null;
  #onEnd: (() => void) | null;

  constructor(backing: WindowBacking, onEnd: () => void) {
    this.#bytes = backing.bytes;
    this.#mapping = backing.mapping;
    this.#onEnd = onEnd;
  }

  get bytes(): Uint8Array {
    if (this.#mapping?.lost) this.end('memory was lost');
    return this.#bytes;
  }

  get dead(): DmaFaultReason | null {
    if (this.#mapping?.lost) this.end('memory was lost');
    return this.#dead;
  }

  /** The holder needs it no more. */
  close(): void {
    this.end('window was closed');
  }

  /** Takes the memory away. When it returns nobody can reach it through this window. */
  end(reason: DmaFaultReason): void {
    if (this.#dead !== null) return;
    this.#dead = reason;
    this.#bytes = NO_BYTES;
    this.#mapping?.unmap();
    this.#mapping = null;
    this.#onEnd?.();
    this.#onEnd = null;
  }
}
