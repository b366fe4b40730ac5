/*
 * What a world must be able to do so that the probe's questions can be put to it: what the probe does by system call.
 *
 * A world is a process that has four devices open and one container for edu's DMA. It answers at once or with a promise.
 * What the kernel says with -1 and errno is a thrown (or rejected) `VfioError`, whose code is the errno's name. What a
 * world has no counterpart for it says with `NoCounterpart`; which lines that may be is listed in scope.ts.
 */

/** Worlds by name: of those in which memory is files and a device is opened by our client those with sockets, then all. */
export const WITH_SOCKETS: readonly string[] = ['live', 'two processes'];
export const WITH_FILES: readonly string[] = [...WITH_SOCKETS, 'in process'];
/** Those that run on the simulated host, and all that keep our rules: the simulated Linux keeps Linux's. */
export const SIMULATED: readonly string[] = ['simulated', 'simulated Linux'];
export const WITH_OUR_RULES: readonly string[] = ['core', ...WITH_FILES, 'simulated'];

/** An answer that may take time. */
export type Maybe<T> = T | Promise<T>;

/** The devices of the probe. Their equivalents are made by devices.ts. */
export type DeviceName = 'edu' | 'ivshmem' | 'nvme' | 'pcitestdev';

/** Thrown by a world in which the question makes no sense. */
export class NoCounterpart extends Error {}

export interface InfoAnswer {
  /** VFIO_DEVICE_FLAGS_* */
  readonly flags: number;
  readonly regionCount: number;
  readonly irqCount: number;
}

export interface RegionAnswer {
  /** VFIO_REGION_INFO_FLAG_* */
  readonly flags: number;
  readonly sizeBytes: number;
  /** Where the region begins in the device's file. */
  readonly offset: number;
  /** The mappable areas of a sparse region; empty if it has no such capability. */
  readonly sparse: readonly { readonly offset: number; readonly size: number }[];
}

export interface IrqAnswer {
  readonly flags: number;
  readonly count: number;
}

/** PROT_* of mmap. */
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const PROT_EXEC = 4;
export const PROT_NONE = 0;

/** mmap of a device's file. Offset and length in bytes, as the call has them: they may make no sense. */
export interface MmapRequest {
  readonly device: DeviceName;
  readonly fileOffset: number;
  readonly length: number;
  readonly protection: number;
  /** MAP_SHARED; else MAP_PRIVATE. */
  readonly shared: boolean;
}

/** What else can be done to a mapping; the answer is the probe's: '0' or '-1 ERRNO', of mremap 'ok' or 'ERRNO'. */
export type MappingCall =
  | { readonly call: 'mprotect'; readonly protection: number }
  | { readonly call: 'mremap-grow' | 'mremap-shrink'; readonly length: number }
  /** mremap to another address. */
  | { readonly call: 'mremap-move' }
  | { readonly call: 'madvise-DONTNEED' | 'mlock' }
  /** write() of that many bytes of the mapping into a pipe. */
  | { readonly call: 'write-pipe'; readonly length: number };

/** A process's mapping of a device's file. */
export interface ParityMapping {
  /**
   * A load of the 32-bit word at `offset`, or with a value a store: 'read 0x0000002a', 'wrote 0x0000002a', 'SIGBUS code=2',
   * 'SIGSEGV code=2'. The process survives the signal.
   */
  touch(offset: number, value?: number): Maybe<string>;
  call(request: MappingCall): Maybe<string>;
  munmap(): Maybe<void>;
}

/** Memory of the process itself. */
export interface ProcessMemory {
  read(offset: number, length: number): Maybe<Uint8Array>;
  write(offset: number, bytes: Uint8Array): Maybe<void>;
  /** The process has it no more (it unmapped it, or exited); DMA mappings of it stay. */
  free(): Maybe<void>;
}

export interface MemoryRequest {
  /** Whole pages. */
  readonly sizeBytes: number;
  /** False: the process itself may only read it. Default true. */
  readonly writable?: boolean;
  /** From here on nothing is there, though the size says so. Default: all of it is. */
  readonly presentBytes?: number;
}

/** VFIO_IOMMU_MAP_DMA. */
export interface MapRequest {
  readonly iova: number;
  readonly size: number;
  readonly read: boolean;
  readonly write: boolean;
  /** What the vaddr of the kernel's call points to, and how far in. */
  readonly from: ParityMapping | ProcessMemory;
  readonly offset?: number;
  /** The probe mapped through a VMA that it may only read. */
  readonly readOnlyVma?: boolean;
}

/** What the container says about itself. */
export interface ContainerAnswer {
  readonly available: number;
  /** First and last IOVA of each range. */
  readonly ranges: readonly (readonly [number, number])[];
}

/** A reply to a vfio-user message that was written by hand. */
export interface MessageAnswer {
  readonly errno: string | null;
  readonly body: Uint8Array;
}

export interface ParityWorld {
  readonly name: string;

  deviceInfo(device: DeviceName): Maybe<InfoAnswer>;
  regionInfo(device: DeviceName, index: number): Maybe<RegionAnswer>;
  irqInfo(device: DeviceName, index: number): Maybe<IrqAnswer>;
  /** pread of `length` bytes of a region. */
  read(device: DeviceName, index: number, offset: number, length: number): Maybe<Uint8Array>;
  /** pwrite to a region; returns how many bytes were written. */
  write(device: DeviceName, index: number, offset: number, bytes: Uint8Array): Maybe<number>;
  /** VFIO_DEVICE_RESET. */
  reset(device: DeviceName): Maybe<void>;
  /** The process opens the device, which nobody has open. After `release` it is as new. */
  open(device: DeviceName): Maybe<void>;
  /** The process closes the device; its mappings stay. */
  close(device: DeviceName): Maybe<void>;
  /** Nobody has the device open or mapped any more, and its host lets go of it. */
  release(device: DeviceName): Maybe<void>;

  mmap(request: MmapRequest): Maybe<ParityMapping>;
  memory(request: MemoryRequest): Maybe<ProcessMemory>;

  map(request: MapRequest): Maybe<void>;
  /** VFIO_IOMMU_UNMAP_DMA: how many bytes were unmapped. */
  unmap(iova: number, size: number, all: boolean): Maybe<number>;
  container(): Maybe<ContainerAnswer>;
  /** The container's last user leaves. */
  closeContainer(): Maybe<void>;

  /** What every fault of edu on memory of a device is called here; null: the state that the device is in. */
  readonly peerFault: string | null;
  /** Why edu's transfers since the last call came to nothing; what the driver cannot see. */
  takeFaults(): Maybe<readonly string[]>;

  /** Sends a message whose fields no client would set so, with an fd of 64 KiB of memory if `withMemory`. */
  message(command: number, body: Uint8Array, withMemory: boolean): Maybe<MessageAnswer>;

  end(): Maybe<void>;
}
