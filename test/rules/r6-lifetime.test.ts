/*
 * R6 lifetime: an IOMMU mapping of device memory holds a reference to the device and listens to its notifier; revocation
 * is synchronous. One checker says what any source of device memory must do. It finds nothing wrong with ours, and it finds
 * in two known designs exactly what Linux 7.3 was seen to do with them:
 * - type1 keeps the entry and never asks again (records 6.nvmecmb.i.edu-dma-read-of-BAR-IOVA and
 *   6.ivshmem.iv.edu-dma-read-after-release: DMA goes on after memory decode was cleared, and after the device was released);
 * - iommufd revokes, but the mapping stays dead after memory decode is set again, until user space maps it anew.
 */
import { describe, expect, it } from 'vitest';
import {
  Container,
  DeviceMemory,
  type DeviceMemoryOptions,
  type DmaFaultReason,
  type Region,
  Translation,
  VfioDevice,
} from '../../src/core/index.ts';
import { card, dma, KINDS, mapDma, memoryOf, PAGE, PAGES } from '../support/pure-world.ts';

type Source = new (options: DeviceMemoryOptions) => DeviceMemory;

/** As type1: what was there when it was mapped is there for ever. */
class Type1Source extends DeviceMemory {
  override unavailable(): null {
    return null;
  }

  override onRevoke(): () => void {
    return () => {};
  }
}

/** As iommufd with a dma-buf: the first revocation is the last. */
class IommufdSource extends DeviceMemory {
  #revoked: DmaFaultReason | null = null;

  constructor(options: DeviceMemoryOptions) {
    super(options);
    this.onRevoke((reason) => {
      this.#revoked = reason;
    });
  }

  override unavailable(offset: number, size: number): DmaFaultReason | null {
    return this.#revoked ?? super.unavailable(offset, size);
  }
}

const WHOLE = PAGES * PAGE;

function mapped(region: Region, Kind: Source): { container: Container; source: DeviceMemory; iova: number } {
  const container = new Container();
  const source = new Kind({ region, offset: 0, sizeBytes: WHOLE });
  const iova = 0x1000_0000;
  container.map({ iova, size: WHOLE, read: true, write: true, source });
  return { container, source, iova };
}

/** What is wrong with a source over the life of a device, one sentence each. */
function violations(Kind: Source): string[] {
  const wrong: string[] = [];
  const device = card();
  const region = device.region(0);
  const { container, source, iova } = mapped(region, Kind);
  const expectDma = (answer: 'ok' | DmaFaultReason, when: string): void => {
    const got = dma(container, iova);
    if (got !== answer) wrong.push(`${when}: DMA is '${got}' and should be '${answer}'`);
  };
  const revoked: DmaFaultReason[] = [];
  source.onRevoke((reason) => revoked.push(reason));
  const expectRevoked = (reason: DmaFaultReason, when: string): void => {
    if (revoked.pop() !== reason) wrong.push(`${when}: who watches was not told before the call returned`);
  };

  if (source.device !== device) wrong.push('it does not hold its device');
  expectDma('ok', 'at first');
  device.suspend('memory decode is off');
  expectRevoked('memory decode is off', 'suspended');
  expectDma('memory decode is off', 'suspended');
  device.resume('memory decode is off');
  expectDma('ok', 'resumed');
  region.setConsent(0, 'deny');
  expectRevoked('consent was withdrawn', 'withdrawn');
  expectDma('consent was withdrawn', 'withdrawn');
  region.setConsent(0, 'allow');
  expectDma('ok', 'announced again');
  device.release();
  expectRevoked('device is released', 'released');
  expectDma('device is released', 'released');
  return wrong;
}

describe('the life of a mapping of device memory', () => {
  it('follows the device', () => {
    expect(violations(DeviceMemory)).toEqual([]);
  });

  it('canary: type1 goes on reaching what is gone', () => {
    const wrong = violations(Type1Source);
    expect(wrong).toContain("suspended: DMA is 'ok' and should be 'memory decode is off'");
    expect(wrong).toContain("released: DMA is 'ok' and should be 'device is released'");
    expect(wrong).toContain('suspended: who watches was not told before the call returned');
  });

  it('canary: iommufd does not come back', () => {
    expect(violations(IommufdSource)).toEqual([
      "resumed: DMA is 'memory decode is off' and should be 'ok'",
      "announced again: DMA is 'consent was withdrawn' and should be 'ok'",
    ]);
  });
});

