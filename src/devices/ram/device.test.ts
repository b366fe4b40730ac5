import { describe, expect, it } from 'vitest';
import {
  PCI_COMMAND,
  PCI_COMMAND_MEMORY,
  PCI_EXP_DEVCTL,
  PCI_EXP_DEVCTL_BCR_FLR,
  PCI_PM_CTRL,
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_MMAP,
} from '../../abi/index.ts';
import { attachPlainMemory, DeviceMemory, type PlainRegionMemory } from '../../core/index.ts';
import { Ram, type RamOptions } from './device.ts';
import { RAM_REGISTERS } from './registers.ts';
import * as spec from './spec.ts';

const SIZE = 0x2_0000;
const BAR2 = spec.RAM_MEMORY_BAR;
const REGION9 = spec.RAM_SCRATCH_REGION;
const EIO = 5;

class Bench {
  readonly ram: Ram;
  readonly memories: ReadonlyMap<number, PlainRegionMemory>;
  readonly view: DataView = new DataView(new ArrayBuffer(8));

  /** @param withMemory false for sizes that an array of bytes cannot have */
  constructor(options: RamOptions = {}, withMemory: boolean = true) {
    this.ram = new Ram({ sizeBytes: SIZE, ...options });
    this.memories = withMemory ? attachPlainMemory(this.ram) : new Map();
    this.ram.opened();
  }

  read(index: number, offset: number): number {
    const errno = this.ram.region(index).read(offset, 4, this.view, 0);
    return errno === 0 ? this.view.getUint32(0, true) : -(errno as number);
  }

  write(index: number, offset: number, value: number): number {
    this.view.setUint32(0, value, true);
    return this.ram.region(index).write(offset, 4, this.view, 0) as number;
  }

  config(offset: number, value: number): void {
    this.view.setUint16(0, value, true);
    this.ram.region(7).write(offset, 2, this.view, 0);
  }

  capability(type: 'power-management' | 'express'): number {
    for (const [capability, at] of this.ram.capabilityOffsets) if (capability.type === type) return at;
    throw new Error(`no ${type} capability`);
  }
}

