/*
 * fsl-mc objects as a client sees them. Flags are those that Linux's vfio-fsl-mc reports (vfio_fsl_mc_regions_init,
 * vfio_fsl_mc_irqs_allocate, VFIO_DEVICE_GET_INFO in vfio_fsl_mc.c), written as bits of linux/vfio.h.
 */
import { describe, expect, test } from 'vitest';
import { RecordingTrigger, setIrqs } from '../core/index.ts';
import { FslMcDevice } from './fsl-mc.ts';

const FSL_MC = 1 << 6;

class Portal extends FslMcDevice {
  constructor() {
    super({
      name: 'dpio.1',
      objectType: 'dpio',
      regions: [
        { name: 'cache-enabled', sizeBytes: 0x10000, mappable: true },
        { name: 'cache-inhibited', sizeBytes: 0x1000, mappable: true },
        { name: 'memory', sizeBytes: 100, readOnly: true },
      ],
      interrupts: ['available'],
    });
  }
}

describe('an object', () => {
  test('has mappable regions of whole pages, read-only ones without WRITE', () => {
    const device = new Portal();
    expect([...device.regions.values()].map(({ flags }) => flags)).toEqual([7, 7, 1]);
    expect([device.kind, device.flags, device.regionCount]).toEqual(['fsl-mc', FSL_MC, 3]);
  });

  test('has one index for each interrupt, with EVENTFD alone: neither maskable nor NORESIZE', () => {
    const device = new Portal();
    expect(device.irqs.map(({ index, count, flags }) => [index, count, flags])).toEqual([[0, 1, 1]]);
    const trigger = new RecordingTrigger();
    setIrqs(device, {
      index: 0,
      start: 0,
      count: 1,
      data: 'eventfd',
      action: 'trigger',
      triggers: [trigger],
    });
    expect([device.raiseInterrupt('available'), trigger.signals]).toEqual([true, 1]);
    const mask = { index: 0, start: 0, count: 1, data: 'none', action: 'mask' } as const;
    expect(() => setIrqs(device, mask)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  test('is reset by itself if its class says how', () => {
    class Resettable extends Portal {
      resets = 0;
      protected override onReset(): void {
        this.resets++;
      }
    }
    expect(() => new Portal().reset()).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    const device = new Resettable();
    void device.reset();
    expect([device.flags, device.resets]).toEqual([FSL_MC | 1, 1]);
  });
});

describe('a container', () => {
  const portal = { name: 'portal', sizeBytes: 0x1000 } as const;

  test('can be reset, whatever its class says', () => {
    const device = new FslMcDevice({ name: 'dprc.2', objectType: 'dprc', regions: [portal] });
    expect(device.flags).toBe(FSL_MC | 1);
    expect(device.reset()).toBeUndefined();
  });

  test('has no mappable region: its commands go through it', () => {
    const regions = [{ ...portal, mappable: true }] as const;
    expect(() => new FslMcDevice({ name: 'dprc.2', objectType: 'dprc', regions })).toThrow(
      "dprc.2, portal: a container's portal is not mappable",
    );
  });
});
