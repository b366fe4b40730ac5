/* Level and edge interrupts: nothing lost, nothing twice, every trigger closed once. */
import { describe, expect, it } from 'vitest';
import { VFIO_IRQ_INFO_AUTOMASKED, VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_INFO_MASKABLE } from '../abi/vfio.ts';
import { Irq, type IrqTrigger } from './irq.ts';
import { RecordingTrigger } from './testing.ts';

const INTX_FLAGS = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;

function intx(): { irq: Irq; trigger: RecordingTrigger } {
  const irq = new Irq({ index: 0, count: 1, flags: INTX_FLAGS });
  const trigger = new RecordingTrigger();
  irq.wire(0, [trigger]);
  return { irq, trigger };
}

function msix(count: number = 4): { irq: Irq; triggers: RecordingTrigger[] } {
  const irq = new Irq({ index: 2, count, flags: VFIO_IRQ_INFO_EVENTFD });
  const triggers = Array.from({ length: count }, () => new RecordingTrigger());
  irq.wire(0, triggers);
  return { irq, triggers };
}

describe('a level line (INTx)', () => {
  it('signals once and masks itself', () => {
    const { irq, trigger } = intx();
    expect(irq.raise(0)).toBe(true);
    expect(irq.raise(0)).toBe(false);
    expect([trigger.signals, irq.masked(0), irq.pending(0)]).toEqual([1, true, true]);
  });

  it('fires again on unmask while it is asserted', () => {
    const { irq, trigger } = intx();
    irq.raise(0);
    irq.unmask(0, 1);
    expect([trigger.signals, irq.masked(0)]).toEqual([2, true]);
  });

  it('does not fire on unmask after it was lowered', () => {
    const { irq, trigger } = intx();
    irq.raise(0);
    irq.lower();
    irq.unmask(0, 1);
    expect([trigger.signals, irq.masked(0), irq.pending(0)]).toEqual([1, false, false]);
    irq.raise(0);
    expect(trigger.signals).toBe(2);
  });

  it('that was raised and lowered while masked is nobody’s business', () => {
    const { irq, trigger } = intx();
    irq.mask(0, 1);
    expect(irq.raise(0)).toBe(false);
    irq.lower();
    irq.unmask(0, 1);
    expect(trigger.signals).toBe(0);
  });

  it('asserted before it is wired signals when it is', () => {
    const irq = new Irq({ index: 0, count: 1, flags: INTX_FLAGS });
    const trigger = new RecordingTrigger();
    expect(irq.raise(0)).toBe(false);
    irq.wire(0, [trigger]);
    expect([trigger.signals, irq.masked(0)]).toEqual([1, true]);
  });

  it('closes a resample eventfd that cannot be listened to', () => {
    const { irq } = intx();
    const resample = new RecordingTrigger();
    resample.listen = () => {
      throw new Error('no watch is left');
    };
    expect(() => irq.setResample(resample)).toThrow('no watch is left');
    expect(resample.closes).toBe(1);
  });

  it('is unmasked by the resample eventfd, and fires again if still asserted', () => {
    const { irq, trigger } = intx();
    const resample = new RecordingTrigger();
    irq.setResample(resample);
    irq.raise(0);
    resample.fire();
    expect(trigger.signals).toBe(2);
    irq.lower();
    resample.fire();
    expect([trigger.signals, irq.masked(0)]).toEqual([2, false]);
  });

  it('is masked by the mask eventfd', () => {
    const { irq, trigger } = intx();
    const mask = new RecordingTrigger();
    irq.setMaskSource(mask);
    mask.fire();
    irq.raise(0);
    expect([trigger.signals, irq.masked(0)]).toEqual([0, true]);
  });

  it('does not listen to an eventfd that was replaced, and closes it', () => {
    const { irq } = intx();
    const [first, second] = [new RecordingTrigger(), new RecordingTrigger()];
    irq.setResample(first);
    irq.setResample(second);
    irq.mask(0, 1);
    first.fire();
    expect([irq.masked(0), first.closes, second.closes]).toEqual([true, 1, 0]);
    irq.setResample(null);
    second.fire();
    expect([irq.masked(0), second.closes]).toEqual([true, 1]);
  });

  it('starts unmasked after it was disabled and wired again', () => {
    const { irq } = intx();
    irq.raise(0);
    irq.disable();
    expect(irq.masked(0)).toBe(false);
    const next = new RecordingTrigger();
    irq.wire(0, [next]);
    expect(next.signals).toBe(1);
  });
});

