/*
 * What answers a DMA message of the server: the memory that this process registered for a range. A server that maps
 * the fd never asks; one that was given none, or cannot map it, asks for every transfer.
 */
import { ERRNO } from '../abi/index.ts';
import { VfioError } from '../core/index.ts';
import { type ClientFile, ClientFiles } from '../memory/index.ts';
import type { SysLayer } from '../sys/sys-layer.ts';
import type { DeviceHandle } from './device-handle.ts';

/** Memory behind one DMA mapping. Offsets count from its start; results are 0 or a positive errno. */
export interface DmaBacking {
  /** False: `moveLater` must be used, because another device has to be asked. */
  readonly immediate: boolean;
  /** Moves between the memory and `bytes[at ..]`; `write` is into the memory. */
  move(offset: number, bytes: Uint8Array, at: number, length: number, write: boolean): number;
  moveLater(offset: number, bytes: Uint8Array, at: number, length: number, write: boolean): Promise<number>;
  /** The mapping ended. */
  release(): void;
}

/** Bytes of this process: the windows of sealed memory, or a plain array. */
export class BytesBacking implements DmaBacking {
  readonly immediate: boolean = true;
  readonly #sys: SysLayer;
  readonly #bytes: () => Uint8Array;

  /** `bytes` is asked each time, because memory that was freed has none any more. */
  constructor(sys: SysLayer, bytes: () => Uint8Array) {
    this.#sys = sys;
    this.#bytes = bytes;
  }

  move(offset: number, bytes: Uint8Array, at: number, length: number, write: boolean): number {
    const memory = this.#bytes();
    if (offset + length > memory.length) return ERRNO.EFAULT;
    if (write) return this.#sys.copy(memory, offset, bytes, at, length);
    return this.#sys.copy(bytes, at, memory, offset, length);
  }

  moveLater(offset: number, bytes: Uint8Array, at: number, length: number, write: boolean): Promise<number> {
    return Promise.resolve(this.move(offset, bytes, at, length, write));
  }

  release(): void {}
}

/** A range of a file, mapped when it is first asked for; a file that cannot be mapped is read and written. */
export class FileBacking implements DmaBacking {
  readonly immediate: boolean = true;
  readonly #sys: SysLayer;
  readonly #files: ClientFiles;
  readonly #file: ClientFile;
  readonly #fileOffset: number;

  /** Duplicates `fd`. */
  constructor(sys: SysLayer, fd: number, fileOffset: number) {
    this.#sys = sys;
    this.#files = ClientFiles.of(sys);
    this.#file = this.#files.open(sys.dup(fd));
    this.#fileOffset = fileOffset;
  }

  move(offset: number, bytes: Uint8Array, at: number, length: number, write: boolean): number {
    const file = this.#file;
    for (let done = 0; done < length; ) {
      const place = this.#fileOffset + offset + done;
      const window = file.bytesAt(place, length - done);
      if (window.length === 0) {
        return file.fileIo ? this.#moveByFile(place, bytes, at + done, length - done, write) : ERRNO.EFAULT;
      }
      const from = place - file.windowStart(place);
      const part = Math.min(length - done, window.length - from);
      const errno = write
        ? this.#sys.copy(window, from, bytes, at + done, part)
        : this.#sys.copy(bytes, at + done, window, from, part);
      if (errno !== 0) return errno;
      done += part;
    }
    return 0;
  }

  moveLater(offset: number, bytes: Uint8Array, at: number, length: number, write: boolean): Promise<number> {
    return Promise.resolve(this.move(offset, bytes, at, length, write));
  }

  release(): void {
    this.#files.release(this.#file);
  }

  #moveByFile(place: number, bytes: Uint8Array, at: number, length: number, write: boolean): number {
    try {
      for (let done = 0; done < length; ) {
        const part = write
          ? this.#file.pwrite(place + done, bytes, at + done, length - done)
          : this.#file.pread(place + done, bytes, at + done, length - done);
        if (part <= 0) return ERRNO.EFAULT;
        done += part;
      }
      return 0;
    } catch (error) {
      return errnoOf(error);
    }
  }
}

/** Memory of another device, reached by accesses to its region: what QEMU does for a BAR that has no fd. */
export class PeerBacking implements DmaBacking {
  readonly immediate: boolean = false;
  readonly #peer: DeviceHandle;
  readonly #index: number;
  readonly #offset: number;

  constructor(peer: DeviceHandle, index: number, offset: number) {
    this.#peer = peer;
    this.#index = index;
    this.#offset = offset;
  }

  move(): number {
    return ERRNO.EAGAIN;
  }

  async moveLater(
    offset: number,
    bytes: Uint8Array,
    at: number,
    length: number,
    write: boolean,
  ): Promise<number> {
    const part = bytes.subarray(at, at + length);
    try {
      if (write) await this.#peer.write(this.#index, this.#offset + offset, part);
      else await this.#peer.read(this.#index, this.#offset + offset, part);
      return 0;
    } catch (error) {
      return errnoOf(error);
    }
  }

  release(): void {}
}

function errnoOf(error: unknown): number {
  return error instanceof VfioError ? error.errno : ERRNO.EIO;
}
