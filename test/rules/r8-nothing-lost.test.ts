/*
 * R8 nothing lost: device memory keeps its contents over suspend and resume; only a reset clears, and only
 * what the device says that it clears.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { attachPlainMemory, type MaybePromise, type Reason, VfioDevice } from '../../src/core/index.ts';
import { card, INDEXES, memoryOf, PAGE, PAGES, writeMessage } from '../support/pure-world.ts';

const REASONS: readonly Reason[] = ['memory decode is off', 'device is in D3hot', 'device is in reset'];

/** All bytes of all regions, as the device's own code sees them. */
function contents(device: VfioDevice): string {
  return [...device.regions.values()].map((region) => memoryOf(region).bytesAt(0).join()).join('\n');
}

describe('contents', () => {
  it('survive any sequence of suspends and resumes, and writes that were refused', () => {
    const step = fc.tuple(
      fc.nat(3),
      fc.nat(2),
      fc.constantFrom(...INDEXES),
      fc.nat(PAGES * PAGE - 1),
      fc.nat(255),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const device = card();
        const written = new Map<string, number>();
        for (const [kind, which, index, offset, value] of steps) {
          const region = device.region(index);
          if (kind === 0) device.suspend(REASONS[which]!);
          else if (kind === 1) device.resume(REASONS[which]!);
          else if (writeMessage(region, offset, value) === 0) written.set(`${index} ${offset}`, value);
          else expect(device.accessible(region)).not.toBeNull();
        }
        for (const region of device.regions.values()) {
          const bytes = memoryOf(region).bytesAt(0);
          const want = new Uint8Array(bytes.length);
          for (const [place, value] of written) {
            const [index, offset] = place.split(' ').map(Number);
            if (index === region.index) want[offset!] = value;
          }
          expect(Buffer.compare(bytes, want)).toBe(0);
        }
      }),
      { seed: 8, numRuns: 150 },
    );
  });

  it('include what the device itself writes while everybody else is cut off', () => {
    const device = card();
    device.suspend('device is in D3hot');
    memoryOf(device.region(0)).bytesAt(0)[100] = 7;
    device.resume('device is in D3hot');
    expect(memoryOf(device.region(0)).bytesAt(0)[100]).toBe(7);
  });

  it('survive a listener that throws on the way out and on the way back', () => {
    const device = card();
    memoryOf(device.region(2)).bytesAt(0).fill(3);
    const before = contents(device);
    for (const name of ['suspend', 'resume'] as const) {
      device.on(name, () => {
        throw new Error('a listener of the host');
      });
    }
    expect(() => device.suspend('device is in D3hot')).toThrow(AggregateError);
    expect(() => device.resume('device is in D3hot')).toThrow(AggregateError);
    expect([contents(device) === before, memoryOf(device.region(2)).suspended]).toEqual([true, false]);
  });
});

/** A device with two BARs that says a reset clears the first page of BAR 0. */
class Partly extends VfioDevice {
  constructor() {
    const areas = [{ offset: 0, size: 2 * PAGE, dma: 'allow' as const }];
    const regions = [0, 1].map((index) => ({ index, sizeBytes: 2 * PAGE, areas }));
    super({ name: 'partly', kind: 'pci', regions, irqs: [], resettable: true });
    for (const memory of attachPlainMemory(this).values()) memory.bytesAt(0).fill(1);
  }

  protected override resetState(): MaybePromise<void> {
    this.region(0).memory?.clear(0, PAGE);
  }
}

describe('a reset', () => {
  it('clears what the device says, and nothing else', () => {
    const device = new Partly();
    device.reset();
    const sums = [0, 1].map((index) => {
      const bytes = memoryOf(device.region(index)).bytesAt(0);
      return [bytes.subarray(0, PAGE), bytes.subarray(PAGE)].map((half) => half.reduce((a, b) => a + b, 0));
    });
    expect(sums).toEqual([
      [0, PAGE],
      [PAGE, PAGE],
    ]);
  });

  it('of a device that says nothing clears nothing', () => {
    const device = card('pci', true);
    memoryOf(device.region(0)).bytesAt(0).fill(9);
    const before = contents(device);
    device.reset();
    expect(contents(device)).toBe(before);
  });
});
