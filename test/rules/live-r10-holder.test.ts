/*
 * R10, live: a client that truncates or punches the file of a region harms the contents that it could have overwritten
 * anyway. The process that owns the device, its other regions and its other clients go on.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ERRNO } from '../../src/abi/index.ts';
import { indexToOffset, type Region, VfioDevice } from '../../src/core/index.ts';
import { attachMemory, type LiveRegionMemory } from '../../src/memory/index.ts';
import { openSys } from '../../src/sys/index.ts';
import { type Answerer, HolderProgram } from '../support/holder.ts';

const sys = openSys();
const SIZE = 0x8000;
const BAR0 = indexToOffset(0);

let program: HolderProgram;
let device: VfioDevice;
let memory: LiveRegionMemory;
let hostile: Answerer;
let lost: Region[];
let detach: () => void;

beforeAll(() => {
  program = new HolderProgram();
});

afterAll(() => program.remove());

beforeEach(() => {
  const areas = [{ offset: 0, size: SIZE, dma: 'allow' as const }];
  device = new VfioDevice({
    name: 'card',
    kind: 'pci',
    regions: [{ index: 0, sizeBytes: SIZE, areas }],
    irqs: [],
  });
  lost = [];
  detach = attachMemory(device, sys, { onLost: (region) => lost.push(region) });
  memory = device.region(0).memory as LiveRegionMemory;
  memory.bytesAt(0).fill(7);
  hostile = program.start(memory.shareFd());
});

afterEach(async () => {
  await hostile.stop();
  detach();
});

const view = new DataView(new ArrayBuffer(SIZE));

describe('R10: a holder that truncates', () => {
  test('the access that hits it reads zeros or fails, the device is told, and the next access works', async () => {
    await hostile.ask(`truncate ${BAR0}`);
    expect(device.region(0).readMemory(0, 4, view, 0)).toBe(0); // byte by byte: nobody looks during the loop
    expect(view.getUint32(0)).toBe(0);
    expect(device.region(0).readMemory(0, 4, view, 0)).toBe(ERRNO.EIO);
    expect(lost).toEqual([device.region(0)]);

    expect(device.region(0).writeMemory(8, 4, view, 0)).toBe(0);
    view.setUint32(0, 0x01020304);
    expect(device.region(0).writeMemory(0, 4, view, 0)).toBe(0);
    expect(await hostile.ask(`map ${BAR0} ${SIZE}`)).toBe('0');
    expect(await hostile.ask('read 0 3')).toBe('4');
  });

  test('suspend and resume notice it and repair it without a touch', async () => {
    await hostile.ask(`truncate ${BAR0 + 0x1000}`);
    device.suspend('memory decode is off');
    expect(lost).toHaveLength(1);
    device.resume('memory decode is off');
    expect(await hostile.ask('size')).toBe(String(BAR0 + SIZE));
    expect(memory.lost).toBe(false);
    expect(memory.bytesAt(0)[0]).toBe(7);
    expect(memory.bytesAt(0)[0x1000]).toBe(0);
  });

  test('a hole is zeros and nothing else', async () => {
    await hostile.ask(`punch ${BAR0} ${0x1000}`);
    expect(memory.bytesAt(0)[0]).toBe(0);
    expect(memory.bytesAt(0)[0x1000]).toBe(7);
    expect(memory.lost).toBe(false);
  });

  test('again and again', async () => {
    for (let round = 1; round <= 20; round++) {
      await hostile.ask(`truncate 0`);
      memory.bytesAt(0)[5] = 1; // into zero pages that are thrown away
      expect(memory.lost).toBe(true);
      expect(memory.lost).toBe(false);
      memory.bytesAt(0)[5] = round;
      expect(lost).toHaveLength(round);
    }
    device.suspend('memory decode is off');
    device.resume('memory decode is off');
    expect(memory.bytesAt(0)[5]).toBe(20);
  });
});
