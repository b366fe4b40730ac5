/*
 * pread and pwrite of regions: records 4.*. The probe's regions are read at `offset of the region + place`.
 */
import { count, hex, hex4, type Probe, type Step } from './probe.ts';
import type { DeviceName } from './world.ts';

const CONFIG = 7;

function pread(
  probe: Probe,
  device: DeviceName,
  index: number,
  offset: number,
  length: number,
): Promise<string> {
  return count(async () => (await probe.world.read(device, index, offset, length)).length);
}

function reads(id: string, index: number, offset: number, length: number, device: DeviceName = 'edu'): Step {
  return { id, ask: (probe) => pread(probe, device, index, offset, length) };
}

/** A read of a region that is not there, and its size. */
function readsAbsent(id: string, index: number): Step {
  return {
    id,
    async ask(probe) {
      const said = await pread(probe, 'edu', index, 0, 4);
      return `${said} size=${hex((await probe.world.regionInfo('edu', index)).sizeBytes)}`;
    },
  };
}

export const ACCESS_STEPS: readonly Step[] = [
  reads('4.cfg-read-3', CONFIG, 0, 3),
  reads('4.cfg-read-256', CONFIG, 0, 256),
  reads('4.cfg-read-8@252', CONFIG, 252, 8),
  {
    id: '4.cfg-read-beyond',
    async ask(probe) {
      const { sizeBytes } = await probe.world.regionInfo('edu', CONFIG);
      return `${await pread(probe, 'edu', CONFIG, sizeBytes, 4)} (cfg size ${hex(sizeBytes)})`;
    },
  },
  {
    id: '4.cfg-write-vendor',
    async ask(probe) {
      const said = await probe.setConfig('edu', 0, 0x1111);
      return `${said} -> ${hex4(await probe.config('edu', 0))}`;
    },
  },
  {
    id: '4.cfg-cmd-at-open',
    async ask(probe) {
      const command = async (device: DeviceName) => hex4(await probe.config(device, 4));
      return `A ${await command('edu')} B ${await command('ivshmem')} N ${await command('nvme')} P ${await command('pcitestdev')}`;
    },
  },
  reads('4.bar-read-beyond', 0, 0x10_0000, 4),
  reads('4.bar-read-over-end', 0, 0x10_0000 - 4, 8),
  reads('4.bar-read-0-len', 0, 0, 0),
  readsAbsent('4.bar5-absent-read', 5),
  readsAbsent('4.rom-read', 6),
  reads('4.vga-region-read', 8, 0, 4),
  reads('4.region20-read', 20, 0, 4),
  {
    id: '4.ioport-bar-read',
    async ask(probe) {
      const said = await pread(probe, 'pcitestdev', 1, 0, 1);
      const { sizeBytes, flags } = await probe.world.regionInfo('pcitestdev', 1);
      return `P bar1 ${said} size=${hex(sizeBytes)} flags=${hex(flags)}`;
    },
  },
];
