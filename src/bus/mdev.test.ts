/*
 * Mediated devices: what clients take them for, regions that are memory in parts, and a life that hangs on the parent's.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { PciMdev, PlatformMdev } from '../../test/support/kinds.ts';
import { attachPlainMemory, type PlainRegionMemory, type Reason, VfioDevice } from '../core/index.ts';
import { MdevDevice, type MdevDeviceSpec } from './mdev.ts';
import { regionRead } from './pci/testing.ts';

const PAGE = 4096;
const EIO = 5;

const make = (spec: Partial<MdevDeviceSpec>): MdevDevice =>
  new MdevDevice({ name: 'vgpu', api: 'vfio-platform', ...spec });

describe('what clients are told', () => {
  test('is what the API says: indexes that are not implemented are there, and empty', () => {
    const device = new PciMdev();
    expect([device.kind, device.api, device.flags, device.regionCount]).toEqual(['mdev', 'vfio-pci', 3, 10]);
    expect([...device.regions.keys()]).toEqual([0, 2, 7, 9]);
    expect(device.irqs.map(({ count }) => count)).toEqual([1, 4, 0, 0, 0]);
    expect(regionRead(device, 7, 0, 4)).toBe('34127856');
  });

  test('indexes follow each other where none is given', () => {
    const region = { sizeBytes: 16 };
    const device = make({
      regions: [
        { name: 'a', ...region },
        { name: 'b', ...region, index: 4 },
        { name: 'c', ...region },
      ],
      interrupts: [{ name: 'i', index: 2, vectors: 3 }, { name: 'j' }],
    });
    expect([...device.regions.values()].map(({ name, index }) => [name, index])).toEqual([
      ['a', 0],
      ['b', 4],
      ['c', 5],
    ]);
    expect(device.irqs.map(({ count, flags }) => [count, flags])).toEqual([
      [0, 0],
      [0, 0],
      [3, 1],
      [1, 1],
    ]);
  });

  test('a region can be memory in parts, with a consent for each, and have a type', () => {
    const areas = [
      { offset: 0, size: PAGE, dma: 'allow' },
      { offset: 2 * PAGE, size: PAGE, dma: 'deny' },
    ] as const;
    const type = { type: 0x8000_8086, subtype: 1 };
    const device = make({
      regions: [{ name: 'aperture', sizeBytes: 4 * PAGE, mappable: areas, resetClears: true, type }],
    });
    const region = device.regionNamed('aperture');
    // READ, WRITE, MMAP and CAPS, for the sparse areas and the type.
    expect([region.flags, region.sparse, region.type]).toEqual([15, true, type]);
    expect([region.consent(0, PAGE), region.consent(2 * PAGE, PAGE)]).toEqual(['allow', 'deny']);
    expect([region.covers(0, PAGE), region.covers(PAGE, PAGE)]).toEqual([true, false]);
    region.setConsent(1, 'allow');
    region.setConsent(0, 'deny');
    expect([region.dmaReason(0, PAGE), region.dmaReason(2 * PAGE, PAGE)]).toEqual([
      'consent was withdrawn',
      null,
    ]);
  });

  test('who speaks vfio-pci must have config space', () => {
    expect(() => make({ api: 'vfio-pci' })).toThrow(
      'who speaks vfio-pci has a config space; declare region 7',
    );
  });
});

describe('an mdev with a parent', () => {
  let parent: VfioDevice;
  let mdev: PciMdev;
  let told: string[];

  function parentDevice(): VfioDevice {
    const areas = [{ offset: 0, size: 0x10000, dma: 'deny' as const }];
    const regions = [0, 2].map((index) => ({ index, sizeBytes: 0x10000, areas }));
    return new VfioDevice({ name: 'gpu', kind: 'pci', regions, irqs: [] });
  }

  const reasons = (): (Reason | null)[] => [0, 2, 7, 9].map((index) => mdev.accessible(mdev.region(index)));
  const memory = (index: number): PlainRegionMemory => mdev.region(index).memory as PlainRegionMemory;
  const AWAY = 'parent cannot be reached';

  beforeEach(() => {
    parent = parentDevice();
    attachPlainMemory(parent);
    mdev = new PciMdev({ device: parent, region: 2 });
    attachPlainMemory(mdev);
    told = [];
    for (const event of ['suspend', 'resume', 'release'] as const) {
      mdev.on(event, ({ start, reason }) => told.push(`${event} ${start / 2 ** 40}: ${reason}`));
    }
  });

  test('R4: its memory is away when the parent’s suspend returns, and what is software answers', () => {
    memory(2).bytesAt(0)[0] = 7;
    parent.suspend('memory decode is off');
    expect(reasons()).toEqual([null, AWAY, null, AWAY]);
    expect([memory(2).suspended, memory(9).suspended]).toEqual([true, true]);
    expect(told).toEqual([`suspend 2: ${AWAY}`, `suspend 9: ${AWAY}`]);
    expect(mdev.region(2).read(0, 1, new DataView(new ArrayBuffer(1)), 0)).toBe(EIO);
    expect([regionRead(mdev, 0, 0, 4), regionRead(mdev, 7, 0, 2)]).toEqual(['11110000', '3412']);

    parent.resume('memory decode is off');
    expect([reasons(), regionRead(mdev, 2, 0, 1)]).toEqual([[null, null, null, null], '07']);
    expect(told.slice(2)).toEqual([`resume 2: ${AWAY}`, `resume 9: ${AWAY}`]);
  });

  test('R7: it comes back with the last of the parent’s reasons, and not before', () => {
    parent.suspend('memory decode is off');
    parent.suspend('device is in D3hot');
    parent.resume('memory decode is off');
    expect(reasons()[1]).toBe(AWAY);
    parent.resume('device is in D3hot');
    expect(reasons()).toEqual([null, null, null, null]);
  });

  test('keeps reasons of its own', () => {
    mdev.suspend('device is stopped');
    parent.suspend('memory decode is off');
    parent.resume('memory decode is off');
    expect(reasons()).toEqual(new Array(4).fill('device is stopped'));
    mdev.resume('device is stopped');
    expect(reasons()).toEqual([null, null, null, null]);
  });

  test('does not care for the parent’s other regions, nor for consents to those who reach the parent', () => {
    parent.suspend('memory decode is off', 0, 2 ** 40);
    parent.region(2).setConsent(0, 'allow');
    parent.region(2).setConsent(0, 'deny');
    expect([reasons(), told]).toEqual([[null, null, null, null], []]);
  });

  test('begins without memory while the parent’s is away', () => {
    parent.suspend('memory decode is off');
    const late = new PlatformMdev({ device: parent, region: 2 });
    expect(late.accessible(late.region(1))).toBe(AWAY);
    parent.resume('memory decode is off');
    expect(late.accessible(late.region(1))).toBeNull();
  });

  test('R6: ends with the parent', () => {
    parent.release();
    expect([mdev.released, memory(2).released]).toEqual([true, true]);
    expect(told).toEqual(['release 0: device is released']);
    expect(() => new PciMdev({ device: parent, region: 2 })).toThrow('its parent gpu was released');
  });

  test('goes on with the instance that takes the parent’s place', () => {
    const next = parentDevice();
    next.takeOver(parent, { carried: true, attached: false });
    expect([parent.released, mdev.released]).toEqual([true, false]);
    next.suspend('memory decode is off');
    expect(reasons()[1]).toBe(AWAY);
    next.release();
    expect(mdev.released).toBe(true);
  });

  test('leaves nothing at the parent when it is released or replaced', () => {
    const counts = (): number[] =>
      (['suspend', 'resume', 'release', 'replace'] as const).map((event) => parent.listenerCount(event));
    expect(counts()).toEqual([1, 1, 1, 1]);
    const next = new PciMdev({ device: parent, region: 2 });
    next.takeOver(mdev, { carried: false, attached: false });
    expect(counts()).toEqual([1, 1, 1, 1]);
    next.release();
    expect(counts()).toEqual([0, 0, 0, 0]);
    parent.suspend('memory decode is off');
  });

  test('whose region is not there is refused, and nothing listens', () => {
    const before = parent.listenerCount('suspend');
    expect(() => new PciMdev({ device: parent, region: 5 })).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
    expect(parent.listenerCount('suspend')).toBe(before);
  });
});
