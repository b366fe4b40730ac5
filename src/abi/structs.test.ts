/*
 * Wire layouts of vfio-user against the offset tables of the protocol text, which are written out by hand here, and
 * the codec against bytes written by hand.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { errnoName } from './errno.ts';
import { type Fields, isExactU64, readU64, type Struct, struct, writeU64 } from './struct.ts';
import * as structs from './structs.ts';
import * as vfioUser from './vfio-user.ts';

/** offset, size, field: the columns of the protocol's tables. */
type Row = readonly [offset: number, size: number, field: string];

const PROTOCOL: Readonly<Record<string, { size: number; rows: readonly Row[] }>> = {
  vfio_user_header: {
    size: 16,
    rows: [
      [0, 2, 'msg_id'],
      [2, 2, 'cmd'],
      [4, 4, 'msg_size'],
      [8, 4, 'flags'],
      [12, 4, 'error_no'],
    ],
  },
  vfio_user_version: {
    size: 4,
    rows: [
      [0, 2, 'major'],
      [2, 2, 'minor'],
    ],
  },
  vfio_user_dma_map: {
    size: 32,
    rows: [
      [0, 4, 'argsz'],
      [4, 4, 'flags'],
      [8, 8, 'offset'],
      [16, 8, 'addr'],
      [24, 8, 'size'],
    ],
  },
  vfio_user_dma_unmap: {
    size: 24,
    rows: [
      [0, 4, 'argsz'],
      [4, 4, 'flags'],
      [8, 8, 'addr'],
      [16, 8, 'size'],
    ],
  },
  vfio_user_bitmap: {
    size: 16,
    rows: [
      [0, 8, 'pgsize'],
      [8, 8, 'size'],
    ],
  },
  vfio_user_device_info: {
    size: 16,
    rows: [
      [0, 4, 'argsz'],
      [4, 4, 'flags'],
      [8, 4, 'num_regions'],
      [12, 4, 'num_irqs'],
    ],
  },
  vfio_region_info: {
    size: 32,
    rows: [
      [0, 4, 'argsz'],
      [4, 4, 'flags'],
      [8, 4, 'index'],
      [12, 4, 'cap_offset'],
      [16, 8, 'size'],
      [24, 8, 'offset'],
    ],
  },
  vfio_info_cap_header: {
    size: 8,
    rows: [
      [0, 2, 'id'],
      [2, 2, 'version'],
      [4, 4, 'next'],
    ],
  },
  vfio_region_info_cap_sparse_mmap: {
    size: 16,
    rows: [
      [0, 2, 'id'],
      [2, 2, 'version'],
      [4, 4, 'next'],
      [8, 4, 'nr_areas'],
      [12, 4, 'reserved'],
    ],
  },
  vfio_region_sparse_mmap_area: {
    size: 16,
    rows: [
      [0, 8, 'offset'],
      [8, 8, 'size'],
    ],
  },
  vfio_region_info_cap_type: {
    size: 16,
    rows: [
      [0, 2, 'id'],
      [2, 2, 'version'],
      [4, 4, 'next'],
      [8, 4, 'type'],
      [12, 4, 'subtype'],
    ],
  },
  vfio_user_region_info_cap_sparse_mmap_fds: {
    size: 16,
    rows: [
      [0, 2, 'id'],
      [2, 2, 'version'],
      [4, 4, 'next'],
      [8, 4, 'nr_areas'],
      [12, 4, 'reserved'],
    ],
  },
  vfio_user_region_sparse_mmap_fd_area: {
    size: 32,
    rows: [
      [0, 8, 'offset'],
      [8, 8, 'fd_offset'],
      [16, 8, 'size'],
      [24, 4, 'fd_index'],
      [28, 4, 'padding'],
    ],
  },
  vfio_user_region_io_fds: {
    size: 16,
    rows: [
      [0, 4, 'argsz'],
      [4, 4, 'flags'],
      [8, 4, 'index'],
      [12, 4, 'count'],
    ],
  },
  vfio_user_sub_region_ioeventfd: {
    size: 40,
    rows: [
      [0, 8, 'offset'],
      [8, 8, 'size'],
      [16, 4, 'fd_index'],
      [20, 4, 'type'],
      [24, 4, 'flags'],
      [28, 4, 'padding'],
      [32, 8, 'datamatch'],
    ],
  },
  vfio_user_sub_region_ioregionfd: {
    size: 40,
    rows: [
      [0, 8, 'offset'],
      [8, 8, 'size'],
      [16, 4, 'fd_index'],
      [20, 4, 'type'],
      [24, 4, 'flags'],
      [28, 4, 'padding'],
      [32, 8, 'user_data'],
    ],
  },
  vfio_irq_info: {
    size: 16,
    rows: [
      [0, 4, 'argsz'],
      [4, 4, 'flags'],
      [8, 4, 'index'],
      [12, 4, 'count'],
    ],
  },
  vfio_irq_set: {
    size: 20,
    rows: [
      [0, 4, 'argsz'],
      [4, 4, 'flags'],
      [8, 4, 'index'],
      [12, 4, 'start'],
      [16, 4, 'count'],
    ],
  },
  vfio_user_region_access: {
    size: 16,
    rows: [
      [0, 8, 'offset'],
      [8, 4, 'region'],
      [12, 4, 'count'],
    ],
  },
  vfio_user_dma_region_access: {
    size: 16,
    rows: [
      [0, 8, 'addr'],
      [8, 8, 'count'],
    ],
  },
  vfio_user_region_write_multi: { size: 8, rows: [[0, 8, 'wr_cnt']] },
  vfio_user_region_write_one: {
    size: 24,
    rows: [
      [0, 8, 'offset'],
      [8, 4, 'region'],
      [12, 4, 'count'],
      [16, 8, 'data'],
    ],
  },
  vfio_device_feature: {
    size: 8,
    rows: [
      [0, 4, 'argsz'],
      [4, 4, 'flags'],
    ],
  },
  vfio_device_feature_migration: { size: 8, rows: [[0, 8, 'flags']] },
  vfio_device_feature_mig_state: {
    size: 8,
    rows: [
      [0, 4, 'device_state'],
      [4, 4, 'data_fd'],
    ],
  },
  vfio_user_device_feature_dma_logging_control: {
    size: 16,
    rows: [
      [0, 8, 'page_size'],
      [8, 4, 'num_ranges'],
      [12, 4, 'reserved'],
    ],
  },
  vfio_device_feature_dma_logging_range: {
    size: 16,
    rows: [
      [0, 8, 'iova'],
      [8, 8, 'length'],
    ],
  },
  vfio_user_device_feature_dma_logging_report: {
    size: 24,
    rows: [
      [0, 8, 'iova'],
      [8, 8, 'length'],
      [16, 8, 'page_size'],
    ],
  },
  vfio_user_mig_data: {
    size: 8,
    rows: [
      [0, 4, 'argsz'],
      [4, 4, 'size'],
    ],
  },
  vfio_user_precopy_info: {
    size: 24,
    rows: [
      [0, 4, 'argsz'],
      [4, 4, 'flags'],
      [8, 8, 'initial_bytes'],
      [16, 8, 'dirty_bytes'],
    ],
  },
};

