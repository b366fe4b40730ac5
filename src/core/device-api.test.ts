import { describe, expect, it } from 'vitest';
import { type DeviceKind, type DeviceOptions, VfioDevice } from './device.ts';
import { type DeviceApi, kindOfFlags } from './device-api.ts';

/** Bits of struct vfio_device_info in linux/vfio.h. */
const [RESET, PCI, PLATFORM, AMBA, CCW, AP, FSL_MC] = [0, 1, 2, 3, 4, 5, 6].map((bit) => 1 << bit) as [
  number,
  number,
  number,
  number,
  number,
  number,
  number,
];

function deviceOf(kind: DeviceKind, options: Partial<DeviceOptions> = {}): VfioDevice {
  return new VfioDevice({ name: 'd', kind, regions: [], irqs: [], ...options });
}

describe('the flags of a device', () => {
  it.each([
    ['pci', PCI],
    ['platform', PLATFORM],
    ['fsl-mc', FSL_MC],
  ] as const)('of kind %s name its bus driver', (kind, flag) => {
    expect(deviceOf(kind).flags).toBe(flag);
    expect(deviceOf(kind, { resettable: true }).flags).toBe(flag | RESET);
    expect(kindOfFlags(flag | RESET)).toBe(kind);
  });

  it.each([
    ['vfio-pci', PCI, 'pci'],
    ['vfio-platform', PLATFORM, 'platform'],
    ['vfio-amba', AMBA, 'platform'],
    ['vfio-ccw', CCW, 'mdev'],
    ['vfio-ap', AP, 'mdev'],
  ] as const)('of an mdev that speaks %s are those of that driver', (api, flag, seenAs) => {
    expect(deviceOf('mdev', { api }).flags).toBe(flag);
    expect([kindOfFlags(flag), deviceOf('mdev', { api }).seenAs]).toEqual([seenAs, seenAs]);
  });

  it('of an mdev that says nothing are none', () => {
    expect([deviceOf('mdev').api, deviceOf('mdev').flags, kindOfFlags(0), kindOfFlags(RESET)]).toEqual([
      null,
      0,
      null,
      null,
    ]);
  });

  it('are not an API that the kind has not', () => {
    for (const [kind, api] of [
      ['pci', 'vfio-platform'],
      ['platform', 'vfio-pci'],
      ['fsl-mc', 'vfio-platform'],
    ] as [DeviceKind, DeviceApi][]) {
      expect(() => deviceOf(kind, { api })).toThrow(`a ${kind} device speaks no ${api}`);
    }
  });
});

describe('an mdev that speaks vfio-pci', () => {
  it('has the tables of a PCI device, and all of its regions in one range', () => {
    const device = deviceOf('mdev', { api: 'vfio-pci', regions: [{ index: 10, sizeBytes: 1 }] });
    expect([device.regionCount, device.irqs.length]).toEqual([11, 5]);
    expect(device.memoryRange).toEqual({ start: 0, length: 11 * 2 ** 40 });
  });

  it('cannot be replaced by one that speaks another API', () => {
    const [old, next] = [deviceOf('mdev', { api: 'vfio-platform' }), deviceOf('mdev', { api: 'vfio-amba' })];
    expect(old.differences(next)).toEqual(['the API of the device: vfio-platform before, vfio-amba now']);
  });
});
