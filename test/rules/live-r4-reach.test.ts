/*
 * R4, live: memory that cannot be accessed is reached by nobody. Real processes map the region's fd and touch it.
 */
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { indexToOffset, VfioDevice } from '../../src/core/index.ts';
import { attachMemory, type LiveRegionMemory } from '../../src/memory/index.ts';
import { openSys } from '../../src/sys/index.ts';
import { Answerer, HolderProgram } from '../support/holder.ts';

const sys = openSys();
const MIB = 2 ** 20;
const BAR2 = indexToOffset(2);
const peer = fileURLToPath(new URL('../support/dma-peer.ts', import.meta.url));

let program: HolderProgram;
let device: VfioDevice;
let memory: LiveRegionMemory;
let detach: () => void;

beforeAll(() => {
  program = new HolderProgram();
});

afterAll(() => program.remove());

beforeEach(() => {
  const areas = [{ offset: 0, size: MIB, dma: 'allow' as const }];
  device = new VfioDevice({
    name: 'card',
    kind: 'pci',
    regions: [{ index: 2, sizeBytes: MIB, areas }],
    irqs: [],
  });
  detach = attachMemory(device, sys);
  memory = device.region(2).memory as LiveRegionMemory;
  memory.bytesAt(0)[0x100] = 0x5a;
});

afterEach(() => detach());

describe('R4 reach: CPU mappings of other processes', () => {
  test('a touch while memory decode is off is SIGBUS for the process that touches, and for nobody else', async () => {
    const touching = program.start(memory.shareFd());
    const resting = program.start(memory.shareFd());
    for (const holder of [touching, resting]) {
      await holder.ask(`map ${BAR2} ${MIB}`);
      expect(await holder.ask(`read 0 ${0x100}`)).toBe('90');
    }

    device.suspend('memory decode is off');
    expect(await touching.ask(`read 0 ${0x100}`)).toBe('ended by SIGBUS');
    expect((await touching.ended).signal).toBe('SIGBUS');

    expect(memory.bytesAt(0)[0x100]).toBe(0x5a);
    device.resume('memory decode is off');
    expect(await resting.ask(`read 0 ${0x100}`)).toBe('90');
    await resting.stop();
  });

  test('a store while in D3hot is SIGBUS, and does not arrive', async () => {
    const holder = program.start(memory.shareFd());
    await holder.ask(`map ${BAR2} ${MIB}`);
    device.suspend('device is in D3hot');
    expect(await holder.ask(`write 0 ${0x100} 1`)).toBe('ended by SIGBUS');
    device.resume('device is in D3hot');
    expect(memory.bytesAt(0)[0x100]).toBe(0x5a);
  });

  test('the region can be mapped while it is suspended, as a BAR can, and not touched', async () => {
    device.suspend('memory decode is off');
    const holder = program.start(memory.shareFd());
    expect(await holder.ask(`map ${BAR2} ${MIB}`)).toBe('0');
    expect(await holder.ask('read 0 0')).toBe('ended by SIGBUS');
  });

  test('with two reasons, the end of one changes nothing', async () => {
    const holder = program.start(memory.shareFd());
    await holder.ask(`map ${BAR2} ${MIB}`);
    device.suspend('memory decode is off');
    device.suspend('device is in D3hot');
    device.resume('memory decode is off');
    expect(await holder.ask('read 0 0')).toBe('ended by SIGBUS');
  });

  test('after release it is gone for good, also for who holds the fd', async () => {
    const holder = program.start(memory.shareFd());
    await holder.ask(`map ${BAR2} ${MIB}`);
    device.release();
    expect(await holder.ask('size')).toBe('0');
    expect(await holder.ask('read 0 0')).toBe('ended by SIGBUS');
    expect(memory.bytesAt(0).length).toBe(0);
  });
});

describe('R4 reach: DMA of a device in another process', () => {
  test('faults while the region is suspended; its process, and the next DMA, are fine (R7)', async () => {
    const other = new Answerer(process.execPath, ['--import', 'tsx', peer], memory.shareFd());
    expect(await other.ask(`map ${BAR2} ${MIB}`)).toBe(
      'region 2 of card in another process (guarded), file offset 0x20000000000',
    );
    expect(await other.ask(`read ${0x100} 2`)).toBe('5a00');

    for (const reason of ['memory decode is off', 'device is in reset'] as const) {
      device.suspend(reason);
      expect(await other.ask(`read ${0x100} 2`)).toBe('fault: memory was lost');
      expect(await other.ask(`write ${0x100} ffff`)).toBe('fault: memory was lost');
      device.resume(reason);
      expect(await other.ask(`read ${0x100} 2`)).toBe('5a00');
    }

    expect(await other.ask(`write ${MIB - 2} beef`)).toBe('ok');
    expect([...memory.bytesAt(0).subarray(MIB - 2)]).toEqual([0xbe, 0xef]);
    device.release();
    expect(await other.ask(`read ${0x100} 2`)).toBe('fault: memory was lost');
    await other.stop();
  });

  test('a suspended region cannot be mapped: EFAULT, as type1 says', async () => {
    const other = new Answerer(process.execPath, ['--import', 'tsx', peer], memory.shareFd());
    device.suspend('memory decode is off');
    expect(await other.ask(`map ${BAR2} ${MIB}`)).toBe('EFAULT');
    await other.stop();
  });
});

describe('R3 consent between processes', () => {
  test('a region whose driver did not opt in is refused by another process', async () => {
    const areas = [
      { offset: 0, size: 0x1000, dma: 'deny' as const },
      { offset: 0x1000, size: 0x2000, dma: 'allow' as const },
    ];
    const mixed = new VfioDevice({
      name: 'mixed',
      kind: 'pci',
      regions: [{ index: 9, sizeBytes: 0x3000, areas }],
      irqs: [],
    });
    const detachMixed = attachMemory(mixed, sys);
    const fd = (mixed.region(9).memory as LiveRegionMemory).shareFd();
    const other = new Answerer(process.execPath, ['--import', 'tsx', peer], fd);
    expect(await other.ask(`map ${indexToOffset(9)} ${0x1000}`)).toBe('EINVAL');
    expect(await other.ask(`map ${indexToOffset(9)} ${0x3000}`)).toBe('EINVAL');
    expect(await other.ask(`map ${indexToOffset(9) + 0x1000} ${0x2000}`)).toContain('region 9 of mixed');
    await other.stop();
    detachMixed();
  });
});
