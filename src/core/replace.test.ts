/*
 * One instance of a device in the place of another, without any world around them: who holds something of it goes on.
 */
import { describe, expect, it } from 'vitest';
import {
  card,
  dma,
  KINDS,
  mapDma,
  memoryOf,
  mmap,
  PAGE,
  PageTables,
  readMessage,
} from '../../test/support/pure-world.ts';
import { VFIO_IRQ_INFO_AUTOMASKED } from '../abi/vfio.ts';
import { Container } from './container.ts';
import { VfioDevice } from './device.ts';
import { Irq } from './irq.ts';
import { REGION_SPAN } from './offset.ts';
import { RecordingTrigger } from './testing.ts';
import { deviceFromVma } from './vma.ts';

const RESET = { carried: false, attached: false };
const CARRIED = { carried: true, attached: false };

describe.each(KINDS)('a %s device that takes over', (kind) => {
  it('has the memory, the mappings of processes and those of IOMMUs', () => {
    const [old, next] = [card(kind), card(kind)];
    const tables = new PageTables(old);
    const region = old.region(2);
    memoryOf(region).bytesAt(0)[0] = 0x42;
    const vma = mmap(region, 'guest');
    const container = new Container();
    const iova = mapDma(container, region);
    next.takeOver(old, RESET);
    expect(memoryOf(next.region(2)).bytesAt(0)[0]).toBe(0x42);
    expect(deviceFromVma(vma)?.device).toBe(next);
    expect(deviceFromVma(vma)?.region).toBe(next.region(2));
    expect([tables.touch(vma), dma(container, iova), readMessage(next.region(2))]).toEqual(['ok', 'ok', 0]);
    next.suspend('device is stopped');
    expect([tables.touch(vma), dma(container, iova)]).toEqual(['SIGBUS', 'device is stopped']);
    next.resume('device is stopped');
    next.release();
    expect([tables.touch(vma), dma(container, iova)]).toEqual(['SIGBUS', 'device is released']);
  });

  it('tells nobody of a reset, but that memory comes back', () => {
    const told: string[] = [];
    let device = card(kind);
    const listen = (): void => {
      const present = device;
      for (const name of ['suspend', 'resume', 'release'] as const) {
        present.on(name, ({ reason }) => told.push(`${name}: ${reason}`));
      }
    };
    for (const how of [CARRIED, RESET, RESET]) {
      const next = card(kind);
      if (told.length === 2) device.suspend('device is in D3hot', 2 * REGION_SPAN, REGION_SPAN);
      device.on('replace', (replacement) => {
        expect(replacement.device).toBe(next);
        device = next;
        listen();
      });
      if (how === CARRIED) listen();
      next.takeOver(device, how);
    }
    expect(told).toEqual([
      'release: device is released',
      'release: device is released',
      'suspend: device is in D3hot',
      'release: device is released',
      'resume: device is in reset',
    ]);
    expect([device.accessible(device.region(2)), memoryOf(device.region(2)).suspended]).toEqual([
      null,
      false,
    ]);
  });

  it('leaves the old instance nothing', () => {
    const [old, next] = [card(kind), card(kind)];
    next.takeOver(old, RESET);
    expect(old.released).toBe(true);
    expect(readMessage(old.region(2))).not.toBe(0);
    expect(old.region(2).memory?.bytesAt(0)).toHaveLength(0);
    old.suspend('device is stopped');
    old.region(2).setConsent(0, 'deny');
    expect([readMessage(next.region(2)), next.region(2).consent(0, PAGE)]).toEqual([0, 'allow']);
  });
});

describe('the layout', () => {
  it('names each difference', () => {
    const make = (sizeBytes: number, count: number, extra: boolean): VfioDevice =>
      new VfioDevice({
        name: 'x',
        kind: 'platform',
        regions: [{ index: 0, name: 'registers', sizeBytes }, ...(extra ? [{ index: 1, sizeBytes: 1 }] : [])],
        irqs: [{ index: 0, count, flags: 1 }],
      });
    expect(make(16, 1, true).differences(make(16, 1, true))).toEqual([]);
    expect(make(16, 1, true).differences(make(32, 2, false))).toEqual([
      'size of region 0 (registers): 16 before, 32 now',
      'region 1 (region1) is gone',
      'vectors of interrupt index 0: 1 before, 2 now',
    ]);
  });
});

describe('an interrupt that takes over', () => {
  const line = (): Irq => new Irq({ index: 0, count: 1, flags: VFIO_IRQ_INFO_AUTOMASKED });

  it('is unmasked by the source that was set before, and closes each trigger once', () => {
    const [old, next] = [line(), line()];
    const [trigger, resample] = [new RecordingTrigger(), new RecordingTrigger()];
    old.wire(0, [trigger]);
    old.setResample(resample);
    old.raise(0);
    next.takeOver(old, true);
    expect([trigger.signals, next.masked(0), old.wired(0)]).toEqual([1, true, false]);
    resample.fire();
    expect([trigger.signals, old.raise(0)]).toEqual([2, false]);
    next.disable();
    old.disable();
    expect([trigger.closes, resample.closes]).toEqual([1, 1]);
  });

  it('forgets what waited when it begins anew, and keeps what is its own', () => {
    const [old, next] = [line(), line()];
    const trigger = new RecordingTrigger();
    old.raise(0);
    next.takeOver(old, false);
    next.wire(0, [trigger]);
    expect(trigger.signals).toBe(0);
    const third = line();
    third.raise(0);
    third.takeOver(next, false);
    expect(trigger.signals).toBe(1);
  });
});
