/*
 * Peer to peer: memory of a device as a DMA target of edu, from the mapping to the end of the device. Records 6.*, the same
 * for three devices: decode off (i), on again (ii), reset and power (iii), close and release (iv).
 *
 * The kernel releases a device when the last fd and the last mapping of it are gone. Behind a socket the last of them says
 * nothing: a server keeps its device for the next client. What ends a device there is its host's `release`, so that is what
 * stands in the place of the probe's last munmap.
 */
import { indexToOffset } from '../../src/core/index.ts';
import { count, errno, hex, hex4, type Probe, type Question, R, type Step, status } from './probe.ts';
import { type DeviceName, type ParityMapping, PROT_READ, PROT_WRITE } from './world.ts';

const BAR = 2;
const COMMAND = 4;
const MEMORY = 0x2;
const MASTER = 0x4;
const PMCSR = 4;
const D3HOT = 3;
const IOVA = 0x400_0000;
const OTHER_IOVA = 0x500_0000;
const SIZE = 0x1_0000;

type Faults = Pick<Question, 'fault' | 'peerFault'>;

function mmapBar(probe: Probe, device: DeviceName, protection: number): Promise<ParityMapping> {
  const request = { device, fileOffset: indexToOffset(BAR), length: SIZE, protection, shared: true };
  return Promise.resolve(probe.world.mmap(request));
}

async function flagsOf(probe: Probe, device: DeviceName): Promise<string> {
  return hex((await probe.world.deviceInfo(device)).flags);
}

