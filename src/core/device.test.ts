/* The device: its tables, and the order in which memory goes away and comes back. */
import { describe, expect, it } from 'vitest';
import { VFIO_IRQ_INFO_EVENTFD } from '../abi/vfio.ts';
import { type DeviceOptions, type NotifierRange, VfioDevice } from './device.ts';
import type { MaybePromise } from './dma.ts';
import { REGION_SPAN } from './offset.ts';
import { attachPlainMemory, PlainRegionMemory, RecordingTrigger } from './testing.ts';
import { Vma } from './vma.ts';

const PAGE = 4096;
const BARS = { start: 0, length: 6 * REGION_SPAN };

/** A region of one page that is memory. */
function memoryRegion(index: number) {
  return { index, sizeBytes: PAGE, areas: [{ offset: 0, size: PAGE, dma: 'allow' as const }] };
}

function deviceOf(options: Partial<DeviceOptions> = {}): VfioDevice {
  const regions = [0, 2, 4, 9].map(memoryRegion);
  return new VfioDevice({ name: 'd', kind: 'pci', regions, irqs: [], ...options });
}

/** A device whose every step is written down, in the order it happens. */
function observed(device: VfioDevice = deviceOf()) {
  const log: string[] = [];
  for (const region of device.regions.values()) {
    const memory = new PlainRegionMemory(region.sizeBytes);
    for (const call of ['suspend', 'resume', 'release'] as const) {
      const original = memory[call].bind(memory);
      memory[call] = () => {
        log.push(`memory ${region.index} ${call}`);
        original();
      };
    }
    region.memory = memory;
    const vma = { file: device.file, process: 'p', start: 0, sizeBytes: PAGE, pgoff: region.offset / PAGE };
    device.addressSpace.insert(new Vma(vma));
  }
  device.addressSpace.onZap = (vma) => log.push(`zap ${Math.floor((vma.pgoff * PAGE) / REGION_SPAN)}`);
  for (const name of ['suspend', 'resume', 'release'] as const) {
    device.on(name, (range) => {
      const first = device.regions.get(range.start / REGION_SPAN);
      log.push(`${name} ${range.start / REGION_SPAN}+${range.length / REGION_SPAN}: ${range.reason}`);
      if (name !== 'resume' && first) expect(device.accessible(first)).toBe(range.reason);
      if (name === 'resume' && first) expect(device.accessible(first)).toBeNull();
    });
  }
  return { device, log };
}

