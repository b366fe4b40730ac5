/*
 * R7 return: after resume, CPU mappings fault in again and IOMMU mappings translate again, with no action by
 * their owner; release is final.
 */
import { describe, expect, it } from 'vitest';
import { ERRNO } from '../../src/abi/index.ts';
import { Container, type Reason } from '../../src/core/index.ts';
import { card, dma, KINDS, mapDma, memoryOf, mmap, PageTables, readMessage } from '../support/pure-world.ts';

function world(kind: (typeof KINDS)[number] = 'pci') {
  const device = card(kind);
  const region = device.region(2);
  const tables = new PageTables(device);
  const container = new Container();
  const vma = mmap(region, 'p');
  const iova = mapDma(container, region);
  const reached = (): unknown[] => [tables.touch(vma), dma(container, iova), readMessage(region)];
  return { device, region, container, reached };
}

describe.each(KINDS)('after resume of a %s device', (kind) => {
  it('old CPU mappings, old IOMMU mappings and messages work, as often as it happens', () => {
    const { device, container, reached } = world(kind);
    expect(reached()).toEqual(['ok', 'ok', 0]);
    for (const reason of ['device is in D3hot', 'memory decode is off', 'device is in D3hot'] as Reason[]) {
      device.suspend(reason);
      expect(reached()).toEqual(['SIGBUS', reason, ERRNO.EIO]);
      device.resume(reason);
      expect(reached()).toEqual(['ok', 'ok', 0]);
    }
    expect(container.size).toBe(1);
  });
});

describe('the order of return', () => {
  it('is memory first, so that a listener who looks finds it', () => {
    const { device, region } = world();
    const seen: unknown[] = [];
    device.on('resume', () =>
      seen.push(memoryOf(region).suspended, region.dmaReason(0, 1), readMessage(region)),
    );
    device.suspend('device is in D3hot');
    device.resume('device is in D3hot');
    expect(seen).toEqual([false, null, 0]);
  });

  it('of going is listeners first, while the state already says no', () => {
    const { device, region, reached } = world();
    const seen: unknown[] = [];
    device.on('suspend', () => seen.push(memoryOf(region).suspended, region.dmaReason(0, 1)));
    reached();
    device.suspend('device is in D3hot');
    expect(seen).toEqual([false, 'device is in D3hot']);
    expect(memoryOf(region).suspended).toBe(true);
  });
});

describe('release', () => {
  it.each([true, false])('is final (suspended before: %s)', (suspendedBefore) => {
    const { device, region, reached } = world();
    const told: string[] = [];
    for (const name of ['suspend', 'resume', 'release'] as const) device.on(name, () => told.push(name));
    if (suspendedBefore) device.suspend('memory decode is off');
    device.release();
    device.resume('memory decode is off');
    device.suspend('device is in D3hot');
    device.resume('device is in D3hot');
    device.release();
    expect(reached()).toEqual(['SIGBUS', 'device is released', ERRNO.EIO]);
    expect(told).toEqual(suspendedBefore ? ['suspend', 'release'] : ['release']);
    expect(memoryOf(region).calls.at(-1)).toBe('release');
  });

  it('tells every listener, even after one that throws', () => {
    const { device, reached } = world();
    let told = 0;
    device.on('release', () => {
      throw new Error('a listener of the host');
    });
    device.on('release', () => told++);
    expect(() => device.release()).toThrow(AggregateError);
    expect([told, ...reached()]).toEqual([1, 'SIGBUS', 'device is released', ERRNO.EIO]);
  });
});
