/*
 * What a program sees of a device that it has opened: one interface for a device object in the same process and for
 * one behind a vfio-user socket. A driver that is written against it runs on both, and its tests need no socket.
 *
 * It follows VFIO: info, regions that are read, written and mapped, interrupts by index and vector, DMA mappings by
 * IOVA, reset. What fails rejects with a `VfioError` whose `code` is the errno's name. Offsets are bytes from the
 * start of the region; multi-byte registers are little endian.
 */
import type { Consent, DeviceKind, IrqAction, IrqData, RegionType, VfioError } from '../core/index.ts';

/** What the device is: GET_INFO. */
export interface DeviceInfo {
  /** The device object's name, or the address of the socket. */
  readonly name: string;
  /**
   * As far as the device tells: an mdev behind a socket is of the kind whose API it speaks. 'unknown' if it names none.
   */
  readonly kind: DeviceKind | 'unknown';
  /** VFIO_DEVICE_FLAGS_*. */
  readonly flags: number;
  /** Highest region index + 1. */
  readonly regionCount: number;
  /** Highest interrupt index + 1. */
  readonly irqCount: number;
  /** Whether `reset` works. */
  readonly resettable: boolean;
}

/** A part of a region that can be mapped. Offsets count from the region's start. */
export interface RegionArea {
  readonly offset: number;
  readonly size: number;
  /** Whether the device's driver lets other devices reach it by DMA; absent when the server does not tell. */
  readonly dma?: Consent;
}

/** One region: GET_REGION_INFO. A region that the device does not implement has size 0. */
export interface RegionInfo {
  readonly index: number;
  readonly name?: string;
  /** VFIO_REGION_INFO_FLAG_*. */
  readonly flags: number;
  readonly sizeBytes: number;
  /** Place of the region in its file: what `mmap` of `regionFd` starts at. */
  readonly offset: number;
  /** What can be mapped; one area as large as the region if all of it can. */
  readonly areas: readonly RegionArea[];
  readonly mappable: boolean;
  /** Of a device-specific region (index >= 9). */
  readonly type?: RegionType;
}

/** One interrupt index: GET_IRQ_INFO. */
export interface IrqInfo {
  readonly index: number;
  /** VFIO_IRQ_INFO_*. */
  readonly flags: number;
  /** Vectors; 0 if the device does not implement the index. */
  readonly count: number;
}

/** A mapping of a part of a region into this process. */
export interface MappedRegion {
  readonly index: number;
  readonly offset: number;
  readonly sizeBytes: number;
  /** The device's memory itself. Length 0 after `unmap`. */
  readonly bytes: Uint8Array;
  /**
   * The device's memory went away (decode off, D3hot, reset, release) and this process touched it meanwhile: `bytes`
   * shows private zeros since. With /dev/vfio the touch would have been SIGBUS.
   */
  readonly lost: boolean;
  /** Maps the same memory again under the same `bytes` after it was lost. EIO as long as it is still away. */
  restore(): void;
  unmap(): void;
}

/** A range of memory to be mapped for DMA. */
export interface DmaMapOptions {
  readonly iova: number;
  readonly sizeBytes: number;
  /** File behind the range. It stays the caller's and may be closed when the call has resolved. */
  readonly fd?: number;
  /** Place of the range in `fd`. Default 0. */
  readonly offset?: number;
  /**
   * Memory of this process instead of an fd: it is not shared, so a server behind a socket asks for every transfer
   * by message. At least `sizeBytes` long.
   */
  readonly bytes?: Uint8Array;
  /** Whether the device may read. Default true. */
  readonly read?: boolean;
  /** Whether the device may write. Default true. */
  readonly write?: boolean;
  /**
   * How the server is to reach the fd: by mmap, or by pread and pwrite. 'any' (the default) leaves it to the server,
   * which is also what servers that do not know the other two understand.
   */
  readonly access?: 'any' | 'mmap' | 'file-io';
}

/** Where in a device a peer mapping lies, and where the other device sees it. */
export interface PeerMapOptions {
  /** Region of the peer. */
  readonly index: number;
  /** Place in that region, a multiple of the page size. Default 0. */
  readonly offset?: number;
  readonly sizeBytes: number;
  readonly iova: number;
  readonly read?: boolean;
  readonly write?: boolean;
  /** Do not pass the peer's fd: transfers go through this process as region accesses, as QEMU does it. */
  readonly byMessages?: boolean;
}

export interface DmaMemoryOptions {
  /** Where the device sees it. Default: the lowest free range from 1 MiB on. */
  readonly iova?: number;
  readonly read?: boolean;
  readonly write?: boolean;
  /** Name of the memfd, for people who look at /proc. */
  readonly name?: string;
}

