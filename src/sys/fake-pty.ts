/*
 * One end of a pseudo terminal in memory, in raw mode: limited room, and EIO where the other end is closed.
 */
import { ERRNO } from '../abi/errno.ts';
import type { Description } from './fake-descriptor.ts';

/** Less than the kernel keeps, so that tests meet a full terminal soon. */
const ROOM_BYTES = 4096;

export class FakePty implements Description {
  readonly kind = 'pty';
  readonly name: string;
  references = 0;
  readonly watchers: Set<() => void> = new Set();
  private peer: FakePty | null = null;
  private incoming = new Uint8Array(0);
  private open = true;

  private constructor(name: string) {
    this.name = name;
  }

  /** The master and the terminal at `path`. */
  static pair(path: string): [FakePty, FakePty] {
    const master = new FakePty('/dev/ptmx');
    const slave = new FakePty(path);
    master.peer = slave;
    slave.peer = master;
    return [master, slave];
  }

  get readable(): boolean {
    return this.incoming.length > 0 || !this.peer!.open;
  }

  get writable(): boolean {
    return this.peer!.incoming.length < ROOM_BYTES;
  }

  /** Bytes read, or a negative errno. */
  read(target: Uint8Array): number {
    const count = Math.min(target.length, this.incoming.length);
    if (count === 0) return this.peer!.open ? -ERRNO.EAGAIN : -ERRNO.EIO;
    target.set(this.incoming.subarray(0, count));
    this.incoming = this.incoming.slice(count);
    this.peer!.tell();
    return count;
  }

  /** Bytes taken, or a negative errno. */
  write(bytes: Uint8Array): number {
    const peer = this.peer!;
    const count = Math.min(bytes.length, ROOM_BYTES - peer.incoming.length);
    if (count === 0) return -ERRNO.EAGAIN;
    const all = new Uint8Array(peer.incoming.length + count);
    all.set(peer.incoming);
    all.set(bytes.subarray(0, count), peer.incoming.length);
    peer.incoming = all;
    peer.tell();
    return count;
  }

  released(): void {
    this.open = false;
    this.peer!.tell();
  }

  private tell(): void {
    for (const watcher of this.watchers) watcher();
  }
}