describe('edges (MSI, MSI-X)', () => {
  it('signal the vector, each time', () => {
    const { irq, triggers } = msix();
    expect([irq.raise(1), irq.raise(1), irq.raise(3)]).toEqual([true, true, true]);
    expect(triggers.map((trigger) => trigger.signals)).toEqual([0, 2, 0, 1]);
    expect([0, 1, 2, 3].map((vector) => irq.pending(vector))).toEqual([false, false, false, false]);
  });

  it('wait while masked and are delivered once on unmask', () => {
    const { irq, triggers } = msix();
    irq.mask(1, 2);
    expect([irq.raise(1), irq.raise(1)]).toEqual([false, false]);
    expect([irq.pending(1), irq.pending(2)]).toEqual([true, false]);
    irq.unmask(0, 4);
    expect(triggers.map((trigger) => trigger.signals)).toEqual([0, 1, 0, 0]);
    expect(irq.pending(1)).toBe(false);
  });

  it('wait for the vector to be wired', () => {
    const irq = new Irq({ index: 2, count: 2, flags: VFIO_IRQ_INFO_EVENTFD });
    expect(irq.raise(1)).toBe(false);
    const trigger = new RecordingTrigger();
    irq.wire(0, [null, trigger]);
    expect([trigger.signals, irq.pending(1)]).toEqual([1, false]);
  });

  it('are not lost when the client disables and wires again to grow', () => {
    const { irq } = msix(2);
    irq.wire(1, [null]);
    irq.raise(1);
    irq.disable();
    const trigger = new RecordingTrigger();
    irq.wire(0, [null, trigger]);
    expect(trigger.signals).toBe(1);
  });

  it('are forgotten by a reset, the wiring is not', () => {
    const { irq, triggers } = msix();
    irq.mask(0, 1);
    irq.raise(0);
    irq.reset();
    expect([irq.pending(0), irq.masked(0), irq.wired(0)]).toEqual([false, true, true]);
    irq.unmask(0, 1);
    expect(triggers[0]?.signals).toBe(0);
  });
});

describe('loopback', () => {
  it('signals a wired vector and leaves an unwired one alone', () => {
    const { irq, triggers } = msix(2);
    irq.wire(1, [null]);
    expect([irq.loopback(0), irq.loopback(1), irq.loopback(2)]).toEqual([true, false, false]);
    expect([triggers[0]?.signals, irq.pending(1)]).toEqual([1, false]);
  });

  it('signals a level line without asserting it, unless it is masked', () => {
    const { irq, trigger } = intx();
    expect(irq.loopback(0)).toBe(true);
    expect([trigger.signals, irq.pending(0), irq.masked(0)]).toEqual([1, false, false]);
    irq.mask(0, 1);
    expect(irq.loopback(0)).toBe(false);
  });
});

describe('triggers', () => {
  it('are closed once when replaced, and not when wired again to the same vector', () => {
    const { irq, triggers } = msix(2);
    const [first, second] = triggers as [RecordingTrigger, RecordingTrigger];
    irq.wire(0, [first]);
    expect(first.closes).toBe(0);
    irq.wire(0, [new RecordingTrigger()]);
    expect([first.closes, second.closes]).toEqual([1, 0]);
    irq.disable();
    irq.disable();
    expect([first.closes, second.closes, irq.enabled]).toEqual([1, 1, false]);
  });

  it('that serve several vectors are closed with the last', () => {
    const irq = new Irq({ index: 1, count: 3, flags: 0 });
    const shared = new RecordingTrigger();
    irq.wire(0, [shared, shared, shared]);
    irq.wire(0, [null, null]);
    expect([shared.closes, irq.wired(2), irq.enabled]).toEqual([0, true, true]);
    irq.wire(2, [null]);
    expect([shared.closes, irq.enabled]).toEqual([1, false]);
  });

  it('that cannot be listened to cannot unmask', () => {
    const mute: IrqTrigger = { signal: () => {}, close: () => {} };
    expect(() => intx().irq.setResample(mute)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });
});

describe('tables of different indexes', () => {
  it('do not touch each other', () => {
    const { irq: line, trigger } = intx();
    const { irq, triggers } = msix();
    line.disable();
    expect(irq.raise(0)).toBe(true);
    expect([trigger.closes, triggers[0]?.closes]).toEqual([1, 0]);
  });
});

describe('limits', () => {
  it('are those of the index, and 2048 vectors', () => {
    const { irq } = msix(2);
    expect(() => irq.wire(1, [null, null])).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => irq.mask(2, 1)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => irq.unmask(0, 3)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => irq.raise(2)).toThrow('there is no 2');
    expect(() => irq.lower()).toThrow('no level line');
    expect(() => new Irq({ index: 2, count: 2049, flags: 0 })).toThrow('2049 vectors');
    expect(() => new Irq({ index: 0, count: 2, flags: INTX_FLAGS })).toThrow('one vector');
    expect([irq.pending(9), irq.masked(9), irq.wired(9)]).toEqual([false, false, false]);
  });
});
