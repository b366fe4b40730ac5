/*
 * MAP_DMA and UNMAP_DMA of a process's memory: records 3.*, one container from beginning to end.
 */
import * as abi from '../../src/abi/index.ts';
import { type Bytes, concat, u32, u64 } from '../support/bytes.ts';
import { type Preparation, R, RAM_BYTES, RAM_IOVA, RW, type Step, W } from './probe.ts';
import type { MapRequest } from './world.ts';

const PLACE = 0x30_0000;
/** 0xfffffffffffff000. */
const WRAPPING = 2 ** 64 - 0x1000;
const UNKNOWN_FLAG = 0x80;

function map(id: string, iova: number, size: number, rest: Partial<MapRequest> = {}, memory = 'ram'): Step {
  return { id, ask: (probe) => probe.map(iova, size, { from: probe.memory(memory), ...rest }) };
}

/** An unmap; the record shows the size behind `shows`, or nothing of it. */
function unmap(id: string, iova: number, size: number, shows: string | null, all = false): Step {
  return {
    id,
    async ask(probe) {
      const result = await probe.unmap(iova, size, all);
      return shows === null ? result.said : `${result.said} ${shows}=${result.size}`;
    },
  };
}

function prepare(step: Step): Preparation {
  return { ask: step.ask };
}

function memory(
  name: string,
  request: { writable?: boolean; presentBytes?: number; sizeBytes: number },
): Step {
  return {
    async ask(probe) {
      probe.memories.set(name, await probe.world.memory(request));
    },
  };
}

/** A message written by hand: what a type1 ioctl has in fields that a vfio-user client would not set so. */
function message(id: string, command: number, body: Bytes): Step {
  return {
    id,
    async ask({ world }) {
      const { errno } = await world.message(command, body, command === abi.VFIO_USER_DMA_MAP);
      return errno === null ? '0' : `-1 ${errno}`;
    },
  };
}

function mapMessage(
  id: string,
  argsz: number,
  flags: number,
  iova: number = PLACE,
  size: number = 0x1000,
): Step {
  return message(
    id,
    abi.VFIO_USER_DMA_MAP,
    concat(u32(argsz), u32(flags), u64(0), u64(BigInt(iova)), u64(BigInt(size))),
  );
}

function unmapMessage(id: string, flags: number, iova: number = PLACE, size: number = 0x1000): Step {
  return message(
    id,
    abi.VFIO_USER_DMA_UNMAP,
    concat(u32(24), u32(flags), u64(BigInt(iova)), u64(BigInt(size))),
  );
}

const MAP_FLAGS = abi.VFIO_DMA_MAP_FLAG_READ | abi.VFIO_DMA_MAP_FLAG_WRITE;
const MAP_BYTES = abi.vfio_user_dma_map.size;

export const MAP_STEPS: readonly Step[] = [
  memory('ram', { sizeBytes: 2 ** 20 }),
  memory('nothing', { sizeBytes: 0x1000, presentBytes: 0 }),
  memory('read-only', { sizeBytes: 0x1000, writable: false }),
  memory('hole', { sizeBytes: 0x4000, presentBytes: 0x2000 }),
  map('3.map', RAM_IOVA, RAM_BYTES),
  map('3.map-same', RAM_IOVA, RAM_BYTES),
  map('3.map-overlap', RAM_IOVA + 0xf000, 0x2000),
  map('3.map-flags0', PLACE, 0x1000, { read: false, write: false }),
  mapMessage('3.map-flags-unknown', MAP_BYTES, UNKNOWN_FLAG),
  map('3.map-iova-unaligned', PLACE + 0x800, 0x1000),
  map('3.map-vaddr-unaligned', PLACE, 0x1000, { offset: 0x800 }),
  map('3.map-size-unaligned', PLACE, 0x1800),
  map('3.map-size0', PLACE, 0),
  map('3.map-iova-wrap', WRAPPING, 0x2000),
  map('3.map-vaddr-wrap', PLACE, 0x2000, { offset: WRAPPING }),
  map('3.map-vaddr-unmapped', PLACE, 0x1000, {}, 'nothing'),
  map('3.map-msi-window', 0xfee0_0000, 0x1000),
  map('3.map-high-iova-1<<48', 2 ** 48, 0x1000),
  map('3.map-iova-1<<39', 2 ** 39, 0x1000),
  prepare(unmap('', 2 ** 39, 0x1000, null)),
  map('3.map-ro-memory-with-WRITE', PLACE, 0x1000, RW, 'read-only'),
  map('3.map-ro-memory-READ-only', PLACE, 0x1000, R, 'read-only'),
  prepare(unmap('', PLACE, 0x1000, null)),
  mapMessage('3.map-argsz16', MAP_BYTES / 2, MAP_FLAGS),
  mapMessage('3.map-argsz64', MAP_BYTES * 2, MAP_FLAGS),
  prepare(unmapMessage('', 0)),
  map('3.map-READ-only', PLACE, 0x1000, R),
  map('3.map-WRITE-only', PLACE + 0x1000, 0x1000, W),
  unmap('3.unmap-two-adjacent', PLACE, 0x2000, 'size out'),
  prepare(map('', PLACE, 0x2000)),
  unmap('3.unmap-part-head', PLACE, 0x1000, 'size'),
  unmap('3.unmap-part-tail', PLACE + 0x1000, 0x1000, 'size'),
  unmap('3.unmap-straddle', PLACE - 0x1000, 0x2000, 'size'),
  unmap('3.unmap-superset', PLACE - 0x10000, 0x20000, 'size'),
  unmap('3.unmap-nothing-there', PLACE, 0x2000, 'size'),
  unmap('3.unmap-size0', PLACE, 0, null),
  unmap('3.unmap-iova-unaligned', PLACE + 0x800, 0x1000, null),
  unmap('3.unmap-size-unaligned', PLACE, 0x800, null),
  unmapMessage('3.unmap-flags-unknown', UNKNOWN_FLAG),
  unmap('3.unmap-wrap', WRAPPING, 0x2000, null),
  unmapMessage('3.unmap-dirty-bitmap-no-tracking', abi.VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP),
  unmap('3.unmap-all-iova-nonzero', 0x1000, 0, null, true),
  unmap('3.unmap-all-size-nonzero', 0, 0x1000, null, true),
  prepare(mapMessage('', MAP_BYTES, MAP_FLAGS, RAM_IOVA, RAM_BYTES)),
  unmapMessage('3.unmap-vaddr-flag', abi.VFIO_DMA_UNMAP_FLAG_VADDR, RAM_IOVA, RAM_BYTES),
  mapMessage('3.map-vaddr-flag', MAP_BYTES, abi.VFIO_DMA_MAP_FLAG_VADDR, RAM_IOVA, RAM_BYTES),
  unmap('3.unmap-all', 0, 0, 'size', true),
  map('3.map-again', RAM_IOVA, RAM_BYTES),
  map('3.map-hole-in-vma', 0x40_0000, 0x4000, {}, 'hole'),
  unmap('3.unmap-after-failed-map', 0x40_0000, 0x4000, 'size'),
  map('3.map-then-munmap', 0x40_0000, 0x1000, {}, 'hole'),
  { ask: (probe) => probe.memory('hole').free() },
  unmap('3.unmap-after-munmap-of-the-vaddr', 0x40_0000, 0x1000, 'size'),
];