/** Memory that this process and the device share. */
export interface DmaMemory {
  readonly iova: number;
  readonly sizeBytes: number;
  /** Length 0 after `close`. */
  readonly bytes: Uint8Array;
  /** The memfd. It stays this object's. */
  readonly fd: number;
  /** Unmaps it from the device, then frees it. */
  close(): Promise<void>;
}

/** SET_IRQS as the protocol has it, for what `onInterrupt` does not cover. */
export interface SetIrqsRequest {
  readonly index: number;
  readonly action: IrqAction;
  readonly data: IrqData;
  /** First vector. Default 0. */
  readonly start?: number;
  /** Vectors. Default: length of `bools` or `eventfds`, else 0, which disables the index. */
  readonly count?: number;
  /** With 'bool': a byte for each vector. */
  readonly bools?: Uint8Array;
  /** With 'eventfd': an fd for each vector, null to unwire it. They stay the caller's. */
  readonly eventfds?: readonly (number | null)[];
}

/** One register write of a batch. Up to 8 bytes. */
export interface RegisterWrite {
  readonly index: number;
  readonly offset: number;
  readonly widthBytes: 1 | 2 | 4 | 8;
  readonly value: number | bigint;
}

/** Told of an interrupt; `count` is how often it was signalled since the last call. */
export type InterruptListener = (count: number) => void;

/** An open device. */
export interface DeviceHandle {
  /** Where it is: 'unix:/path.sock', or 'in-process:name'. */
  readonly address: string;
  readonly info: DeviceInfo;
  /** Resolves when the handle ends: with null after `close`, with an error when the device or its server went away. */
  readonly closed: Promise<VfioError | null>;
  /** False once `closed` has resolved or `close` was called. */
  readonly open: boolean;

  regionInfo(index: number): Promise<RegionInfo>;
  irqInfo(index: number): Promise<IrqInfo>;

  /** Reads `target.length` bytes of a region. EIO while the region cannot be reached. */
  read(index: number, offset: number, target: Uint8Array): Promise<void>;
  /** Writes all of `source` to a region and waits for the device's answer. */
  write(index: number, offset: number, source: Uint8Array): Promise<void>;
  /** Reads one register in one access. */
  readRegister(index: number, offset: number, widthBytes: 1 | 2 | 4): Promise<number>;
  readRegister(index: number, offset: number, widthBytes: 8): Promise<bigint>;
  /** Writes one register in one access and waits for the device's answer. */
  writeRegister(
    index: number,
    offset: number,
    widthBytes: 1 | 2 | 4 | 8,
    value: number | bigint,
  ): Promise<void>;
  /**
   * Posted write: nobody answers, errors included. It is handled before any request that is made later. EAGAIN is
   * thrown when the device does not keep up; awaiting any request gives it the time.
   */
  post(index: number, offset: number, source: Uint8Array): void;
  /** Posted write of one register. */
  postRegister(index: number, offset: number, widthBytes: 1 | 2 | 4 | 8, value: number | bigint): void;
  /** Writes registers in order, in as few messages as the server allows, and waits until all are done. */
  writeMulti(writes: readonly RegisterWrite[]): Promise<void>;

  /** Maps [offset, offset + sizeBytes) of a region; without both, the one area that the region has. At most 1 GiB. */
  mmap(index: number, offset?: number, sizeBytes?: number): Promise<MappedRegion>;
  /** The fd of a mappable region; it stays the handle's. Bytes start at `regionInfo.offset` in it. */
  regionFd(index: number): Promise<number>;

  /** Calls `listener` whenever vector `vector` of `index` fires. Resolves to the unsubscribe. */
  onInterrupt(index: number, vector: number, listener: InterruptListener): Promise<() => Promise<void>>;
  /** Lets a masked interrupt fire again: what a driver does at the end of its INTx listener. */
  unmask(index: number, vector?: number): Promise<void>;
  setIrqs(request: SetIrqsRequest): Promise<void>;

  /** Allocates memory (sealed against shrinking, so the server maps it for good) and maps it for the device. */
  dmaMemory(sizeBytes: number, options?: DmaMemoryOptions): Promise<DmaMemory>;
  dmaMap(request: DmaMapOptions): Promise<void>;
  /** Makes memory of another device a DMA target of this one. EINVAL if the peer's driver did not consent. */
  mapPeer(peer: DeviceHandle, request: PeerMapOptions): Promise<void>;
  /**
   * Ends the mappings inside the range, or with `all` (then iova and size are 0) every one. Resolves to the bytes that
   * were mapped there, when no DMA to them is under way any more.
   */
  dmaUnmap(iova: number, sizeBytes: number, options?: { readonly all?: boolean }): Promise<number>;

  /** VFIO_DEVICE_RESET. EINVAL if the device has none. */
  reset(): Promise<void>;
  /** Leaves the device: everything that was made through this handle ends. A second call waits for the same end. */
  close(): Promise<void>;
}