describe('Ram', () => {
  it('is a RAM controller with a prefetchable 64-bit BAR2 and a typed region 9', () => {
    const { ram } = new Bench();
    const view = new DataView(new ArrayBuffer(64));
    ram.region(7).read(0, 64, view, 0);
    expect(view.getUint16(0x0a, true)).toBe(0x0500);
    expect(view.getUint32(0x18, true) & 0xf).toBe(0xc);
    expect(ram.region(BAR2).flags & VFIO_REGION_INFO_FLAG_MMAP).not.toBe(0);
    expect(ram.region(REGION9).type).toEqual({ type: 0x8000_1234, subtype: 1 });
    expect(ram.region(REGION9).flags & VFIO_REGION_INFO_FLAG_CAPS).not.toBe(0);
    expect(ram.regionCount).toBe(10);
    expect(ram.resettable).toBe(true);
  });

  it('says in BAR0 what it is', () => {
    const bench = new Bench({ sizeBytes: 64 * 2 ** 30 }, false);
    expect(bench.read(0, RAM_REGISTERS.ID.offset)).toBe(0x004d_4152);
    expect(bench.read(0, RAM_REGISTERS.SIZE_LOW.offset)).toBe(0);
    expect(bench.read(0, RAM_REGISTERS.SIZE_HIGH.offset)).toBe(16);
    expect(bench.read(0, RAM_REGISTERS.AREAS.offset)).toBe(1);
    expect(bench.read(0, RAM_REGISTERS.CONSENT.offset)).toBe(1);
    expect(bench.read(0, 0x40)).toBe(0xffff_ffff);
  });

  it.each([2048, 3 * 4096, 2 ** 37, 0, -4096])('refuses a size of %d bytes', (sizeBytes) => {
    expect(() => new Ram({ sizeBytes })).toThrow(RangeError);
  });

  it('refuses areas that it has no place for', () => {
    expect(() => new Ram({ sizeBytes: SIZE, areas: [] })).toThrow(RangeError);
    const areas = [{ offset: 0, size: 4096, dma: 'allow' as const }];
    expect(() => new Ram({ sizeBytes: SIZE, areas, dma: 'deny' })).toThrow(TypeError);
  });

  describe('consent (R3)', () => {
    it('lets BAR2 be a DMA target and region 9 not', () => {
      const { ram } = new Bench();
      expect(ram.region(BAR2).consent(0, SIZE)).toBe('allow');
      expect(ram.region(REGION9).consent(0, 4096)).toBe('deny');
      const scratch = new DeviceMemory({ region: ram.region(REGION9), offset: 0, sizeBytes: 4096 });
      expect(() => scratch.admit(0, 4096, true, true)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    });

    it('is given per area and shows in a register', () => {
      const bench = new Bench({
        areas: [
          { offset: 0, size: 0x1000, dma: 'deny' },
          { offset: 0x1000, size: 0x1000, dma: 'allow' },
          { offset: 0x3000, size: 0x1000, dma: 'allow' },
        ],
        scratchDma: 'allow',
      });
      expect(bench.read(0, RAM_REGISTERS.AREAS.offset)).toBe(3);
      expect(bench.read(0, RAM_REGISTERS.CONSENT.offset)).toBe(0x8000_0006);
      bench.ram.region(BAR2).setConsent(2, 'deny');
      expect(bench.read(0, RAM_REGISTERS.CONSENT.offset)).toBe(0x8000_0002);
      expect(bench.ram.region(BAR2).consent(0x1000, 0x1000)).toBe('allow');
      expect(bench.ram.region(BAR2).consent(0, 0x2000)).toBe('deny');
    });
  });

  describe('life of its memory', () => {
    it('goes with memory decode and comes back with its contents; region 9 stays (R4, R5, R7, R8)', () => {
      const bench = new Bench();
      bench.write(BAR2, 0x100, 0xb0b0_b0b0);
      bench.write(REGION9, 0x100, 0x5c5c_5c5c);
      const source = new DeviceMemory({ region: bench.ram.region(BAR2), offset: 0, sizeBytes: SIZE });
      bench.config(PCI_COMMAND, 0);
      expect(bench.read(BAR2, 0x100)).toBe(-EIO);
      expect(source.unavailable(0, 4096)).toBe('memory decode is off');
      expect(bench.read(REGION9, 0x100)).toBe(0x5c5c_5c5c);
      expect(bench.memories.get(REGION9)!.calls).toEqual([]);
      bench.config(PCI_COMMAND, PCI_COMMAND_MEMORY);
      expect(bench.read(BAR2, 0x100)).toBe(0xb0b0_b0b0);
      expect(source.unavailable(0, 4096)).toBeNull();
    });

    it('goes in D3hot', () => {
      const bench = new Bench();
      const source = new DeviceMemory({ region: bench.ram.region(BAR2), offset: 0, sizeBytes: SIZE });
      const control = bench.capability('power-management') + PCI_PM_CTRL;
      bench.config(control, 3);
      expect(source.unavailable(0, 4096)).toBe('device is in D3hot');
      bench.config(control, 0);
      expect(source.unavailable(0, 4096)).toBeNull();
    });

    it('survives a function level reset', () => {
      const bench = new Bench();
      bench.write(BAR2, 0, 0x1234_5678);
      bench.config(bench.capability('express') + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR);
      expect(bench.read(BAR2, 0)).toBe(0x1234_5678);
    });

    it('is cleared by a reset where the option says so; region 9 never is', async () => {
      const bench = new Bench({ clearOnReset: true });
      bench.write(BAR2, 0, 0x1234_5678);
      bench.write(REGION9, 0, 0x1234_5678);
      await bench.ram.reset();
      expect(bench.read(BAR2, 0)).toBe(0);
      expect(bench.read(REGION9, 0)).toBe(0x1234_5678);
    });

    it('is gone for good after release (R6)', () => {
      const bench = new Bench();
      const source = new DeviceMemory({ region: bench.ram.region(BAR2), offset: 0, sizeBytes: SIZE });
      bench.ram.release();
      expect(source.unavailable(0, 4096)).toBe('device is released');
      expect(bench.read(REGION9, 0)).toBe(-EIO);
    });
  });
});