const WIDTH = { u8: 1, u16: 2, u32: 4, s32: 4, u64: 8 } as const;

function ourRows(layout: Struct<Fields>): Row[] {
  return Object.keys(layout.fields).map((field) => [layout.at[field]!, WIDTH[layout.fields[field]!], field]);
}

function layoutOf(name: string): Struct<Fields> {
  return (structs as unknown as Record<string, Struct<Fields>>)[name]!;
}

describe('wire layouts', () => {
  test.each(Object.keys(PROTOCOL))('%s is as the protocol says', (name) => {
    expect(layoutOf(name).size).toBe(PROTOCOL[name]!.size);
    expect(ourRows(layoutOf(name))).toEqual(PROTOCOL[name]!.rows);
  });

  test('every struct is either in the protocol table or the kernel alone has it', () => {
    const kernelOnly = ['vfio_iommu_type1_dma_map', 'vfio_iommu_type1_dma_unmap'];
    expect(Object.keys(structs.FIELDS).sort()).toEqual([...Object.keys(PROTOCOL), ...kernelOnly].sort());
  });

  test('canary: a field out of place is noticed', () => {
    const swapped = struct('vfio_user_version', { minor: 'u16', major: 'u16' });
    expect(ourRows(swapped)).not.toEqual(PROTOCOL['vfio_user_version']!.rows);
  });
});

