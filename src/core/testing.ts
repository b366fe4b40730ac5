/*
 * Plain memory and recording triggers: what the core's ports look like without an operating system. For tests
 * of the rules and of device models, and for worlds that have no memfd.
 */
import type { VfioDevice } from './device.ts';
import { assert } from './error.ts';
import type { IrqTrigger } from './irq.ts';
import type { RegionMemory } from './region-memory.ts';

/**
 * Memory behind a region that is an ordinary Uint8Array, in windows of `windowBytes` (one window unless said
 * otherwise).
 */
export class PlainRegionMemory implements RegionMemory {
  readonly sizeBytes: number;
  /** Set it to see what a region does whose memory a client took away. */
  lost = false;
  suspended = false;
  released = false;
  /** What the device told this memory, in order. */
  readonly calls: ('suspend' | 'resume' | 'release')[] = [];
  readonly #windowBytes: number;
  readonly #windows: Uint8Array[] = [];

  constructor(sizeBytes: number, windowBytes: number = sizeBytes) {
    this.sizeBytes = sizeBytes;
    this.#windowBytes = windowBytes;
    for (let start = 0; start < sizeBytes; start += windowBytes) {
      this.#windows.push(new Uint8Array(Math.min(windowBytes, sizeBytes - start)));
    }
  }

  bytesAt(offset: number): Uint8Array {
    const window = this.#windows[Math.floor(offset / this.#windowBytes)];
    assert(window !== undefined, `offset ${offset} is beyond ${this.sizeBytes} bytes of plain memory`);
    return window;
  }

  windowStart(offset: number): number {
    return offset - (offset % this.#windowBytes);
  }

  suspend(): void {
    assert(!this.suspended && !this.released, 'memory is suspended once, and not after release');
    this.suspended = true;
    this.calls.push('suspend');
  }

  resume(): void {
    assert(this.suspended && !this.released, 'memory is resumed after a suspend, and not after release');
    this.suspended = false;
    this.calls.push('resume');
  }

  release(): void {
    assert(!this.released, 'memory is released once');
    this.released = true;
    this.calls.push('release');
    for (const window of this.#windows) window.fill(0);
  }

  clear(offset: number, size: number): void {
    for (let at = offset; at < offset + size; ) {
      const window = this.bytesAt(at);
      const from = at - this.windowStart(at);
      const end = Math.min(window.length, from + offset + size - at);
      window.fill(0, from, end);
      at += end - from;
    }
  }
}

/** Gives every mappable region of a device plain memory. Returns it by region index. */
export function attachPlainMemory(device: VfioDevice, windowBytes?: number): Map<number, PlainRegionMemory> {
  const memories = new Map<number, PlainRegionMemory>();
  for (const region of device.regions.values()) {
    if (!region.mappable) continue;
    const memory = new PlainRegionMemory(region.sizeBytes, windowBytes ?? region.sizeBytes);
    region.memory = memory;
    memories.set(region.index, memory);
  }
  return memories;
}

/** A trigger that counts. `fire` plays the other side of an eventfd: who listens is called. */
export class RecordingTrigger implements IrqTrigger {
  signals = 0;
  closes = 0;
  readonly #listeners: (() => void)[] = [];

  signal(): void {
    assert(this.closes === 0, 'a closed trigger is not signalled');
    this.signals++;
  }

  close(): void {
    this.closes++;
  }

  listen(listener: () => void): void {
    this.#listeners.push(listener);
  }

  fire(): void {
    for (const listener of this.#listeners) listener();
  }
}
