/* SET_IRQS: the list of refusals, each with its errno, and what good requests do. */
import { describe, expect, it } from 'vitest';
import { VFIO_IRQ_INFO_AUTOMASKED, VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_INFO_MASKABLE } from '../abi/vfio.ts';
import { VfioDevice } from './device.ts';
import type { IrqTrigger } from './irq.ts';
import { decodeIrqSetFlags, type IrqSet, setIrqs } from './set-irqs.ts';
import { RecordingTrigger } from './testing.ts';

const INTX = 0;
const MSI = 1;
const MSIX = 2;
const ERR = 3;
const REQ = 4;

function deviceOf(): VfioDevice {
  const flags = VFIO_IRQ_INFO_EVENTFD;
  const irqs = [
    { index: INTX, count: 1, flags: flags | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED },
    { index: MSIX, count: 4, flags },
    { index: ERR, count: 1, flags: flags | VFIO_IRQ_INFO_MASKABLE },
    { index: REQ, count: 1, flags },
  ];
  return new VfioDevice({ name: 'd', kind: 'pci', regions: [], irqs });
}

const good: IrqSet = { index: MSIX, start: 0, count: 4, data: 'none', action: 'trigger' };
const mute: IrqTrigger = { signal: () => {}, close: () => {} };

function triggersOf(count: number): RecordingTrigger[] {
  return Array.from({ length: count }, () => new RecordingTrigger());
}

function wiredDevice(): { device: VfioDevice; triggers: RecordingTrigger[] } {
  const device = deviceOf();
  const triggers = triggersOf(4);
  setIrqs(device, { ...good, data: 'eventfd', triggers });
  return { device, triggers };
}

const signals = (triggers: RecordingTrigger[]): number[] => triggers.map((trigger) => trigger.signals);
const closes = (triggers: RecordingTrigger[]): number[] => triggers.map((trigger) => trigger.closes);

