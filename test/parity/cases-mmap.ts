/*
 * mmap of regions and what can be done to such a mapping: records 5.*.
 */
import { indexToOffset } from '../../src/core/index.ts';
import { PROBED_ADDRESS } from './devices.ts';
import { errno, hex, type Probe, type Step } from './probe.ts';
import {
  type DeviceName,
  type MmapRequest,
  type ParityMapping,
  PROT_EXEC,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
} from './world.ts';

const PROT_RW = PROT_READ | PROT_WRITE;
const PAGE = 0x1000;
const BAR2_BYTES = 2 ** 20;
const PATTERN = 0x5a5a_5a5a;

/** What the probe touched: nothing, loads of the first and last word, a store, both. */
type Touch = '' | 'r' | 'w' | 'rw';

interface Attempt {
  readonly index: number;
  readonly at?: number;
  readonly length: number;
  readonly protection?: number;
  readonly shared?: boolean;
  readonly touch: Touch;
  readonly device?: DeviceName;
}

function attempt(id: string, what: Attempt): Step {
  const { device = 'ivshmem', length, protection = PROT_RW, shared = true } = what;
  const fileOffset = indexToOffset(what.index) + (what.at ?? 0);
  const request: MmapRequest = { device, fileOffset, length, protection, shared };
  const asked = `off=${hex(fileOffset)},len=${hex(length)},prot=${protection},flags=${shared ? 1 : 2}`;
  return {
    id,
    async ask(probe) {
      let mapping: ParityMapping | null = null;
      const code = await errno(async () => {
        mapping = await probe.world.mmap(request);
      });
      const said = mapping === null ? `${code}` : await touched(mapping, length, what.touch);
      return `${PROBED_ADDRESS[device]} mmap(${asked}) = ${said}`;
    },
  };
}

/** The probe's compiler evaluated the touches from the last to the first: the store comes before the loads. */
async function touched(mapping: ParityMapping, length: number, touch: Touch): Promise<string> {
  const write = touch.includes('w') ? await mapping.touch(0, PATTERN) : '-';
  const last = touch.includes('r') ? await mapping.touch(length - 4) : '-';
  const first = touch.includes('r') ? await mapping.touch(0) : '-';
  await mapping.munmap();
  return `ok; first: ${first}; last: ${last}; write: ${write}`;
}

const whole = { index: 2, length: BAR2_BYTES } as const;
const readPage = { length: PAGE, protection: PROT_READ, touch: 'r' } as const;

async function mapBar2(probe: Probe): Promise<void> {
  const mapping = await probe.world.mmap({
    device: 'ivshmem',
    fileOffset: indexToOffset(2),
    length: BAR2_BYTES,
    protection: PROT_READ,
    shared: true,
  });
  probe.mappings.set('bar2', mapping);
}

export const MMAP_STEPS: readonly Step[] = [
  attempt('5.mmap-whole', { ...whole, touch: 'rw' }),
  attempt('5.mmap-part', { index: 2, at: PAGE, length: PAGE, touch: 'rw' }),
  attempt('5.mmap-off=size', { index: 2, at: BAR2_BYTES, length: PAGE, touch: 'r' }),
  attempt('5.mmap-len>size', { index: 2, length: BAR2_BYTES + PAGE, touch: 'r' }),
  attempt('5.mmap-off+len>size', { index: 2, at: BAR2_BYTES - PAGE, length: 2 * PAGE, touch: 'r' }),
  attempt('5.mmap-off-unaligned', { index: 2, at: 0x800, length: PAGE, touch: 'r' }),
  attempt('5.mmap-len-unaligned', { index: 2, length: 0x800, touch: 'r' }),
  attempt('5.mmap-len0', { index: 2, length: 0, touch: '' }),
  attempt('5.mmap-private', { ...whole, shared: false, touch: 'rw' }),
  attempt('5.mmap-private-ro', { ...whole, protection: PROT_READ, shared: false, touch: 'r' }),
  attempt('5.mmap-ro-shared', { ...whole, protection: PROT_READ, touch: 'rw' }),
  attempt('5.mmap-wo-shared', { ...whole, protection: PROT_WRITE, touch: 'w' }),
  attempt('5.mmap-none', { ...whole, protection: PROT_NONE, touch: 'r' }),
  attempt('5.mmap-exec', { index: 2, length: PAGE, protection: PROT_READ | PROT_EXEC, touch: 'r' }),
  attempt('5.mmap-config', { index: 7, ...readPage }),
  attempt('5.mmap-rom', { index: 6, ...readPage }),
  attempt('5.mmap-vga', { index: 8, ...readPage }),
  attempt('5.mmap-absent-bar5', { index: 5, ...readPage }),
  attempt('5.mmap-bar0-small', { index: 0, ...readPage }),
  attempt('5.mmap-bar1-small', { index: 1, ...readPage }),
  attempt('5.mmap-region-20', { index: 20, ...readPage }),
  attempt('5.mmap-ioport-bar', { index: 1, ...readPage, device: 'pcitestdev' }),
  attempt('5.mmap-nvme-bar0(msix table inside)', { index: 0, length: 0x4000, touch: 'r', device: 'nvme' }),
  attempt('5.mmap-nvme-cmb', { index: 2, length: 2 ** 24, touch: 'rw', device: 'nvme' }),
  { ask: mapBar2 },
  {
    id: '5.mprotect-RO->RW',
    async ask(probe) {
      const said = await probe.mapping('bar2').call({ call: 'mprotect', protection: PROT_RW });
      return `${said} then ${await probe.mapping('bar2').touch(0, 1)}`;
    },
  },
  {
    id: '5.mremap-grow',
    ask: (probe) => probe.mapping('bar2').call({ call: 'mremap-grow', length: 2 * BAR2_BYTES }),
  },
  {
    id: '5.mremap-shrink',
    ask: (probe) => probe.mapping('bar2').call({ call: 'mremap-shrink', length: PAGE }),
  },
  {
    id: '5.madvise-DONTNEED',
    async ask(probe) {
      const said = await probe.mapping('bar2').call({ call: 'madvise-DONTNEED' });
      return `${said} then ${await probe.mapping('bar2').touch(0)}`;
    },
  },
  { id: '5.mlock', ask: (probe) => probe.mapping('bar2').call({ call: 'mlock' }) },
  { id: '5.write(pipe,BAR)', ask: (probe) => probe.mapping('bar2').call({ call: 'write-pipe', length: 16 }) },
  { ask: (probe) => probe.mapping('bar2').munmap() },
];