describe.each(KINDS)('revocation by a %s device', (kind) => {
  it('is done before the memory itself goes, and before suspend returns', () => {
    const device = card(kind);
    const region = device.region(0);
    const { source } = mapped(region, DeviceMemory);
    const events: string[] = [];
    source.onRevoke((reason) =>
      events.push(`${reason}; memory was told ${memoryOf(region).calls.length} times`),
    );
    device.suspend('device is in D3hot');
    events.push('suspend returned');
    expect(events).toEqual(['device is in D3hot; memory was told 0 times', 'suspend returned']);
  });

  it('leaves entries where they are: EEXIST over them, and unmap returns their full size', () => {
    for (const end of ['suspend', 'release'] as const) {
      const device = card(kind);
      const container = new Container();
      const iova = mapDma(container, device.region(0));
      if (end === 'suspend') device.suspend('memory decode is off');
      else device.release();
      expect(() => mapDma(container, card().region(0))).toThrow(expect.objectContaining({ code: 'EEXIST' }));
      expect(container.unmap(iova, WHOLE)).toBe(WHOLE);
      expect(container.unmap(iova, WHOLE)).toBe(0);
    }
  });

  it('reaches every container that maps the memory, and no other device', () => {
    const [device, other] = [card(kind), card(kind)];
    const containers = [new Container(), new Container(), new Container()];
    const iovas = containers.map((container) => mapDma(container, device.region(2)));
    const otherIova = mapDma(containers[0]!, other.region(0));
    device.suspend('memory decode is off');
    expect(containers.map((container, i) => dma(container, iovas[i]!))).toEqual(
      new Array(3).fill('memory decode is off'),
    );
    expect(dma(containers[0]!, otherIova)).toBe('ok');
    device.release();
    expect(dma(containers[0]!, otherIova)).toBe('ok');
  });
});

describe('revocation of part of a device', () => {
  it('of the BARs leaves mappings of device-specific regions (R5)', () => {
    const device = card();
    const container = new Container();
    const told: number[] = [];
    const iovas = [0, 5, 9, 10].map((index) => {
      const source = new DeviceMemory({ region: device.region(index), offset: 0, sizeBytes: WHOLE });
      source.onRevoke(() => told.push(index));
      container.map({ iova: index * WHOLE, size: WHOLE, read: true, write: true, source });
      return index * WHOLE;
    });
    device.suspend('memory decode is off');
    const off = 'memory decode is off';
    expect(iovas.map((iova) => dma(container, iova))).toEqual([off, off, 'ok', 'ok']);
    expect(told).toEqual([0, 5]);
  });

  it('by withdrawing an area cuts off that area only, and names its first byte', () => {
    const areas = [0, 1, 2].map((i) => ({ offset: i * 4 * PAGE, size: 4 * PAGE, dma: 'allow' as const }));
    const regions = [{ index: 9, sizeBytes: 12 * PAGE, areas }];
    const device = new VfioDevice({ name: 'mixed', kind: 'pci', regions, irqs: [] });
    const region = device.region(9);
    const container = new Container();
    const told: string[] = [];
    for (const [iova, offset, size] of [
      [0, 0, 12],
      [16, 0, 4],
      [32, 4, 4],
    ] as const) {
      const source = new DeviceMemory({ region, offset: offset * PAGE, sizeBytes: size * PAGE });
      source.onRevoke((reason) => told.push(`${offset}+${size}: ${reason}`));
      container.map({ iova: iova * PAGE, size: size * PAGE, read: true, write: true, source });
    }
    region.setConsent(1, 'deny');
    expect(told).toEqual(['0+12: consent was withdrawn', '4+4: consent was withdrawn']);
    const out = new Translation();
    expect(container.translate(0, 4 * PAGE, false, out)).toBeNull();
    expect(container.translate(8 * PAGE, 4 * PAGE, false, out)).toBeNull();
    expect(container.translate(16 * PAGE, 4 * PAGE, false, out)).toBeNull();
    expect(container.translate(PAGE + 3, 11 * PAGE - 3, false, out)).toMatchObject({
      iova: 4 * PAGE,
      reason: 'consent was withdrawn',
    });
    expect(container.translate(32 * PAGE, 1, false, out)).toMatchObject({ iova: 32 * PAGE });
    expect(() => mapDma(new Container(), region, 4 * PAGE, 4 * PAGE)).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
  });
});

