/*
 * DMA_MAP and DMA_UNMAP: the client's IOMMU. What the memory is, the memory room decides; what may be mapped where, the
 * container. Guests send thousands of these, so one costs no mmap and only the objects that stay.
 */
import {
  ERRNO,
  readU64,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_USER_F_DMA_REGION_FILE_IO,
  VFIO_USER_F_DMA_REGION_MMAP,
  VFIO_USER_F_DMA_REGION_READ,
  VFIO_USER_F_DMA_REGION_WRITE,
  vfio_user_dma_map,
  vfio_user_dma_unmap,
  writeU64,
} from '../abi/index.ts';
import { type Container, type DmaSource, type MaybePromise, PAGE_SIZE, VfioError } from '../core/index.ts';
import { type AccessMode, type ClassifyContext, classify } from '../memory/index.ts';
import type { Message } from './message.ts';

const ACCESS_FLAGS = VFIO_USER_F_DMA_REGION_READ | VFIO_USER_F_DMA_REGION_WRITE;
const MODE_FLAGS = VFIO_USER_F_DMA_REGION_MMAP | VFIO_USER_F_DMA_REGION_FILE_IO;
const PAGE_MASK = PAGE_SIZE - 1;

/** The mappings of one session. */
export class DmaMaps {
  readonly #container: Container;
  readonly #context: ClassifyContext;
  readonly #peerPid: number | null;
  readonly #reply: Uint8Array<ArrayBuffer> = new Uint8Array(vfio_user_dma_unmap.size);
  readonly #replyView: DataView = new DataView(this.#reply.buffer);

  constructor(container: Container, context: ClassifyContext, peerPid: number | null) {
    this.#container = container;
    this.#context = context;
    this.#peerPid = peerPid;
  }

  /**
   * Carries out DMA_MAP. EINVAL: malformed, no access, both access modes or one without an fd, more than one fd; else what
   * `classify` and `Container.map` say (EEXIST over a mapping, ENOSPC at the limit, EACCES, EFAULT, ENODEV).
   */
  map(message: Message): number {
    const fields = vfio_user_dma_map.at;
    if (message.bodyBytes < vfio_user_dma_map.size || message.fdCount > 1) return ERRNO.EINVAL;
    const { view, body } = message;
    const flags = view.getUint32(body + fields.flags, true);
    if (view.getUint32(body + fields.argsz, true) < vfio_user_dma_map.size) return ERRNO.EINVAL;
    if ((flags & ~(ACCESS_FLAGS | MODE_FLAGS)) !== 0 || (flags & MODE_FLAGS) === MODE_FLAGS)
      return ERRNO.EINVAL;
    // The low words, because a u64 above 2^53 that is rounded may look aligned.
    const unaligned =
      view.getUint32(body + fields.offset, true) |
      view.getUint32(body + fields.addr, true) |
      view.getUint32(body + fields.size, true);
    if ((unaligned & PAGE_MASK) !== 0) return ERRNO.EINVAL;
    const read = (flags & VFIO_USER_F_DMA_REGION_READ) !== 0;
    const write = (flags & VFIO_USER_F_DMA_REGION_WRITE) !== 0;
    const iova = readU64(view, body + fields.addr);
    const size = readU64(view, body + fields.size);
    if (size === 0 || (!read && !write)) return ERRNO.EINVAL;
    const source = classify(
      {
        fd: message.takeFds()[0] ?? null,
        offset: readU64(view, body + fields.offset),
        size,
        iova,
        read,
        write,
        mode: modeOf(flags),
        peerPid: this.#peerPid,
      },
      this.#context,
    );
    this.#insert(iova, size, read, write, source);
    message.acknowledge();
    return 0;
  }

  /**
   * Carries out DMA_UNMAP; the reply echoes the request with the number of bytes that were unmapped, 0 if there was
   * nothing. It leaves when no DMA to them is in flight any more. EINVAL: malformed, a dirty bitmap (pages are not
   * tracked), or what `Container.unmap` says.
   */
  unmap(message: Message): MaybePromise<number> {
    const fields = vfio_user_dma_unmap.at;
    if (message.bodyBytes < vfio_user_dma_unmap.size) return ERRNO.EINVAL;
    const { view, body } = message;
    const argsz = view.getUint32(body + fields.argsz, true);
    const flags = view.getUint32(body + fields.flags, true);
    if (argsz < vfio_user_dma_unmap.size) return ERRNO.EINVAL;
    if ((flags & ~VFIO_DMA_UNMAP_FLAG_ALL) !== 0) {
      throw new VfioError(
        'EINVAL',
        `DMA_UNMAP: flags 0x${flags.toString(16)} are not supported, only ALL (2) is`,
      );
    }
    const unaligned = view.getUint32(body + fields.addr, true) | view.getUint32(body + fields.size, true);
    if ((unaligned & PAGE_MASK) !== 0) return ERRNO.EINVAL;
    const iova = readU64(view, body + fields.addr);
    const all = (flags & VFIO_DMA_UNMAP_FLAG_ALL) !== 0;
    const bytes = this.#container.unmap(
      iova,
      readU64(view, body + fields.size),
      all ? UNMAP_ALL : UNMAP_RANGE,
    );
    const idle = this.#container.idle();
    if (idle === null) {
      this.#answerUnmap(message, flags, iova, bytes);
      return 0;
    }
    return idle.then(() => {
      this.#answerUnmap(message, flags, iova, bytes);
      return 0;
    });
  }

  #answerUnmap(message: Message, flags: number, iova: number, bytes: number): void {
    const fields = vfio_user_dma_unmap.at;
    this.#replyView.setUint32(fields.argsz, vfio_user_dma_unmap.size, true);
    this.#replyView.setUint32(fields.flags, flags, true);
    writeU64(this.#replyView, fields.addr, iova);
    writeU64(this.#replyView, fields.size, bytes);
    message.reply(this.#reply);
  }

  #insert(iova: number, size: number, read: boolean, write: boolean, source: DmaSource): void {
    try {
      this.#container.map({ iova, size, read, write, source });
    } catch (error) {
      source.detach();
      throw error;
    }
  }
}

const UNMAP_ALL: { readonly all: boolean } = { all: true };
const UNMAP_RANGE: { readonly all: boolean } = { all: false };

function modeOf(flags: number): AccessMode {
  if ((flags & VFIO_USER_F_DMA_REGION_MMAP) !== 0) return 'mmap';
  return (flags & VFIO_USER_F_DMA_REGION_FILE_IO) !== 0 ? 'file-io' : 'any';
}