describe('command numbers and flags', () => {
  test('are those of the protocol tables', () => {
    const expected = {
      VERSION: 1,
      DMA_MAP: 2,
      DMA_UNMAP: 3,
      DEVICE_GET_INFO: 4,
      DEVICE_GET_REGION_INFO: 5,
      DEVICE_GET_REGION_IO_FDS: 6,
      DEVICE_GET_IRQ_INFO: 7,
      DEVICE_SET_IRQS: 8,
      REGION_READ: 9,
      REGION_WRITE: 10,
      DMA_READ: 11,
      DMA_WRITE: 12,
      DEVICE_RESET: 13,
      DIRTY_PAGES: 14,
      REGION_WRITE_MULTI: 15,
      DEVICE_FEATURE: 16,
      MIG_DATA_READ: 17,
      MIG_DATA_WRITE: 18,
      GET_PRECOPY_INFO: 19,
    };
    const constants = vfioUser as unknown as Record<string, unknown>;
    for (const [name, number] of Object.entries(expected)) {
      expect(constants[`VFIO_USER_${name}`], name).toBe(number);
      expect(vfioUser.vfioUserCommandName(number)).toBe(name);
    }
    expect(Object.keys(vfioUser.VFIO_USER_COMMAND_NAMES)).toHaveLength(19);
    expect(vfioUser.vfioUserCommandName(99)).toBe('command 99');
  });

  test('header flags', () => {
    expect(vfioUser.VFIO_USER_FLAG_TYPE_MASK).toBe(0b1111);
    expect(vfioUser.VFIO_USER_FLAG_TYPE_COMMAND).toBe(0);
    expect(vfioUser.VFIO_USER_FLAG_TYPE_REPLY).toBe(1);
    expect(vfioUser.VFIO_USER_FLAG_NO_REPLY).toBe(0x10);
    expect(vfioUser.VFIO_USER_FLAG_ERROR).toBe(0x20);
  });
});

describe('codec', () => {
  test('encodes little endian at the offset it is given, and zeroes what is not given', () => {
    const bytes = new Uint8Array(20).fill(0xff);
    structs.vfio_user_header.encode(new DataView(bytes.buffer), 2, { msg_id: 0x1234, cmd: 9, msg_size: 32 });
    expect([...bytes]).toEqual([255, 255, 0x34, 0x12, 9, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]);
  });

  test('decodes what a C program would have stored', () => {
    const bytes = Uint8Array.of(1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff);
    const view = new DataView(bytes.buffer);
    expect(structs.vfio_device_feature_mig_state.decode(view, 0)).toEqual({ device_state: 1, data_fd: -1 });
  });

  test('pads as C does', () => {
    const padded = struct('padded', { a: 'u8', b: 'u64', c: 'u16' });
    expect(padded.at).toEqual({ a: 0, b: 8, c: 16 });
    expect(padded.size).toBe(24);
  });

  test('u64 round trips every safe integer, agrees with BigInt, and knows when it cannot be exact', () => {
    const view = new DataView(new ArrayBuffer(8));
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (value) => {
        view.setBigUint64(0, value, true);
        expect(readU64(view, 0)).toBe(Number(value));
        expect(isExactU64(view, 0)).toBe(BigInt(Number(value)) === value);
      }),
    );
    fc.assert(
      fc.property(fc.maxSafeNat(), (value) => {
        writeU64(view, 0, value);
        expect(view.getBigUint64(0, true)).toBe(BigInt(value));
      }),
    );
    writeU64(view, 0, 2 ** 64 - 4096);
    expect(view.getBigUint64(0, true)).toBe(2n ** 64n - 4096n);
    expect(isExactU64(view, 0)).toBe(true);
  });
});

test('errnoName names known numbers and spells unknown ones', () => {
  expect(errnoName(22)).toBe('EINVAL');
  expect(errnoName(95)).toBe('EOPNOTSUPP');
  expect(errnoName(4242)).toBe('E4242');
});
