/**
 * A pseudo terminal as the other end of a serial port: what the guest sends can be read from it, what is written to it
 * the guest receives.
 *
 * Nothing is dropped and little is kept. What nobody reads stays in the kernel's buffer; when that is full CTS goes down.
 * What the guest does not take stays in one chunk here and behind that in the kernel's buffer; when that is full whoever
 * writes waits. Our own fd of the terminal keeps it alive while nobody else has it open.
 */
import type { SerialEnd, SerialLine } from '../../devices/serial/line.ts';
import type { Pty, SysLayer, Watcher } from '../../sys/index.ts';

/** Read at once; as much as a terminal's line discipline keeps. */
const CHUNK_BYTES = 4096;
/**
 * A line has a speed, about 128,000 bits a second here. Without one a guest's interrupt handler finds the FIFO full again
 * whenever it has emptied it: Linux with one processor then did nothing else, and its readers got nothing for a minute.
 */
const BURST_BYTES = 16;
const BURST_MS = 1;
/**
 * Taken from the guest after CTS went down: what it had under way. Linux sends up to two FIFOs until it heeds CTS, and empties
 * the chip's FIFO when the port is closed, so nothing should have to wait there.
 */
const RESERVE_BYTES = 1024;

export class PtyEnd implements SerialEnd {
  /** The symbolic link to the terminal, or null. */
  readonly link: string | null;
  readonly #sys: SysLayer;
  readonly #line: SerialLine;
  readonly #pty: Pty;
  /** The master again: one fd to wait until it can be read, one until it can be written. */
  readonly #writeFd: number;
  readonly #chunk: Uint8Array = new Uint8Array(CHUNK_BYTES);
  /** What the guest has not taken yet lies in [start, end) of the chunk. */
  #start = 0;
  #end = 0;
  /** What did not go into the kernel's buffer: bytes [0, reserved). */
  readonly #reserve: Uint8Array = new Uint8Array(RESERVE_BYTES);
  #reserved = 0;
  #nextBurst: NodeJS.Timeout | null = null;
  #readable: Watcher | null = null;
  #writable: Watcher | null = null;
  #closed = false;

  /** Opens a terminal, makes the link, and plugs the terminal into the line. VfioError when one of them fails. */
  constructor(sys: SysLayer, line: SerialLine, link: string | null) {
    this.#sys = sys;
    this.#line = line;
    this.#pty = sys.openPty();
    this.#writeFd = sys.dup(this.#pty.master);
    this.link = null;
    try {
      if (link !== null) sys.symlink(this.path, link);
      this.link = link;
    } catch (error) {
      this.#closeFds();
      throw error;
    }
    line.connect(this);
    this.room();
  }

  /** What others open: '/dev/pts/3' for example. */
  get path(): string {
    return this.#pty.path;
  }

  transmit(bytes: Uint8Array, at: number, count: number): number {
    const written = this.#reserved === 0 ? Math.max(0, this.#sys.write(this.#writeFd, bytes, at, count)) : 0;
    if (written === count) return count;
    const kept = Math.min(count - written, RESERVE_BYTES - this.#reserved);
    this.#reserve.set(bytes.subarray(at + written, at + written + kept), this.#reserved);
    this.#reserved += kept;
    this.#line.pause();
    this.#waitForReader();
    return written + kept;
  }

  /** There may be something for the guest, and room for it: a burst comes soon, and the next after that. */
  room(): void {
    if (this.#closed) return;
    this.#nextBurst ??= setTimeout(() => this.#giveBurst(), BURST_MS).unref();
  }

  /** Pulls the plug and removes the terminal and its link. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#line.disconnect();
    if (this.#nextBurst !== null) clearTimeout(this.#nextBurst);
    this.#readable?.close();
    this.#writable?.close();
    if (this.link !== null) this.#sys.unlinkSymlink(this.path, this.link);
    this.#closeFds();
  }

  #giveBurst(): void {
    this.#nextBurst = null;
    if (this.#start === this.#end && !this.#refill()) return;
    const count = Math.min(BURST_BYTES, this.#end - this.#start);
    const taken = this.#line.receive(this.#chunk, this.#start, count);
    this.#start += taken;
    // If it took less, the line calls when there is room.
    if (taken === count) this.room();
  }

  /** Reads what was written to the terminal; false if that is nothing, and then we look again when there is something. */
  #refill(): boolean {
    const count = this.#sys.read(this.#pty.master, this.#chunk, 0, CHUNK_BYTES);
    if (count <= 0) {
      this.#waitForWriter();
      return false;
    }
    this.#readable?.close();
    this.#readable = null;
    this.#start = 0;
    this.#end = count;
    return true;
  }

  #waitForWriter(): void {
    if (this.#readable !== null) return;
    this.#readable = this.#sys.watch(this.#pty.master, () => this.room());
    this.#readable.unref();
  }

  #waitForReader(): void {
    if (this.#writable !== null) return;
    this.#writable = this.#sys.watch(this.#writeFd, () => this.#flush(), 'writable');
    this.#writable.unref();
  }

  /** Somebody read: the reserve goes first, then the guest may go on. */
  #flush(): void {
    const written = Math.max(0, this.#sys.write(this.#writeFd, this.#reserve, 0, this.#reserved));
    this.#reserve.copyWithin(0, written, this.#reserved);
    this.#reserved -= written;
    if (this.#reserved > 0) return;
    this.#writable?.close();
    this.#writable = null;
    this.#line.resume();
  }

  #closeFds(): void {
    this.#sys.close(this.#writeFd);
    this.#sys.close(this.#pty.master);
    this.#sys.close(this.#pty.slave);
  }
}