function peerSteps(device: DeviceName): Step[] {
  const prefix = `6.${device === 'nvme' ? 'nvmecmb' : device}`;
  const bar = (probe: Probe): ParityMapping => probe.mapping(device);
  const command = (probe: Probe): number => probe.value('command');
  const step = (id: string, ask: Question['ask'], faults: Faults = {}): Step => {
    return { id: `${prefix}.${id}`, ask, ...faults };
  };
  const touch = (id: string, value?: number): Step => step(id, (probe) => bar(probe).touch(0, value));
  const dma = (id: string, faults?: Faults): Step => step(id, (probe) => probe.dmaRead(IOVA), faults);

  const decodeOff: Step[] = [
    step('i.clear-MEM', async (probe) => {
      const before = await probe.config(device, COMMAND);
      probe.values.set('command', before);
      const said = await probe.setConfig(device, COMMAND, before & ~MEMORY);
      return `pwrite ${said}, cmd ${hex4(before)} -> ${hex4(await probe.config(device, COMMAND))}`;
    }),
    touch('i.touch-read'),
    touch('i.touch-write', 1),
    step('i.pread-bar', ({ world }) => count(async () => (await world.read(device, BAR, 0, 4)).length)),
    step('i.pwrite-bar', ({ world }) => count(() => world.write(device, BAR, 0, new Uint8Array(4)))),
    step('i.mmap-while-disabled', async (probe) => {
      let mapping: ParityMapping | null = null;
      const code = await errno(async () => {
        mapping = await mmapBar(probe, device, PROT_READ);
      });
      if (mapping === null) return `${code} touch -`;
      const touched = await (mapping as ParityMapping).touch(0);
      await (mapping as ParityMapping).munmap();
      return `ok touch ${touched}`;
    }),
    step('i.map-dma-while-disabled', (probe) => probe.map(OTHER_IOVA, SIZE, { ...R, from: bar(probe) })),
    dma('i.edu-dma-read-of-BAR-IOVA', { peerFault: 'memory decode is off' }),
    step(
      'i.map-over-IOVA',
      async (probe) => `${await probe.map(IOVA, 0x1000)} (EEXIST = mapping still there)`,
    ),
  ];
  const decodeOn: Step[] = [
    step('ii.set-MEM', async (probe) => {
      const said = await probe.setConfig(device, COMMAND, command(probe) | MEMORY);
      return `${said} cmd=${hex4(await probe.config(device, COMMAND))}`;
    }),
    touch('ii.touch-read'),
    touch('ii.touch-write', 0xc1c1_c1c1),
    dma('ii.edu-dma-read'),
  ];
  const reset: Step[] = [
    step('iii.DEVICE_RESET', async (probe) => {
      await probe.setConfig(device, COMMAND, command(probe) | MEMORY | MASTER);
      const said = await status(() => probe.world.reset(device));
      return `${said} (flags ${await flagsOf(probe, device)}: bit0=RESET supported)`;
    }),
    step('iii.cmd-after(was |BME)', async (probe) => hex4(await probe.config(device, COMMAND))),
    touch('iii.touch-read'),
    dma('iii.edu-dma-read'),
    step('iii.touch-after-re-enable', async (probe) => {
      await probe.setConfig(device, COMMAND, command(probe) | MEMORY);
      return bar(probe).touch(0);
    }),
    touch('iii.touch-write', 0xd2d2_d2d2),
    dma('iii.edu-dma-read-2'),
  ];
  const power: Step[] = [
    step('iii.PM-D3hot', async (probe) => {
      const at = (await probe.powerManagement(device)) + PMCSR;
      const before = await probe.config(device, at);
      const said = await probe.setConfig(device, at, before | D3HOT);
      const pmcsr = hex4(await probe.config(device, at));
      return `${said} pmcsr ${pmcsr} touch ${await bar(probe).touch(0)}`;
    }),
    dma('iii.PM-D3hot-dma', { peerFault: 'device is in D3hot' }),
    step('iii.PM-D0', async (probe) => {
      const at = (await probe.powerManagement(device)) + PMCSR;
      await probe.setConfig(device, at, (await probe.config(device, at)) & ~D3HOT);
      const cmd = hex4(await probe.config(device, COMMAND));
      const pmcsr = hex4(await probe.config(device, at));
      return `pmcsr ${pmcsr} cmd=${cmd} touch ${await bar(probe).touch(0)}`;
    }),
  ];
  const noPower: Step[] = [
    step('iii.PM', async (probe) => {
      const at = await probe.powerManagement(device);
      return at === 0 ? 'no PM capability' : `PM capability at ${hex(at)}`;
    }),
  ];
  const end: Step[] = [
    step('iv.close-fd(VMA alive)', ({ world }) => status(() => world.close(device))),
    touch('iv.touch'),
    dma('iv.edu-dma-read'),
    step('iv.reopen-while-VMA-alive', async ({ world }) => {
      const code = await errno(() => world.open(device));
      if (code !== null) return `-1 ${code}`;
      await world.close(device);
      return 'fd';
    }),
    step('iv.munmap(last ref)', async (probe) => {
      await bar(probe).munmap();
      await probe.world.release(device);
      return 'done';
    }),
    dma('iv.edu-dma-read-after-release', { peerFault: 'device is released' }),
    step('iv.map-over-IOVA', (probe) => probe.map(IOVA, 0x1000)),
    dma('iv.edu-dma-read-after-unset', { peerFault: 'device is released' }),
    step('iv.UNMAP_DMA', async (probe) => {
      const { said, size } = await probe.unmap(IOVA, SIZE);
      return `${said} size out=${size} (asked ${hex(SIZE)})`;
    }),
    dma('iv.edu-dma-read-after-unmap', { fault: 'not mapped' }),
    step('iv.UNMAP_DMA-again', async (probe) => {
      const { said, size } = await probe.unmap(IOVA, SIZE);
      return `${said} size out=${size}`;
    }),
    step('iv.reopen', async (probe) => {
      const code = await errno(() => probe.world.open(device));
      return `${code === null ? 'fd' : `-1 ${code}`} cmd=${hex4(await probe.config(device, COMMAND))}`;
    }),
  ];
  return [
    {
      async ask(probe) {
        probe.mappings.set(device, await mmapBar(probe, device, PROT_READ | PROT_WRITE));
        await probe.setConfig('edu', COMMAND, (await probe.config('edu', COMMAND)) | MEMORY | MASTER);
      },
    },
    touch('pwrite', 0xb0b0_b0b0),
    step('map-BAR-RW', (probe) => probe.map(IOVA, SIZE, { from: bar(probe) })),
    dma('edu-dma-read-of-BAR-IOVA'),
    step('edu-dma-write-to-BAR-IOVA', async (probe) => {
      await probe.dmaWrite(IOVA + 64, 0xa7);
      return `cpu sees ${await bar(probe).touch(64)}`;
    }),
    ...decodeOff,
    ...decodeOn,
    ...reset,
    ...(device === 'nvme' ? power : noPower),
    ...end,
  ];
}

export const PEER_STEPS: readonly Step[] = [
  ...peerSteps('ivshmem'),
  ...peerSteps('nvme'),
  ...peerSteps('pcitestdev'),
];
