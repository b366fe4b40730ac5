/*
 * Platform devices as their author writes them and as a client sees them. Flags are those that Linux's vfio-platform
 * reports (vfio_platform_regions_init, vfio_platform_irq_init), written as bits of linux/vfio.h.
 */
import { describe, expect, test } from 'vitest';
import { type AccessResult, attachPlainMemory, RecordingTrigger, setIrqs } from '../core/index.ts';
import { regionRead, regionWrite } from './pci/testing.ts';
import { PlatformDevice, type PlatformDeviceSpec } from './platform.ts';
import type { Registers } from './registers.ts';

const [READ, WRITE, MMAP] = [1, 2, 4];
const [EVENTFD, MASKABLE, AUTOMASKED] = [1, 2, 4];

const TIMER_REGISTERS = {
  COUNT: { offset: 0x0, width: 4, access: 'rw', reset: 100 },
  STATUS: { offset: 0x4, width: 4, access: 'w1c', fields: { EXPIRED: 0 } },
} as const;

/** Counts down; at 0 it asserts a level until STATUS is cleared, and marks its log. */
class Timer extends PlatformDevice {
  readonly regs: Registers<typeof TIMER_REGISTERS>;
  resets = 0;

  constructor() {
    super({
      name: 'timer',
      regions: [
        { name: 'control', sizeBytes: 0x100 },
        { name: 'log', sizeBytes: 0x2000, mappable: true, dma: 'allow', resetClears: true },
        { name: 'calibration', sizeBytes: 8, readOnly: true },
      ],
      interrupts: [{ name: 'expired', trigger: 'level' }, { name: 'tick' }],
    });
    this.regs = this.addRegisters('control', TIMER_REGISTERS, {
      STATUS: { write: (value) => value === 0 && this.lowerInterrupt('expired') },
    });
  }

  tick(): void {
    this.regs.COUNT -= 1;
    this.raiseInterrupt('tick');
    if (this.regs.COUNT !== 0) return;
    this.regionNamed('log').memory!.bytesAt(0)[0]! += 1;
    this.regs.set('STATUS', 'EXPIRED', 1);
    this.raiseInterrupt('expired');
  }

  protected override onReset(): void {
    this.resets++;
  }
}

function timer(): Timer {
  const device = new Timer();
  attachPlainMemory(device);
  return device;
}

const make = (spec: Partial<PlatformDeviceSpec>): PlatformDevice =>
  new PlatformDevice({ name: 'soc', ...spec });

