/*
 * Numbers of the vfio-user protocol (QEMU's docs/interop/vfio-user.rst; names as in libvfio-user's headers where
 * the text has none): commands, header flags, capabilities and the limits of known peers.
 */

/** Major version that both sides must speak. */
export const VFIO_USER_VERSION_MAJOR = 0;
/** Minor version we speak at most: 2 is the one that brought `twin_socket`. QEMU offers 0 and refuses more. */
export const VFIO_USER_VERSION_MINOR = 2;

// Commands. DMA_READ and DMA_WRITE go from server to client, all others from client to server.
export const VFIO_USER_VERSION = 1;
export const VFIO_USER_DMA_MAP = 2;
export const VFIO_USER_DMA_UNMAP = 3;
export const VFIO_USER_DEVICE_GET_INFO = 4;
export const VFIO_USER_DEVICE_GET_REGION_INFO = 5;
export const VFIO_USER_DEVICE_GET_REGION_IO_FDS = 6;
export const VFIO_USER_DEVICE_GET_IRQ_INFO = 7;
export const VFIO_USER_DEVICE_SET_IRQS = 8;
export const VFIO_USER_REGION_READ = 9;
export const VFIO_USER_REGION_WRITE = 10;
export const VFIO_USER_DMA_READ = 11;
export const VFIO_USER_DMA_WRITE = 12;
export const VFIO_USER_DEVICE_RESET = 13;
export const VFIO_USER_DIRTY_PAGES = 14;
export const VFIO_USER_REGION_WRITE_MULTI = 15;
export const VFIO_USER_DEVICE_FEATURE = 16;
export const VFIO_USER_MIG_DATA_READ = 17;
export const VFIO_USER_MIG_DATA_WRITE = 18;
export const VFIO_USER_GET_PRECOPY_INFO = 19;

/** Command number to its name without the `VFIO_USER_` prefix, for messages and traces. */
export const VFIO_USER_COMMAND_NAMES: Readonly<Record<number, string>> = {
  1: 'VERSION',
  2: 'DMA_MAP',
  3: 'DMA_UNMAP',
  4: 'DEVICE_GET_INFO',
  5: 'DEVICE_GET_REGION_INFO',
  6: 'DEVICE_GET_REGION_IO_FDS',
  7: 'DEVICE_GET_IRQ_INFO',
  8: 'DEVICE_SET_IRQS',
  9: 'REGION_READ',
  10: 'REGION_WRITE',
  11: 'DMA_READ',
  12: 'DMA_WRITE',
  13: 'DEVICE_RESET',
  14: 'DIRTY_PAGES',
  15: 'REGION_WRITE_MULTI',
  16: 'DEVICE_FEATURE',
  17: 'MIG_DATA_READ',
  18: 'MIG_DATA_WRITE',
  19: 'GET_PRECOPY_INFO',
};

/** `'REGION_READ'` for 9; `'command 99'` for a number that the protocol does not know. */
export function vfioUserCommandName(command: number): string {
  return VFIO_USER_COMMAND_NAMES[command] ?? `command ${command}`;
}

// Header flags: the type in the low four bits, then one bit each.
export const VFIO_USER_FLAG_TYPE_MASK = 0xf;
export const VFIO_USER_FLAG_TYPE_COMMAND = 0x0;
export const VFIO_USER_FLAG_TYPE_REPLY = 0x1;
export const VFIO_USER_FLAG_NO_REPLY = 0x10;
export const VFIO_USER_FLAG_ERROR = 0x20;

/** Bytes before every payload; also the smallest legal `size` in a header. */
export const VFIO_USER_HEADER_SIZE = 16;

// Flags of DMA_MAP: what the server may do, and how it must reach memory that comes with an fd.
export const VFIO_USER_F_DMA_REGION_READ = 0x1;
export const VFIO_USER_F_DMA_REGION_WRITE = 0x2;
/** Reach the memory by mmap of the fd. */
export const VFIO_USER_F_DMA_REGION_MMAP = 0x4;
/** Reach the memory by pread and pwrite on the fd. */
export const VFIO_USER_F_DMA_REGION_FILE_IO = 0x8;

/** Region info capability of later protocol texts: like SPARSE_MMAP, but every area names its own fd. */
export const VFIO_USER_REGION_INFO_CAP_SPARSE_MMAP_FDS = 16;

// `type` of a GET_REGION_IO_FDS entry.
export const VFIO_USER_IO_FD_TYPE_IOEVENTFD = 0;
export const VFIO_USER_IO_FD_TYPE_IOREGIONFD = 1;
export const VFIO_USER_IO_FD_TYPE_IOEVENTFD_SHADOW = 2;

// `flags` of an ioeventfd entry are those of KVM_IOEVENTFD (linux/kvm.h).
export const KVM_IOEVENTFD_FLAG_DATAMATCH = 0x1;
export const KVM_IOEVENTFD_FLAG_PIO = 0x2;
export const KVM_IOEVENTFD_FLAG_DEASSIGN = 0x4;

/** Most data bytes of one entry of REGION_WRITE_MULTI. */
export const VFIO_USER_WRITE_MULTI_MAX_BYTES = 8;

/** `capabilities` of the VERSION message's JSON. All keys are optional on the wire; the defaults are below. */
export interface VfioUserCapabilities {
  max_msg_fds?: number;
  max_data_xfer_size?: number;
  max_dma_maps?: number;
  pgsizes?: number;
  twin_socket?: { supported?: boolean; fd_index?: number };
  write_multiple?: boolean;
  migration?: { pgsize?: number; max_bitmap_size?: number };
}

// What a peer that leaves a capability out is taken to have said.
export const VFIO_USER_DEFAULT_MAX_MSG_FDS = 1;
export const VFIO_USER_DEFAULT_MAX_DATA_XFER_SIZE = 1048576;
export const VFIO_USER_DEFAULT_MAX_DMA_MAPS = 65535;
export const VFIO_USER_DEFAULT_PGSIZES = 4096;

// What QEMU's client accepts from a server; one that says more than this is refused, so nobody should.
export const QEMU_MAX_MSG_FDS = 16;
export const QEMU_MAX_DATA_XFER_SIZE = 67108864;
export const QEMU_MAX_DMA_MAPS = 65535;
export const QEMU_MAX_REGIONS = 100;
export const QEMU_MAX_IRQS = 50;