describe('who watches', () => {
  it('costs the device one listener, however many mappings are watched, and none that are not', () => {
    const device = card();
    const region = device.region(0);
    const count = 5000;
    const memories = Array.from(
      { length: count },
      () => new DeviceMemory({ region, offset: 0, sizeBytes: PAGE }),
    );
    expect(device.listenerCount('suspend')).toBe(0);
    let told = 0;
    const stops = memories.map((memory) => memory.onRevoke(() => told++));
    expect([device.listenerCount('suspend'), device.listenerCount('release')]).toEqual([1, 1]);
    device.suspend('memory decode is off');
    device.resume('memory decode is off');
    expect(told).toBe(count);
    for (const stop of stops.slice(1)) stop();
    stops[1]!();
    expect(device.listenerCount('suspend')).toBe(1);
    memories[0]!.detach();
    expect([device.listenerCount('suspend'), device.listenerCount('release')]).toEqual([0, 0]);
    device.suspend('memory decode is off');
    expect(told).toBe(count);
  });

  it('is told even when another one throws, and may stop watching meanwhile', () => {
    const device = card();
    const memories = [0, 1, 2].map(
      (page) => new DeviceMemory({ region: device.region(0), offset: page * PAGE, sizeBytes: PAGE }),
    );
    const told: number[] = [];
    memories[0]!.onRevoke(() => {
      throw new Error('a listener of the host');
    });
    const stop = memories[1]!.onRevoke(() => {
      told.push(1);
      stop();
    });
    memories[2]!.onRevoke(() => told.push(2));
    expect(() => device.suspend('device is in D3hot')).toThrow(AggregateError);
    expect([told, memoryOf(device.region(0)).suspended]).toEqual([[1, 2], true]);
    device.resume('device is in D3hot');
    expect(() => device.suspend('device is in D3hot')).toThrow(AggregateError);
    expect(told).toEqual([1, 2, 2]);
  });

  it('is not told when another listener has resumed the device before', () => {
    const device = card();
    let told = 0;
    device.on('suspend', () => device.resume('device is in D3hot'));
    const { container, source, iova } = mapped(device.region(0), DeviceMemory);
    source.onRevoke(() => told++);
    device.suspend('device is in D3hot');
    expect([told, dma(container, iova)]).toEqual([0, 'ok']);
  });
});

describe('DMA in flight', () => {
  it('to a mapping that is unmapped holds the source, and the reference, until it ends', () => {
    const device = card();
    const { container, source, iova } = mapped(device.region(0), DeviceMemory);
    let told = 0;
    source.onRevoke(() => told++);
    const mapping = container.find(iova)!;
    container.acquire(mapping);
    expect(container.unmap(iova, WHOLE)).toBe(WHOLE);
    expect([dma(container, iova), device.listenerCount('suspend')]).toEqual(['mapping is being removed', 1]);
    device.suspend('device is in D3hot');
    expect(told).toBe(1);
    container.release(mapping);
    expect([dma(container, iova), device.listenerCount('suspend')]).toEqual(['not mapped', 0]);
  });

  it('holds nothing any more when the container is closed', () => {
    const device = card();
    const { container, source } = mapped(device.region(0), DeviceMemory);
    source.onRevoke(() => {});
    container.close();
    expect([device.listenerCount('suspend'), device.listenerCount('release')]).toEqual([0, 0]);
  });
});

describe('what may not be mapped', () => {
  it('is refused before anything is held', () => {
    const region = card().region(0);
    const code = (action: () => unknown): unknown => {
      try {
        return action();
      } catch (error) {
        return (error as { code?: string }).code;
      }
    };
    const make = (offset: number, sizeBytes: number) => new DeviceMemory({ region, offset, sizeBytes });
    expect([
      code(() => make(-PAGE, PAGE)),
      code(() => make(0, 0)),
      code(() => make(PAGE, WHOLE)),
      code(() => make(Number.NaN, PAGE)),
    ]).toEqual(new Array(4).fill('EINVAL'));
    const request = { iova: 0, size: 2 * PAGE, read: true, write: true };
    expect(code(() => new Container().map({ ...request, source: make(0, PAGE) }))).toBe('EFAULT');
    expect(
      code(() => new Container().map({ ...request, source: make(0, 2 * PAGE), sourceOffset: PAGE })),
    ).toBe('EFAULT');
  });

  it('is refused against the rights of the region: EFAULT, as type1 says of a read-only VMA', () => {
    // Linux 7.3, records 7.map-ro-BAR-vma-RW and 7.map-ro-BAR-vma-R.
    const areas = [{ offset: 0, size: PAGE, dma: 'allow' as const }];
    const regions = [{ index: 2, sizeBytes: PAGE, areas, write: false }];
    const region = new VfioDevice({ name: 'rom', kind: 'pci', regions, irqs: [] }).region(2);
    const map = (write: boolean): void => {
      const source = new DeviceMemory({ region, offset: 0, sizeBytes: PAGE });
      new Container().map({ iova: 0, size: PAGE, read: true, write, source });
    };
    expect(() => map(true)).toThrow(expect.objectContaining({ code: 'EFAULT' }));
    expect(() => map(false)).not.toThrow();
  });
});