describe('what clients are told', () => {
  test('regions go by their place; read-only ones have no WRITE, mappable ones MMAP and one whole area', () => {
    const device = timer();
    const flags = [...device.regions.values()].map((region) => [region.index, region.flags, region.sparse]);
    expect(flags).toEqual([
      [0, READ | WRITE, false],
      [1, READ | WRITE | MMAP, false],
      [2, READ, false],
    ]);
    expect([...device.regions.values()].map(({ offset }) => offset)).toEqual([0, 2 ** 40, 2 * 2 ** 40]);
    expect(device.region(1).areas).toEqual([{ offset: 0, size: 0x2000, dma: 'allow' }]);
  });

  test('each interrupt is an index with one vector: a level masks itself, an edge cannot be masked', () => {
    expect(timer().irqs.map(({ count, flags }) => [count, flags])).toEqual([
      [1, EVENTFD | MASKABLE | AUTOMASKED],
      [1, EVENTFD],
    ]);
  });

  test('RESET is there if the class has a reset, and only then', () => {
    expect(timer().flags).toBe((1 << 2) | 1);
    const bare = make({});
    expect([bare.flags, bare.resettable, bare.regionCount, bare.irqs.length]).toEqual([1 << 2, false, 0, 0]);
    expect(() => bare.reset()).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  test('all of its regions are device memory in one range', () => {
    expect(timer().memoryRange).toEqual({ start: 0, length: 3 * 2 ** 40 });
  });
});

describe('a timer', () => {
  test('asserts its level until the client clears the cause', () => {
    const device = timer();
    const [expired, tick] = [new RecordingTrigger(), new RecordingTrigger()];
    device.irqs[0]!.wire(0, [expired]);
    device.irqs[1]!.wire(0, [tick]);
    regionWrite(device, 0, 0, '01000000');
    device.tick();
    expect([expired.signals, tick.signals, device.irqs[0]!.masked(0)]).toEqual([1, 1, true]);
    const unmask = { index: 0, start: 0, count: 1, data: 'none', action: 'unmask' } as const;
    setIrqs(device, unmask);
    expect(expired.signals).toBe(2);
    expect(regionRead(device, 0, 4, 4)).toBe('01000000');
    regionWrite(device, 0, 4, '01000000');
    setIrqs(device, unmask);
    expect([expired.signals, device.irqNamed('expired').pending(0)]).toEqual([2, false]);
    expect(regionRead(device, 1, 0, 1)).toBe('01');
  });

  test('a reset brings back registers and what it clears, then the class has its turn', () => {
    const device = timer();
    regionWrite(device, 0, 0, '01000000');
    device.tick();
    void device.reset();
    expect([regionRead(device, 0, 0, 8), regionRead(device, 1, 0, 1)]).toEqual(['6400000000000000', '00']);
    expect([device.resets, device.irqNamed('expired').pending(0)]).toEqual([1, false]);
  });

  test('what has no handler reads as ones; a read-only region refuses writes with EINVAL', () => {
    const device = timer();
    expect(regionRead(device, 2, 0, 4)).toBe('ffffffff');
    expect(device.region(2).write(0, 4, new DataView(new ArrayBuffer(4)), 0)).toBe(22);
  });

  test('lowering an edge is nothing', () => {
    const device = timer();
    device.raiseInterrupt('tick');
    device.lowerInterrupt('tick');
    expect(device.irqNamed('tick').pending(0)).toBe(true);
  });

  test('its register block can be looked up by name', () => {
    const device = timer();
    expect([device.registerBlock('control'), device.registerBlock('log')]).toEqual([device.regs, null]);
  });
});

describe('a new instance that takes over', () => {
  class Carrying extends Timer {
    override saveState(): null {
      return null;
    }
  }

  test('begins as after a reset, memory included', () => {
    const [old, next] = [timer(), new Timer()];
    regionWrite(old, 0, 0, '01000000');
    old.tick();
    next.takeOver(old, { carried: false, attached: true });
    expect([regionRead(next, 0, 0, 4), regionRead(next, 1, 0, 1)]).toEqual(['64000000', '00']);
    expect(old.released).toBe(true);
  });

  test('goes on with registers and memory if it carries its state', () => {
    const [old, next] = [new Carrying(), new Carrying()];
    attachPlainMemory(old);
    regionWrite(old, 0, 0, '01000000');
    old.tick();
    expect(next.carryOver(old)).toBe(true);
    next.takeOver(old, { carried: true, attached: true });
    expect([regionRead(next, 0, 0, 8), regionRead(next, 1, 0, 1)]).toEqual(['0000000001000000', '01']);
    expect(next.irqNamed('expired').pending(0)).toBe(true);
  });
});

describe('what its author is told', () => {
  const handler = { read: (): AccessResult => 0, write: (): AccessResult => 0 };

  test.each<[string, Partial<PlatformDeviceSpec>]>([
    [
      'soc, rom: a read-only region is not mappable',
      { regions: [{ name: 'rom', sizeBytes: 4096, readOnly: true, mappable: true }] },
    ],
    [
      'only whole pages of 4096 bytes are mappable',
      { regions: [{ name: 'a', sizeBytes: 5000, mappable: true }] },
    ],
    ["'dma' goes with 'mappable: true'", { regions: [{ name: 'a', sizeBytes: 4096, dma: 'allow' }] }],
    [
      'all of it is mappable, so its handler would see no access',
      { regions: [{ name: 'a', sizeBytes: 4096, mappable: true, handler }] },
    ],
    [
      'two regions have the same name',
      {
        regions: [
          { name: 'a', sizeBytes: 8 },
          { name: 'a', sizeBytes: 8 },
        ],
      },
    ],
    ['two interrupts have the same name', { interrupts: [{ name: 'i' }, { name: 'i' }] }],
  ])('%s', (message, spec) => {
    expect(() => make(spec)).toThrow(message);
  });

  test('a name that is not there, with those that are', () => {
    expect(() => timer().regionNamed('sram')).toThrow(
      "timer has no region 'sram'; it has control, log, calibration",
    );
    expect(() => make({}).raiseInterrupt('x')).toThrow("soc has no interrupt 'x'; it has none");
  });

  test('registers that do not fit', () => {
    class Small extends PlatformDevice {
      constructor() {
        super({ name: 'small', regions: [{ name: 'control', sizeBytes: 4 }] });
        this.addRegisters('control', TIMER_REGISTERS);
      }
    }
    expect(() => new Small()).toThrow('registers end at 8, beyond control');
  });
});