describe('flags', () => {
  // From linux/vfio.h: DATA NONE 1, BOOL 2, EVENTFD 4; ACTION MASK 8, UNMASK 16, TRIGGER 32.
  it.each([
    [1 + 8, 'none', 'mask'],
    [2 + 16, 'bool', 'unmask'],
    [4 + 32, 'eventfd', 'trigger'],
  ])('%d are %s and %s', (flags, data, action) => {
    expect(decodeIrqSetFlags(flags)).toEqual({ data, action });
  });

  it.each([0, 1, 32, 1 + 2 + 32, 1 + 8 + 32, 7 + 32, 1 + 32 + 64, 0x80000021])('0x%s is EINVAL', (flags) => {
    expect(() => decodeIrqSetFlags(flags)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });
});

describe('refusals', () => {
  it.each<[string, string, Partial<IrqSet>]>([
    ['EINVAL', 'an index beyond the last', { index: 5 }],
    ['EINVAL', 'an index that is not implemented', { index: MSI, count: 1 }],
    ['EINVAL', 'disabling an index that is not implemented', { index: MSI, count: 0 }],
    ['EINVAL', 'start at the count of the index', { start: 4, count: 1 }],
    ['EINVAL', 'start + count beyond it', { start: 1, count: 4 }],
    ['EINVAL', 'start + count that would wrap in 32 bits', { start: 2, count: 0xffff_ffff }],
    ['EINVAL', 'a start that is no u32', { start: -1, count: 1 }],
    ['EINVAL', 'a count that is no u32', { count: Number.NaN }],
    ['EINVAL', 'count 0 with a start', { start: 1, count: 0 }],
    ['EINVAL', 'count 0 with DATA_BOOL', { count: 0, data: 'bool', bools: new Uint8Array(0) }],
    ['EINVAL', 'count 0 with DATA_EVENTFD', { count: 0, data: 'eventfd', triggers: [] }],
    ['EINVAL', 'count 0 with MASK', { index: INTX, count: 0, action: 'mask' }],
    ['EINVAL', 'masking ERR', { index: ERR, count: 1, action: 'mask' }],
    ['EINVAL', 'unmasking REQ', { index: REQ, count: 1, action: 'unmask' }],
    ['EINVAL', 'two ERR vectors', { index: ERR, count: 2 }],
    ['ENOTTY', 'masking what is not maskable', { action: 'mask' }],
    ['ENOTTY', 'unmasking what is not maskable', { action: 'unmask' }],
    ['EINVAL', 'fewer bools than count', { data: 'bool', bools: new Uint8Array(3) }],
    ['EINVAL', 'more bools than count', { data: 'bool', bools: new Uint8Array(5) }],
    ['EINVAL', 'no bools at all', { data: 'bool' }],
    ['EINVAL', 'bools with DATA_NONE', { bools: new Uint8Array(4) }],
    ['EINVAL', 'eventfds with DATA_NONE', { triggers: triggersOf(4) }],
    [
      'EINVAL',
      'eventfds with DATA_BOOL',
      { data: 'bool', bools: new Uint8Array(4), triggers: triggersOf(4) },
    ],
    ['EINVAL', 'fewer eventfds than count', { data: 'eventfd', triggers: triggersOf(3) }],
    ['EINVAL', 'more eventfds than count', { data: 'eventfd', triggers: triggersOf(5) }],
    [
      'EINVAL',
      'a resample trigger that nobody can hear',
      { index: INTX, count: 1, data: 'eventfd', action: 'unmask', triggers: [mute] },
    ],
  ])('%s: %s', (code, _what, change) => {
    const { device, triggers } = wiredDevice();
    expect(() => setIrqs(device, { ...good, ...change })).toThrow(expect.objectContaining({ code }));
    expect([signals(triggers), closes(triggers)]).toEqual([
      [0, 0, 0, 0],
      [0, 0, 0, 0],
    ]);
    expect(device.irqs[MSIX]?.wired(3)).toBe(true);
  });

  it('close the triggers that came with them, each once', () => {
    const [one, two] = triggersOf(2) as [RecordingTrigger, RecordingTrigger];
    const triggers = [one, null, one, two, two];
    expect(() => setIrqs(deviceOf(), { ...good, data: 'eventfd', triggers })).toThrow('5 eventfds');
    expect(closes([one, two])).toEqual([1, 1]);
  });
});

describe('TRIGGER with eventfds', () => {
  it('wires, and replaces what was wired', () => {
    const { device, triggers } = wiredDevice();
    const [next] = triggersOf(1) as [RecordingTrigger];
    setIrqs(device, { ...good, start: 2, count: 2, data: 'eventfd', triggers: [next, null] });
    for (const vector of [0, 1, 2, 3]) device.irqs[MSIX]?.raise(vector);
    expect([signals(triggers), next.signals]).toEqual([[1, 1, 0, 0], 1]);
    expect(closes(triggers)).toEqual([0, 0, 1, 1]);
  });

  it('without any unwires just the range', () => {
    const { device, triggers } = wiredDevice();
    setIrqs(device, { ...good, start: 1, count: 2, data: 'eventfd' });
    expect([0, 1, 2, 3].map((vector) => device.irqs[MSIX]?.wired(vector))).toEqual([
      true,
      false,
      false,
      true,
    ]);
    expect(closes(triggers)).toEqual([0, 1, 1, 0]);
  });
});

describe('TRIGGER without eventfds', () => {
  it('with count 0 disables the whole index, and no other', () => {
    const { device, triggers } = wiredDevice();
    const [line] = triggersOf(1) as [RecordingTrigger];
    setIrqs(device, { ...good, index: INTX, count: 1, data: 'eventfd', triggers: [line] });
    setIrqs(device, { ...good, index: INTX, count: 0 });
    expect([line.closes, closes(triggers)]).toEqual([1, [0, 0, 0, 0]]);
    setIrqs(device, { ...good, count: 0 });
    setIrqs(device, { ...good, count: 0 });
    expect(closes(triggers)).toEqual([1, 1, 1, 1]);
  });

  it('fires every vector of the range with NONE', () => {
    const { device, triggers } = wiredDevice();
    setIrqs(device, { ...good, start: 1, count: 3 });
    expect(signals(triggers)).toEqual([0, 1, 1, 1]);
  });

  it('fires those with a byte that is not 0 with BOOL', () => {
    const { device, triggers } = wiredDevice();
    setIrqs(device, { ...good, data: 'bool', bools: Uint8Array.of(1, 0, 255, 0) });
    expect(signals(triggers)).toEqual([1, 0, 1, 0]);
  });

  it('fires ERR and REQ too', () => {
    const device = deviceOf();
    const [err] = triggersOf(1) as [RecordingTrigger];
    setIrqs(device, { ...good, index: ERR, count: 1, data: 'eventfd', triggers: [err] });
    setIrqs(device, { ...good, index: ERR, count: 1 });
    expect(err.signals).toBe(1);
  });
});

describe('MASK and UNMASK of INTx', () => {
  function line(): { device: VfioDevice; trigger: RecordingTrigger; set: (change: Partial<IrqSet>) => void } {
    const device = deviceOf();
    const trigger = new RecordingTrigger();
    const set = (change: Partial<IrqSet>): void =>
      setIrqs(device, { ...good, index: INTX, count: 1, ...change });
    set({ data: 'eventfd', triggers: [trigger] });
    return { device, trigger, set };
  }

  it('with NONE and BOOL set the mask', () => {
    const { device, trigger, set } = line();
    const irq = device.irqs[INTX]!;
    set({ action: 'mask' });
    irq.raise(0);
    set({ action: 'unmask', data: 'bool', bools: Uint8Array.of(0) });
    expect([irq.masked(0), trigger.signals]).toEqual([true, 0]);
    set({ action: 'unmask', data: 'bool', bools: Uint8Array.of(1) });
    expect([irq.masked(0), trigger.signals]).toEqual([true, 1]);
    irq.lower();
    set({ action: 'unmask' });
    expect([irq.masked(0), trigger.signals]).toEqual([false, 1]);
  });

  it('with an eventfd do it whenever that fires, until it is taken away', () => {
    const { device, trigger, set } = line();
    const [mask, resample] = triggersOf(2) as [RecordingTrigger, RecordingTrigger];
    set({ action: 'mask', data: 'eventfd', triggers: [mask] });
    set({ action: 'unmask', data: 'eventfd', triggers: [resample] });
    mask.fire();
    device.irqs[INTX]?.raise(0);
    expect(trigger.signals).toBe(0);
    resample.fire();
    expect(trigger.signals).toBe(1);
    set({ action: 'unmask', data: 'eventfd' });
    set({ action: 'mask', data: 'eventfd', triggers: [null] });
    expect(closes([mask, resample, trigger])).toEqual([1, 1, 0]);
  });
});

describe('a maskable index of edges', () => {
  it('is masked vector by vector, but not by eventfd', () => {
    const flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE;
    const irqs = [{ index: 0, count: 2, flags }];
    const device = new VfioDevice({ name: 'd', kind: 'platform', regions: [], irqs });
    const request: IrqSet = {
      index: 0,
      start: 0,
      count: 2,
      data: 'bool',
      action: 'mask',
      bools: Uint8Array.of(0, 1),
    };
    setIrqs(device, request);
    expect([device.irqs[0]?.masked(0), device.irqs[0]?.masked(1)]).toEqual([false, true]);
    const triggers = triggersOf(2);
    const byEventfd: IrqSet = { index: 0, start: 0, count: 2, data: 'eventfd', action: 'mask', triggers };
    expect(() => setIrqs(device, byEventfd)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(closes(triggers)).toEqual([1, 1]);
  });
});

describe('masking what cannot be masked', () => {
  /** As the kernel: vfio_pci_core_ioctl finds no function for it, the others have one that refuses. */
  it.each([
    ['platform', undefined, 'EINVAL'],
    ['fsl-mc', undefined, 'EINVAL'],
    ['mdev', 'vfio-platform', 'EINVAL'],
    ['mdev', 'vfio-pci', 'ENOTTY'],
    ['pci', undefined, 'ENOTTY'],
  ] as const)('of a device of kind %s, %s, is %s', (kind, api, code) => {
    const irqs = [{ index: 0, count: 1, flags: VFIO_IRQ_INFO_EVENTFD }];
    const device = new VfioDevice({ name: 'd', kind, ...(api ? { api } : {}), regions: [], irqs });
    for (const action of ['mask', 'unmask'] as const) {
      const request: IrqSet = { index: 0, start: 0, count: 1, data: 'none', action };
      expect(() => setIrqs(device, request)).toThrow(expect.objectContaining({ code }));
    }
  });

  it('is refused of ERR and REQ only where they are ERR and REQ', () => {
    const irqs = [{ index: 3, count: 1, flags: VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE }];
    const request: IrqSet = { index: 3, start: 0, count: 1, data: 'none', action: 'mask' };
    const platform = new VfioDevice({ name: 'd', kind: 'platform', regions: [], irqs });
    setIrqs(platform, request);
    expect(platform.irqs[3]?.masked(0)).toBe(true);
    const mdev = new VfioDevice({ name: 'd', kind: 'mdev', api: 'vfio-pci', regions: [], irqs });
    expect(() => setIrqs(mdev, request)).toThrow('can only be triggered');
  });
});
