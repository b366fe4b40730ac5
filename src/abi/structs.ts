/*
 * Layouts of every struct on the wire: those that vfio-user takes from linux/vfio.h (same names, compared with the
 * system's header in headers.test.ts) and those of its own (compared with the protocol text in structs.test.ts).
 * Variable data follows the fixed part; each comment says what.
 */
import { type Struct, struct } from './struct.ts';

/** Fields of each struct in declaration order. */
export const FIELDS = {
  // linux/vfio.h
  vfio_info_cap_header: { id: 'u16', version: 'u16', next: 'u32' },
  vfio_region_info: {
    argsz: 'u32',
    flags: 'u32',
    index: 'u32',
    cap_offset: 'u32',
    size: 'u64',
    offset: 'u64',
  },
  vfio_region_info_cap_sparse_mmap: {
    id: 'u16',
    version: 'u16',
    next: 'u32',
    nr_areas: 'u32',
    reserved: 'u32',
  },
  vfio_region_sparse_mmap_area: { offset: 'u64', size: 'u64' },
  vfio_region_info_cap_type: { id: 'u16', version: 'u16', next: 'u32', type: 'u32', subtype: 'u32' },
  vfio_irq_info: { argsz: 'u32', flags: 'u32', index: 'u32', count: 'u32' },
  vfio_irq_set: { argsz: 'u32', flags: 'u32', index: 'u32', start: 'u32', count: 'u32' },
  vfio_device_feature: { argsz: 'u32', flags: 'u32' },
  vfio_device_feature_migration: { flags: 'u64' },
  vfio_device_feature_mig_state: { device_state: 'u32', data_fd: 's32' },
  vfio_device_feature_dma_logging_range: { iova: 'u64', length: 'u64' },
  vfio_iommu_type1_dma_map: { argsz: 'u32', flags: 'u32', vaddr: 'u64', iova: 'u64', size: 'u64' },
  vfio_iommu_type1_dma_unmap: { argsz: 'u32', flags: 'u32', iova: 'u64', size: 'u64' },
  // vfio-user
  vfio_user_header: { msg_id: 'u16', cmd: 'u16', msg_size: 'u32', flags: 'u32', error_no: 'u32' },
  vfio_user_version: { major: 'u16', minor: 'u16' },
  vfio_user_device_info: { argsz: 'u32', flags: 'u32', num_regions: 'u32', num_irqs: 'u32' },
  vfio_user_dma_map: { argsz: 'u32', flags: 'u32', offset: 'u64', addr: 'u64', size: 'u64' },
  vfio_user_dma_unmap: { argsz: 'u32', flags: 'u32', addr: 'u64', size: 'u64' },
  vfio_user_bitmap: { pgsize: 'u64', size: 'u64' },
  vfio_user_region_access: { offset: 'u64', region: 'u32', count: 'u32' },
  vfio_user_dma_region_access: { addr: 'u64', count: 'u64' },
  vfio_user_region_io_fds: { argsz: 'u32', flags: 'u32', index: 'u32', count: 'u32' },
  vfio_user_sub_region_ioeventfd: {
    offset: 'u64',
    size: 'u64',
    fd_index: 'u32',
    type: 'u32',
    flags: 'u32',
    padding: 'u32',
    datamatch: 'u64',
  },
  vfio_user_sub_region_ioregionfd: {
    offset: 'u64',
    size: 'u64',
    fd_index: 'u32',
    type: 'u32',
    flags: 'u32',
    padding: 'u32',
    user_data: 'u64',
  },
  vfio_user_region_write_multi: { wr_cnt: 'u64' },
  vfio_user_region_write_one: { offset: 'u64', region: 'u32', count: 'u32', data: 'u64' },
  vfio_user_region_info_cap_sparse_mmap_fds: {
    id: 'u16',
    version: 'u16',
    next: 'u32',
    nr_areas: 'u32',
    reserved: 'u32',
  },
  vfio_user_region_sparse_mmap_fd_area: {
    offset: 'u64',
    fd_offset: 'u64',
    size: 'u64',
    fd_index: 'u32',
    padding: 'u32',
  },
  vfio_user_device_feature_dma_logging_control: { page_size: 'u64', num_ranges: 'u32', reserved: 'u32' },
  vfio_user_device_feature_dma_logging_report: { iova: 'u64', length: 'u64', page_size: 'u64' },
  vfio_user_mig_data: { argsz: 'u32', size: 'u32' },
  vfio_user_precopy_info: { argsz: 'u32', flags: 'u32', initial_bytes: 'u64', dirty_bytes: 'u64' },
} as const;

/** The layout type of the struct of that name. */
export type Layout<N extends keyof typeof FIELDS> = Struct<(typeof FIELDS)[N]>;

function layout<N extends keyof typeof FIELDS>(name: N): Layout<N> {
  return struct(name, FIELDS[name]) as Layout<N>;
}

/** First 8 bytes of every capability in a chain; `next` counts from the start of the info structure. */
export const vfio_info_cap_header: Layout<'vfio_info_cap_header'> = layout('vfio_info_cap_header');
/** GET_REGION_INFO both ways; capabilities follow from `cap_offset` on. */
export const vfio_region_info: Layout<'vfio_region_info'> = layout('vfio_region_info');
/** Capability 1; `nr_areas` of `vfio_region_sparse_mmap_area` follow. */
export const vfio_region_info_cap_sparse_mmap: Layout<'vfio_region_info_cap_sparse_mmap'> = layout(
  'vfio_region_info_cap_sparse_mmap',
);
export const vfio_region_sparse_mmap_area: Layout<'vfio_region_sparse_mmap_area'> = layout(
  'vfio_region_sparse_mmap_area',
);
/** Capability 2: what a device-specific region is. */
export const vfio_region_info_cap_type: Layout<'vfio_region_info_cap_type'> =
  layout('vfio_region_info_cap_type');
