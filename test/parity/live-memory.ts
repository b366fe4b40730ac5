/*
 * Memory of the live worlds: a process's mapping of a region's file, and memory of a client that it shares by a memfd.
 */
import { closeSync, openSync } from 'node:fs';
import { openSys } from '../../src/sys/index.ts';
import type { Answerer } from '../support/holder.ts';
import { memfd } from '../support/memory.ts';
import type { DeviceName, MappingCall, MemoryRequest, ParityMapping, ProcessMemory } from './world.ts';

const sys = openSys();

/** What a mapping shows of a device. */
interface Range {
  readonly device: DeviceName;
  readonly index: number;
  /** In the region. */
  readonly place: number;
  readonly length: number;
}

/** A mapping of the process that holds the region's file. */
export class LiveMapping implements ParityMapping, Range {
  readonly device: DeviceName;
  readonly index: number;
  readonly place: number;
  readonly length: number;
  readonly #process: Answerer;
  readonly #id: number;

  constructor(process: Answerer, id: number, range: Range) {
    this.#process = process;
    this.#id = id;
    this.device = range.device;
    this.index = range.index;
    this.place = range.place;
    this.length = range.length;
  }

  touch(offset: number, value?: number): Promise<string> {
    const command = value === undefined ? 'read' : 'write';
    return this.#process.ask(`${command} ${this.#id} ${offset} ${value ?? ''}`);
  }

  call(request: MappingCall): Promise<string> {
    switch (request.call) {
      case 'mprotect':
        return this.#process.ask(`mprotect ${this.#id} ${request.protection}`);
      case 'mremap-grow':
      case 'mremap-shrink':
        return this.#process.ask(`mremap ${this.#id} ${request.length}`);
      case 'mremap-move':
        return this.#process.ask(`move ${this.#id}`);
      case 'madvise-DONTNEED':
        return this.#process.ask(`madvise ${this.#id}`);
      case 'mlock':
        return this.#process.ask(`mlock ${this.#id}`);
      case 'write-pipe':
        return this.#process.ask(`pipe ${this.#id} ${request.length}`);
    }
  }

  async munmap(): Promise<void> {
    await this.#process.ask(`unmap ${this.#id}`);
  }
}

/** A memfd and a mapping of it: what a client has that shares its memory. */
export class LiveMemory implements ProcessMemory {
  /** What DMA_MAP is given: read-only if the process may only read the memory. */
  readonly fd: number;
  readonly #bytes: Uint8Array;
  readonly #end: () => void;
  #freed = false;

  constructor({ sizeBytes, writable = true, presentBytes = sizeBytes }: MemoryRequest) {
    const fd = memfd(sys, presentBytes);
    const mapping = presentBytes === 0 ? null : sys.map(fd, 0, presentBytes, 'rw');
    this.fd = writable ? fd : openSync(`/proc/self/fd/${fd}`, 'r');
    this.#bytes = mapping?.bytes ?? new Uint8Array(0);
    this.#end = () => {
      mapping?.unmap();
      if (this.fd !== fd) closeSync(this.fd);
      sys.close(fd);
    };
  }

  read(offset: number, length: number): Uint8Array {
    return this.#bytes.slice(offset, offset + length);
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, offset);
  }

  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    this.#end();
  }
}
