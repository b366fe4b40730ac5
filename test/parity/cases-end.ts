/*
 * Odd mappings, bus mastering, and the end of the container: records 7.*, 9.reset(edu), 10.*.
 */
import { VFIO_USER_DIRTY_PAGES } from '../../src/abi/index.ts';
import { indexToOffset } from '../../src/core/index.ts';
import { concat, u32 } from '../support/bytes.ts';
import { hex, type Probe, R, RAM_BYTES, RAM_IOVA, RW, type Step, status } from './probe.ts';
import { type DeviceName, PROT_READ, PROT_WRITE } from './world.ts';

const IOVA = 0x600_0000;
const CHILD_IOVA = 0x700_0000;
const BAR2_BYTES = 2 ** 20;
const PART = 0x1_0000;
const COMMAND = 4;
const MASTER = 0x4;

async function mmapInto(
  probe: Probe,
  name: string,
  length: number,
  protection: number,
  place: { device: DeviceName; index: number },
): Promise<void> {
  const fileOffset = indexToOffset(place.index);
  const { device } = place;
  probe.mappings.set(name, await probe.world.mmap({ device, fileOffset, length, protection, shared: true }));
}

const IVSHMEM_BAR2 = { device: 'ivshmem', index: 2 } as const;

function unmaps(id: string, iova: number, size: number): Step {
  return {
    id,
    async ask(probe) {
      const { said, size: bytes } = await probe.unmap(iova, size);
      return `${said} size=${bytes}`;
    },
  };
}

/** VFIO_IOMMU_DIRTY_PAGES_FLAG_START and _STOP, which the message has from the ioctl. */
const DIRTY_START = 1;
const DIRTY_STOP = 2;

function dirty(id: string, flags: number): Step {
  return {
    id,
    async ask({ world }) {
      const body = concat(u32(8), u32(flags));
      const { errno } = await world.message(VFIO_USER_DIRTY_PAGES, body, false);
      return errno === null ? '0' : `-1 ${errno}`;
    },
  };
}

export const END_STEPS: readonly Step[] = [
  {
    // The probe's ivshmem memory is its host's and outlives the device; here it went with the device.
    async ask(probe) {
      await mmapInto(probe, 'ro', BAR2_BYTES, PROT_READ | PROT_WRITE, IVSHMEM_BAR2);
      await probe.mapping('ro').touch(0, 0xd2d2_d2d2);
      await probe.mapping('ro').munmap();
      await mmapInto(probe, 'ro', BAR2_BYTES, PROT_READ, IVSHMEM_BAR2);
    },
  },
  {
    id: '7.map-ro-BAR-vma-RW',
    ask: (probe) => probe.map(IOVA, BAR2_BYTES, { ...RW, from: probe.mapping('ro'), readOnlyVma: true }),
  },
  {
    id: '7.map-ro-BAR-vma-R',
    ask: (probe) => probe.map(IOVA, BAR2_BYTES, { ...R, from: probe.mapping('ro'), readOnlyVma: true }),
  },
  {
    id: '7.dma-after-munmap-of-BAR-vma',
    async ask(probe) {
      await probe.mapping('ro').munmap();
      return probe.dmaRead(IOVA);
    },
  },
  unmaps('7.unmap-after-munmap', IOVA, BAR2_BYTES),
  {
    id: '7.map-own-BAR(edu BAR0)',
    ask: (probe) =>
      status(async () => {
        await mmapInto(probe, 'own', BAR2_BYTES, PROT_READ | PROT_WRITE, { device: 'edu', index: 0 });
        await probe.world.map({ iova: IOVA, size: PART, ...RW, from: probe.mapping('own') });
      }),
  },
  {
    id: '7.unmap-own-BAR',
    async ask(probe) {
      const { said, size } = await probe.unmap(IOVA, PART);
      return `${said} size=${size}`;
    },
  },
  {
    id: '7.mremap-move-BAR',
    async ask(probe) {
      await mmapInto(probe, 'moved', PART, PROT_READ | PROT_WRITE, IVSHMEM_BAR2);
      const said = await probe.mapping('moved').call({ call: 'mremap-move' });
      return `${said} touch ${await probe.mapping('moved').touch(0)}`;
    },
  },
  { id: '7.map-over-end-of-BAR-vma', ask: (probe) => mapOverEnd(probe) },
  unmaps('7.unmap-after', IOVA, 2 * PART),
  {
    async ask(probe) {
      const memory = await probe.world.memory({ sizeBytes: PART });
      await memory.write(0, new Uint8Array(PART).fill(1));
      probe.memories.set('child', memory);
    },
  },
  {
    id: '7.rlimit-child leaves a 64K RAM map',
    ask: (probe) => probe.map(CHILD_IOVA, PART, { from: probe.memory('child') }),
  },
  {
    id: '7.child-exited: dma-read of its page',
    async ask(probe) {
      await probe.memory('child').free();
      return probe.dmaRead(CHILD_IOVA);
    },
  },
  unmaps('7.child-exited: unmap by parent', CHILD_IOVA, PART),
  {
    id: '7.dma-with-BME-clear',
    fault: 'bus master is off',
    async ask(probe) {
      const command = await probe.config('edu', COMMAND);
      await probe.setConfig('edu', COMMAND, command & ~MASTER);
      const first = await probe.firstByteAfterDma();
      await probe.setConfig('edu', COMMAND, command | MASTER);
      return `ram[0]=${first.toString(16).padStart(2, '0')} (ee = blocked)`;
    },
  },
  {
    id: '9.reset(edu)',
    async ask(probe) {
      const said = await status(() => probe.world.reset('edu'));
      return `${said} flags=${hex((await probe.world.deviceInfo('edu')).flags)}`;
    },
  },
  dirty('9.dirty-start', DIRTY_START),
  dirty('9.dirty-stop', DIRTY_STOP),
  dirty('9.dirty-both', DIRTY_START | DIRTY_STOP),
  { ask: ({ world }) => world.closeContainer() },
  unmaps('10.unmap-after-last-group-left', RAM_IOVA, RAM_BYTES),
];

/** A range that begins in what the process has of the BAR and goes on behind it, where nothing is. */
async function mapOverEnd(probe: Probe): Promise<string> {
  const said = await probe.map(IOVA, 2 * PART, { from: probe.mapping('moved') });
  await probe.mapping('moved').munmap();
  return said;
}