/** GET_IRQ_INFO both ways. */
export const vfio_irq_info: Layout<'vfio_irq_info'> = layout('vfio_irq_info');
/** SET_IRQS; with DATA_BOOL `count` bytes follow. */
export const vfio_irq_set: Layout<'vfio_irq_set'> = layout('vfio_irq_set');
/** DEVICE_FEATURE both ways; the feature's data follows. */
export const vfio_device_feature: Layout<'vfio_device_feature'> = layout('vfio_device_feature');
export const vfio_device_feature_migration: Layout<'vfio_device_feature_migration'> = layout(
  'vfio_device_feature_migration',
);
export const vfio_device_feature_mig_state: Layout<'vfio_device_feature_mig_state'> = layout(
  'vfio_device_feature_mig_state',
);
export const vfio_device_feature_dma_logging_range: Layout<'vfio_device_feature_dma_logging_range'> = layout(
  'vfio_device_feature_dma_logging_range',
);
/** VFIO_IOMMU_MAP_DMA of the kernel's type1. */
export const vfio_iommu_type1_dma_map: Layout<'vfio_iommu_type1_dma_map'> =
  layout('vfio_iommu_type1_dma_map');
/** VFIO_IOMMU_UNMAP_DMA of the kernel's type1. */
export const vfio_iommu_type1_dma_unmap: Layout<'vfio_iommu_type1_dma_unmap'> = layout(
  'vfio_iommu_type1_dma_unmap',
);

/** Before every message. `msg_size` counts itself. */
export const vfio_user_header: Layout<'vfio_user_header'> = layout('vfio_user_header');
/** VERSION both ways; JSON text with a final NUL follows. */
export const vfio_user_version: Layout<'vfio_user_version'> = layout('vfio_user_version');
/** DEVICE_GET_INFO both ways: the kernel's `vfio_device_info` without its `cap_offset`. */
export const vfio_user_device_info: Layout<'vfio_user_device_info'> = layout('vfio_user_device_info');
/** DMA_MAP; its fd, if any, is in the ancillary data. */
export const vfio_user_dma_map: Layout<'vfio_user_dma_map'> = layout('vfio_user_dma_map');
/** DMA_UNMAP both ways; with GET_DIRTY_BITMAP a `vfio_user_bitmap` follows, in the reply also the bits. */
export const vfio_user_dma_unmap: Layout<'vfio_user_dma_unmap'> = layout('vfio_user_dma_unmap');
export const vfio_user_bitmap: Layout<'vfio_user_bitmap'> = layout('vfio_user_bitmap');
/** REGION_READ and REGION_WRITE both ways; data follows in a write and in a read's reply. */
export const vfio_user_region_access: Layout<'vfio_user_region_access'> = layout('vfio_user_region_access');
/** DMA_READ and DMA_WRITE both ways; data follows in a write and in a read's reply. */
export const vfio_user_dma_region_access: Layout<'vfio_user_dma_region_access'> = layout(
  'vfio_user_dma_region_access',
);
/** DEVICE_GET_REGION_IO_FDS both ways; in the reply `count` entries of one of the next two follow. */
export const vfio_user_region_io_fds: Layout<'vfio_user_region_io_fds'> = layout('vfio_user_region_io_fds');
export const vfio_user_sub_region_ioeventfd: Layout<'vfio_user_sub_region_ioeventfd'> = layout(
  'vfio_user_sub_region_ioeventfd',
);
export const vfio_user_sub_region_ioregionfd: Layout<'vfio_user_sub_region_ioregionfd'> = layout(
  'vfio_user_sub_region_ioregionfd',
);
/** REGION_WRITE_MULTI; `wr_cnt` of `vfio_user_region_write_one` follow. The reply is this alone. */
export const vfio_user_region_write_multi: Layout<'vfio_user_region_write_multi'> = layout(
  'vfio_user_region_write_multi',
);
/** `data` is eight bytes in memory order, of which the first `count` are written. */
export const vfio_user_region_write_one: Layout<'vfio_user_region_write_one'> = layout(
  'vfio_user_region_write_one',
);
/** Capability 16 of later protocol texts; `nr_areas` of `vfio_user_region_sparse_mmap_fd_area` follow. */
export const vfio_user_region_info_cap_sparse_mmap_fds: Layout<'vfio_user_region_info_cap_sparse_mmap_fds'> =
  layout('vfio_user_region_info_cap_sparse_mmap_fds');
export const vfio_user_region_sparse_mmap_fd_area: Layout<'vfio_user_region_sparse_mmap_fd_area'> = layout(
  'vfio_user_region_sparse_mmap_fd_area',
);
/** Data of DMA_LOGGING_START; `num_ranges` of `vfio_device_feature_dma_logging_range` follow. */
export const vfio_user_device_feature_dma_logging_control: Layout<'vfio_user_device_feature_dma_logging_control'> =
  layout('vfio_user_device_feature_dma_logging_control');
/** Data of DMA_LOGGING_REPORT; the bitmap follows in the reply. */
export const vfio_user_device_feature_dma_logging_report: Layout<'vfio_user_device_feature_dma_logging_report'> =
  layout('vfio_user_device_feature_dma_logging_report');
/** MIG_DATA_READ and MIG_DATA_WRITE; `size` bytes follow in a write and in a read's reply. */
export const vfio_user_mig_data: Layout<'vfio_user_mig_data'> = layout('vfio_user_mig_data');
/** GET_PRECOPY_INFO both ways. */
export const vfio_user_precopy_info: Layout<'vfio_user_precopy_info'> = layout('vfio_user_precopy_info');
