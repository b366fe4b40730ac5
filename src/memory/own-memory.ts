/*
 * Memory that a client of ours offers for DMA: a memfd that is sealed against changes of its length, as QEMU's
 * memory-backend-memfd is, so that a server can map it without fear, and mapped here.
 */
import { VfioError } from '../core/index.ts';
import type { Mapping, SysLayer } from '../sys/sys-layer.ts';
import { pageCeil, WINDOW_BYTES } from './window.ts';

const F_SEAL_SEAL = 0x0001;
const F_SEAL_SHRINK = 0x0002;
const F_SEAL_GROW = 0x0004;

/** Zeroed memory with a fixed length. */
export class SealedMemory {
  /** To be sent with DMA_MAP; it stays ours. */
  readonly fd: number;
  readonly sizeBytes: number;
  readonly #sys: SysLayer;
  readonly #mapping: Mapping;
  #closed = false;

  /** `sizeBytes` is rounded up to whole pages. EINVAL: none, or more than 1 GiB. */
  constructor(sys: SysLayer, sizeBytes: number, name = 'vfio-dma') {
    const size = pageCeil(sizeBytes);
    if (!(size > 0 && size <= WINDOW_BYTES)) {
      throw new VfioError('EINVAL', `DMA memory of ${sizeBytes} bytes; one piece has 1 byte to 1 GiB`);
    }
    this.#sys = sys;
    this.sizeBytes = size;
    this.fd = sys.memfdCreate(name, { allowSealing: true });
    try {
      sys.ftruncate(this.fd, size);
      sys.addSeals(this.fd, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
      this.#mapping = sys.map(this.fd, 0, size, 'rw');
    } catch (error) {
      sys.close(this.fd);
      throw error;
    }
  }

  /** All of it. Length 0 after `close`. */
  get bytes(): Uint8Array {
    return this.#mapping.bytes;
  }

  /** Unmaps it here and closes the fd. A server that mapped it keeps the memory until it unmaps. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#mapping.unmap();
    this.#sys.close(this.fd);
  }
}
