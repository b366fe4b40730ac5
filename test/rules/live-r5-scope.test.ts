/*
 * R5 and R1, live: taking away the BARs takes away the BARs, and every process's mapping keeps the region coding.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { VFIO_PCI_ROM_REGION_INDEX } from '../../src/abi/index.ts';
import { indexToOffset, VfioDevice } from '../../src/core/index.ts';
import { attachMemory, type LiveRegionMemory } from '../../src/memory/index.ts';
import { openSys } from '../../src/sys/index.ts';
import { HolderProgram } from '../support/holder.ts';

const sys = openSys();
const SIZE = 0x4000;

let program: HolderProgram;
let device: VfioDevice;
let detach: () => void;

beforeAll(() => {
  program = new HolderProgram();
});

afterAll(() => program.remove());

beforeEach(() => {
  const areas = [{ offset: 0, size: SIZE, dma: 'allow' as const }];
  const regions = [0, 5, 9].map((index) => ({ index, sizeBytes: SIZE, areas }));
  device = new VfioDevice({ name: 'card', kind: 'pci', regions, irqs: [] });
  detach = attachMemory(device, sys);
});

afterEach(() => detach());

const memoryOf = (index: number): LiveRegionMemory => device.region(index).memory as LiveRegionMemory;

describe('R1 coding', () => {
  test('the offset of every mapping names region and place in /proc/PID/maps', async () => {
    for (const index of [0, 5, 9]) {
      const holder = program.start(memoryOf(index).shareFd());
      await holder.ask(`map ${indexToOffset(index)} ${SIZE}`);
      await holder.ask(`map ${indexToOffset(index) + 0x2000} ${0x1000}`);
      const lines = holder.maps(`/memfd:vfio-region:${index}:4000:allow:card`);
      const offsets = lines.map((line) => Number.parseInt(line.split(/\s+/)[2]!, 16));
      expect(offsets.sort((a, b) => a - b)).toEqual([index * 2 ** 40, index * 2 ** 40 + 0x2000]);
      await holder.stop();
    }
  });
});

describe('R5 scope', () => {
  test('suspending the BARs leaves the mappings of region 9', async () => {
    const holders = new Map([0, 5, 9].map((index) => [index, program.start(memoryOf(index).shareFd())]));
    for (const [index, holder] of holders) {
      memoryOf(index).bytesAt(0)[1] = index + 1;
      await holder.ask(`map ${indexToOffset(index)} ${SIZE}`);
      expect(await holder.ask('read 0 1')).toBe(String(index + 1));
    }

    const bars = indexToOffset(VFIO_PCI_ROM_REGION_INDEX);
    device.suspend('memory decode is off', 0, bars);

    expect(await holders.get(9)!.ask('read 0 1')).toBe('10');
    expect(await holders.get(9)!.ask('write 0 1 77')).toBe('ok');
    expect(memoryOf(9).bytesAt(0)[1]).toBe(77);
    expect(await holders.get(0)!.ask('read 0 1')).toBe('ended by SIGBUS');
    expect(await holders.get(5)!.ask('read 0 1')).toBe('ended by SIGBUS');
    await holders.get(9)!.stop();
  });

  test('one VMA stands for all holders of a region, and only those of the BARs are in the range', () => {
    const inBars = device.addressSpace.vmasIn(0, indexToOffset(VFIO_PCI_ROM_REGION_INDEX));
    expect(inBars.map((vma) => vma.pgoff)).toEqual([0, 5 * 2 ** 28]);
    expect(device.addressSpace.size).toBe(3);
  });
});
