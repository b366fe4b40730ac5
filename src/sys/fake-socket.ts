/*
 * One end of a UNIX stream socket in memory, with what matters of the kernel's: limited room, partial writes, and a read
 * that stops after the write that carried fds (they are descriptions here, until somebody receives them).
 */
import { ERRNO } from '../abi/errno.ts';
import type { Description } from './fake-descriptor.ts';

/** As net.core.wmem_default. */
const ROOM_BYTES = 212_992;

interface Chunk {
  readonly bytes: Uint8Array;
  taken: number;
  passed: readonly Description[];
}

export class FakeSocket implements Description {
  readonly kind = 'socket';
  readonly name = 'socket:[fake]';
  references = 0;
  readonly watchers: Set<() => void> = new Set();
  /** Fds that came with the last `read`. */
  arrived: readonly Description[] = [];
  private peer: FakeSocket | null = null;
  private readonly incoming: Chunk[] = [];
  private incomingBytes = 0;
  private open = true;

  static pair(): [FakeSocket, FakeSocket] {
    const first = new FakeSocket();
    const second = new FakeSocket();
    first.peer = second;
    second.peer = first;
    return [first, second];
  }

  get readable(): boolean {
    return this.incoming.length > 0 || this.atEnd;
  }

  /** Whether a write may take something (or fail for good). */
  get writable(): boolean {
    return !this.open || this.peer === null || !this.peer.open || this.peer.incomingBytes < ROOM_BYTES;
  }

  /** Bytes taken, or a negative errno. Fds go with the first byte. */
  write(bytes: Uint8Array, passed: readonly Description[]): number {
    const { peer } = this;
    if (!this.open || peer === null || !peer.open) return -ERRNO.EPIPE;
    const count = Math.min(bytes.length, ROOM_BYTES - peer.incomingBytes);
    if (count <= 0) return -ERRNO.EAGAIN;
    for (const each of passed) each.references++;
    peer.incoming.push({ bytes: bytes.slice(0, count), taken: 0, passed });
    peer.incomingBytes += count;
    peer.tell();
    return count;
  }

  /** Bytes read; 0 at the end; -EAGAIN when there are none. Whoever reads owns the references in `arrived`. */
  read(target: Uint8Array, at: number): number {
    this.arrived = [];
    let count = 0;
    while (at + count < target.length) {
      const chunk = this.incoming[0];
      if (chunk === undefined) break;
      const size = Math.min(target.length - at - count, chunk.bytes.length - chunk.taken);
      target.set(chunk.bytes.subarray(chunk.taken, chunk.taken + size), at + count);
      chunk.taken += size;
      count += size;
      this.arrived = chunk.passed;
      chunk.passed = [];
      if (chunk.taken === chunk.bytes.length) this.incoming.shift();
      if (this.arrived.length > 0) break;
    }
    this.incomingBytes -= count;
    if (count > 0) this.peer?.tell();
    if (count > 0) return count;
    return this.atEnd ? 0 : -ERRNO.EAGAIN;
  }

  shutdown(): void {
    this.open = false;
    this.tell();
    this.peer?.tell();
  }

  released(): void {
    this.shutdown();
    for (const chunk of this.incoming.splice(0)) {
      for (const each of chunk.passed) dropReference(each);
    }
    this.incomingBytes = 0;
  }

  private get atEnd(): boolean {
    return this.incoming.length === 0 && (!this.open || this.peer === null || !this.peer.open);
  }

  private tell(): void {
    for (const watcher of this.watchers) watcher();
  }
}

/** One fd (or one fd on its way) less. */
export function dropReference(description: Description): void {
  description.references--;
  if (description.references === 0) description.released();
}