describe('tables', () => {
  it('of a pci device have 9 regions and 5 irqs at least', () => {
    const device = deviceOf({ regions: [memoryRegion(0)] });
    expect([device.regionCount, device.irqs.length]).toEqual([9, 5]);
    expect(device.irqs.map((irq) => [irq.index, irq.count])).toEqual([0, 1, 2, 3, 4].map((i) => [i, 0]));
    expect(deviceOf().regionCount).toBe(10);
  });

  it('of the other kinds have what was declared', () => {
    const irqs = [{ index: 1, count: 3, flags: VFIO_IRQ_INFO_EVENTFD }];
    const device = deviceOf({ kind: 'platform', regions: [memoryRegion(1)], irqs });
    expect([device.regionCount, device.irqs.map((irq) => irq.count)]).toEqual([2, [0, 3]]);
    expect(deviceOf({ kind: 'mdev', regions: [] }).regionCount).toBe(0);
  });

  it('answer EINVAL for a region that is not there', () => {
    const device = deviceOf();
    expect(device.region(2).index).toBe(2);
    for (const index of [1, 10, -1]) {
      expect(() => device.region(index)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    }
  });

  it('refuse what QEMU would refuse, and doubles', () => {
    expect(() => deviceOf({ regions: [memoryRegion(100)] })).toThrow('indexes end at 99');
    expect(() => deviceOf({ irqs: [{ index: 50, count: 1, flags: 0 }] })).toThrow('indexes end at 49');
    expect(() => deviceOf({ regions: [memoryRegion(0), memoryRegion(0)] })).toThrow('twice');
    const irq = { index: 0, count: 1, flags: 0 };
    expect(() => deviceOf({ irqs: [irq, irq] })).toThrow('twice');
  });
});

describe('order', () => {
  it('of suspend: listeners, then CPU mappings, then memory; of resume: memory, then listeners', () => {
    const { device, log } = observed();
    device.suspend('device is in D3hot');
    expect(log.splice(0)).toEqual([
      'suspend 0+6: device is in D3hot',
      'zap 0',
      'zap 2',
      'zap 4',
      'memory 0 suspend',
      'memory 2 suspend',
      'memory 4 suspend',
    ]);
    device.resume('device is in D3hot');
    expect(log).toEqual([
      'memory 0 resume',
      'memory 2 resume',
      'memory 4 resume',
      'resume 0+6: device is in D3hot',
    ]);
  });

  it('of release: listeners, then CPU mappings, then memory, of all regions at once', () => {
    const { device, log } = observed();
    device.release();
    expect(log).toEqual([
      'release 0+10: device is released',
      ...[0, 2, 4, 9].map((i) => `zap ${i}`),
      ...[0, 2, 4, 9].map((i) => `memory ${i} release`),
    ]);
  });
});

describe('several reasons', () => {
  it('are told once, and end with the last', () => {
    const { device, log } = observed();
    device.suspend('memory decode is off');
    log.length = 0;
    device.suspend('memory decode is off');
    device.suspend('device is in D3hot');
    device.resume('memory decode is off');
    expect(log).toEqual([]);
    expect(device.accessible(device.region(0))).toBe('device is in D3hot');
    device.resume('device is in D3hot');
    expect(log.at(-1)).toBe('resume 0+6: device is in D3hot');
    expect(device.accessible(device.region(0))).toBeNull();
  });

  it('over different ranges tell only of what changes', () => {
    const { device, log } = observed();
    device.suspend('device is in reset', 2 * REGION_SPAN, REGION_SPAN);
    log.length = 0;
    device.suspend('memory decode is off');
    expect(log.filter((line) => line.startsWith('suspend'))).toEqual([
      'suspend 0+2: memory decode is off',
      'suspend 3+3: memory decode is off',
    ]);
    expect(log).not.toContain('memory 2 suspend');
    log.length = 0;
    device.resume('memory decode is off');
    expect(log.filter((line) => line.startsWith('resume'))).toEqual([
      'resume 0+2: memory decode is off',
      'resume 3+3: memory decode is off',
    ]);
    expect(device.region(2).blockers).toEqual(['device is in reset']);
  });

  it('end everywhere when one was given for two ranges', () => {
    const device = deviceOf();
    device.suspend('device is stopped', 0, REGION_SPAN);
    device.suspend('device is stopped', 9 * REGION_SPAN, REGION_SPAN);
    expect([device.accessible(device.region(2)), device.accessible(device.region(9))]).toEqual([
      null,
      'device is stopped',
    ]);
    device.resume('device is stopped');
    expect([...device.regions.values()].map((region) => region.blockers.length)).toEqual([0, 0, 0, 0]);
  });

  it('given twice still end at once, told once', () => {
    const { device, log } = observed();
    device.suspend('device is stopped');
    device.suspend('device is stopped', 0, REGION_SPAN);
    device.suspend('device is stopped');
    log.length = 0;
    device.resume('device is stopped');
    expect(log.filter((line) => line.startsWith('resume'))).toEqual(['resume 0+6: device is stopped']);
  });

  it('that do not hold cannot end', () => {
    const { device, log } = observed();
    device.resume('device is in D3hot');
    expect(log).toEqual([]);
  });
});

describe('the range of suspend', () => {
  it('is the BARs of a pci device, and everything of the other kinds', () => {
    expect(deviceOf().memoryRange).toEqual(BARS);
    expect(deviceOf({ kind: 'fsl-mc' }).memoryRange).toEqual({ start: 0, length: 10 * REGION_SPAN });
    expect(deviceOf({ kind: 'mdev', memoryRange: BARS }).memoryRange).toBe(BARS);
  });

  it('consists of whole regions', () => {
    expect(() => deviceOf().suspend('device is in D3hot', 0, PAGE)).toThrow('whole regions');
    expect(() => deviceOf().suspend('device is released')).toThrow('call release()');
  });
});

describe('listeners', () => {
  it('that throw stop nobody; it comes out at the end as the host mistake that it is', () => {
    const { device, log } = observed();
    device.on('suspend', () => {
      throw new Error('first');
    });
    device.addressSpace.onZap = () => {
      throw new Error('second');
    };
    const ranges: NotifierRange[] = [];
    device.on('suspend', (range) => ranges.push(range));
    expect(() => device.suspend('memory decode is off')).toThrow(AggregateError);
    expect(ranges).toEqual([{ ...BARS, reason: 'memory decode is off' }]);
    expect(log).toContain('memory 4 suspend');
    expect(device.accessible(device.region(0))).toBe('memory decode is off');
  });

  it('may resume what they are told of: the memory ends up as the reasons say', () => {
    const device = deviceOf();
    const memory = attachPlainMemory(device).get(0)!;
    const off = device.on('suspend', () => device.resume('device is stopped'));
    device.suspend('device is stopped');
    expect([memory.suspended, device.accessible(device.region(0))]).toEqual([false, null]);
    off();
    device.on('resume', () => device.suspend('device is in D3hot'));
    device.suspend('device is stopped');
    device.resume('device is stopped');
    expect([memory.suspended, device.accessible(device.region(0))]).toEqual([true, 'device is in D3hot']);
  });

  it('may release the device that suspends: what follows is left out', () => {
    const device = deviceOf();
    const memory = attachPlainMemory(device).get(0)!;
    device.on('suspend', () => device.release());
    device.suspend('device is stopped');
    expect(memory.calls).toEqual(['release']);
    expect(device.accessible(device.region(0))).toBe('device is released');
  });

  it('are counted, and leave no trace', () => {
    const device = deviceOf();
    const off = device.on('release', () => {});
    expect(device.listenerCount('release')).toBe(1);
    off();
    expect(device.listenerCount('release')).toBe(0);
  });
});

describe('memory attached late', () => {
  it('starts suspended if the region cannot be reached', () => {
    const device = deviceOf();
    device.suspend('memory decode is off');
    const memories = attachPlainMemory(device);
    expect([memories.get(0)?.suspended, memories.get(9)?.suspended]).toEqual([true, false]);
    device.resume('memory decode is off');
    expect(memories.get(0)?.suspended).toBe(false);
  });
});

describe('release', () => {
  it('is final: nothing is told again, triggers are closed, later calls do nothing', () => {
    const irqs = [{ index: 0, count: 2, flags: VFIO_IRQ_INFO_EVENTFD }];
    const { device, log } = observed(deviceOf({ irqs, resettable: true }));
    const trigger = new RecordingTrigger();
    device.irqs[0]?.wire(0, [trigger, trigger]);
    device.suspend('device is in D3hot');
    device.release();
    expect([trigger.closes, device.released]).toEqual([1, true]);
    log.length = 0;
    expect(['suspend', 'resume', 'release'].map((name) => device.listenerCount(name as 'release'))).toEqual([
      0, 0, 0,
    ]);
    device.on('resume', () => log.push('told'));
    device.suspend('memory decode is off');
    device.resume('device is in D3hot');
    device.release();
    device.region(0).setConsent(0, 'deny');
    expect(log).toEqual([]);
    expect([...device.regions.values()].map((region) => region.blockers)).toEqual(
      Array.from({ length: 4 }, () => ['device is released']),
    );
  });
});

/** Clears its first BAR on reset, at once or later. */
class Resettable extends VfioDevice {
  inReset: unknown;
  readonly #wait: Promise<void> | null;

  constructor(wait: Promise<void> | null) {
    super({
      name: 'r',
      kind: 'pci',
      regions: [memoryRegion(0)],
      irqs: [{ index: 0, count: 1, flags: 1 }],
      resettable: true,
    });
    this.#wait = wait;
  }

  protected override resetState(): MaybePromise<void> {
    this.inReset = this.accessible(this.region(0));
    this.region(0).memory?.clear(0, PAGE);
    return this.#wait ?? undefined;
  }
}

describe('reset', () => {
  it('is EINVAL for a device that has none', () => {
    expect(() => deviceOf().reset()).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  it('clears while nobody can look, then gives the memory back', () => {
    const device = new Resettable(null);
    const memory = attachPlainMemory(device).get(0)!;
    memory.bytesAt(0)[7] = 1;
    device.irqs[0]?.raise(0);
    expect(device.reset()).toBeUndefined();
    expect([device.inReset, memory.calls]).toEqual(['device is in reset', ['suspend', 'resume']]);
    expect([memory.bytesAt(0)[7], device.irqs[0]?.pending(0)]).toEqual([0, false]);
  });

  it('does not turn decode on that was off', () => {
    const device = new Resettable(null);
    device.suspend('memory decode is off');
    device.reset();
    expect(device.accessible(device.region(0))).toBe('memory decode is off');
  });

  it('that takes time is joined by a second one', async () => {
    let finish: () => void = () => {};
    const device = new Resettable(new Promise<void>((resolve) => (finish = resolve)));
    const first = device.reset();
    expect(device.reset()).toBe(first);
    expect(device.accessible(device.region(0))).toBe('device is in reset');
    finish();
    await first;
    expect(device.accessible(device.region(0))).toBeNull();
  });

  it('that fails still ends', async () => {
    const device = new Resettable(Promise.reject(new Error('stuck')));
    await expect(device.reset()).rejects.toThrow('stuck');
    expect(device.accessible(device.region(0))).toBeNull();
  });
});
