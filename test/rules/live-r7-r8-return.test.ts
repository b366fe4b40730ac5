/*
 * R7 and R8, live: after resume, mappings of other processes fault in again, with the contents from before.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { indexToOffset, VfioDevice } from '../../src/core/index.ts';
import { attachMemory, type LiveRegionMemory } from '../../src/memory/index.ts';
import { openSys } from '../../src/sys/index.ts';
import { HolderProgram } from '../support/holder.ts';

const sys = openSys();
const MIB = 2 ** 20;
const GIB = 2 ** 30;
const BAR4 = indexToOffset(4);
/** Sparse, over several windows. */
const SIZE = 3 * GIB;

let program: HolderProgram;
let device: VfioDevice;
let memory: LiveRegionMemory;
let detach: () => void;

beforeAll(() => {
  program = new HolderProgram();
});

afterAll(() => program.remove());

beforeEach(() => {
  const areas = [{ offset: 0, size: SIZE, dma: 'allow' as const }];
  device = new VfioDevice({
    name: 'big',
    kind: 'pci',
    regions: [{ index: 4, sizeBytes: SIZE, areas }],
    irqs: [],
  });
  detach = attachMemory(device, sys);
  memory = device.region(4).memory as LiveRegionMemory;
});

afterEach(() => detach());

const poke = (offset: number, value: number): void => {
  memory.bytesAt(offset)[offset - memory.windowStart(offset)] = value;
};
const peek = (offset: number): number | undefined =>
  memory.bytesAt(offset)[offset - memory.windowStart(offset)];

describe('R7 return', () => {
  test('standing mappings and new ones read the contents again, time after time', async () => {
    poke(MIB, 11);
    const holder = program.start(memory.shareFd());
    await holder.ask(`map ${BAR4} ${SIZE}`);
    for (let round = 0; round < 3; round++) {
      device.suspend('memory decode is off');
      device.resume('memory decode is off');
      expect(await holder.ask(`read 0 ${MIB}`)).toBe('11');
      const mapping = await holder.ask(`map ${BAR4} ${2 * MIB}`);
      expect(await holder.ask(`read ${mapping} ${MIB}`)).toBe('11');
    }
    await holder.stop();
  });

  test('both sides see each other again afterwards', async () => {
    const holder = program.start(memory.shareFd());
    await holder.ask(`map ${BAR4} ${SIZE}`);
    device.suspend('device is in D3hot');
    device.resume('device is in D3hot');
    poke(5, 42);
    expect(await holder.ask('read 0 5')).toBe('42');
    await holder.ask('write 0 6 43');
    expect(peek(6)).toBe(43);
    await holder.stop();
  });

  test('our own windows stay at their address', () => {
    memory.shareFd();
    const bytes = memory.bytesAt(0);
    bytes[9] = 1;
    device.suspend('memory decode is off');
    expect(memory.bytesAt(0)).toBe(bytes);
    expect(bytes[9]).toBe(1);
    device.resume('memory decode is off');
    expect(memory.bytesAt(0)).toBe(bytes);
    expect(bytes[9]).toBe(1);
  });

  test('after release nothing returns', async () => {
    const holder = program.start(memory.shareFd());
    await holder.ask(`map ${BAR4} ${MIB}`);
    device.suspend('memory decode is off');
    device.release();
    device.resume('memory decode is off');
    expect(await holder.ask('read 0 0')).toBe('ended by SIGBUS');
  });
});

describe('R8 nothing lost', () => {
  test('what was stored on either side, anywhere in the region, is there after resume', async () => {
    const holder = program.start(memory.shareFd());
    await holder.ask(`map ${BAR4} ${SIZE}`);
    poke(0, 1);
    poke(GIB - 1, 2);
    poke(GIB, 3);
    await holder.ask(`write 0 ${2 * GIB + 12345} 4`);
    await holder.ask(`write 0 ${SIZE - 1} 5`);
    device.suspend('memory decode is off');
    expect([0, GIB - 1, GIB, 2 * GIB + 12345, SIZE - 1].map(peek)).toEqual([1, 2, 3, 4, 5]);
    device.resume('memory decode is off');
    expect(await holder.ask(`read 0 ${GIB - 1}`)).toBe('2');
    expect(await holder.ask(`read 0 ${GIB}`)).toBe('3');
    expect(peek(2 * GIB + 12345)).toBe(4);
    expect(await holder.ask(`read 0 ${SIZE - 1}`)).toBe('5');
    await holder.stop();
  });

  test('what the device itself stores meanwhile is there as well', async () => {
    const holder = program.start(memory.shareFd());
    await holder.ask(`map ${BAR4} ${SIZE}`);
    device.suspend('memory decode is off');
    poke(7 * MIB, 99);
    device.resume('memory decode is off');
    expect(await holder.ask(`read 0 ${7 * MIB}`)).toBe('99');
    await holder.stop();
  });

  test('a holder that makes the suspended file longer sees its own zeros, and brings nothing in', async () => {
    poke(3, 33);
    const holder = program.start(memory.shareFd());
    await holder.ask(`map ${BAR4} ${MIB}`);
    device.suspend('memory decode is off');
    await holder.ask(`truncate ${BAR4 + SIZE}`);
    expect(await holder.ask('read 0 3')).toBe('0');
    await holder.ask('write 0 4 44');
    device.resume('memory decode is off');
    expect(await holder.ask('read 0 3')).toBe('33');
    expect(await holder.ask('read 0 4')).toBe('0');
    expect([peek(3), peek(4)]).toEqual([33, 0]);
    await holder.stop();
  });

  test('only what takes memory is copied: the region stays sparse', () => {
    poke(0, 1);
    poke(SIZE - 1, 1);
    memory.shareFd();
    expect(memory.populatedBytes).toBe(2 * 4096);
    device.suspend('memory decode is off');
    expect(memory.populatedBytes).toBe(2 * 4096);
    device.resume('memory decode is off');
    expect(memory.populatedBytes).toBe(2 * 4096);
  });
});
