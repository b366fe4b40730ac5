/*
 * Interrupts of a PCI function: which mechanism carries a vector, and what masks do to it.
 */
import { describe, expect, test } from 'vitest';
import { RecordingTrigger } from '../../core/index.ts';
import { type CapabilitySpec, PciDevice, type PciDeviceSpec } from './index.ts';
import { readConfig, regionRead, regionWrite, writeConfig } from './testing.ts';

const INTX = 0;
const MSI = 1;
const MSIX = 2;

function opened(capabilities: CapabilitySpec[], rest: Partial<PciDeviceSpec> = {}): PciDevice {
  const device = new PciDevice({
    name: 'irqs',
    vendorId: 1,
    deviceId: 2,
    classCode: 0,
    interruptPin: 1,
    bars: { 0: { type: 'mem32', sizeBytes: 4096 } },
    capabilities,
    ...rest,
  });
  device.opened();
  return device;
}

function wire(device: PciDevice, index: number, count: number): RecordingTrigger[] {
  const triggers = Array.from({ length: count }, () => new RecordingTrigger());
  device.irqs[index]!.wire(0, triggers);
  return triggers;
}

const signals = (triggers: RecordingTrigger[]): number[] => triggers.map((trigger) => trigger.signals);

describe('the five indexes', () => {
  test('have the counts and flags of vfio-pci', () => {
    const full = opened([
      { type: 'msi', vectors: 4 },
      { type: 'msix', vectors: 16, bar: 0 },
      { type: 'express' },
    ]);
    // As GET_IRQ_INFO of Linux 7.3 answers for an NVMe function: 7 is EVENTFD|MASKABLE|AUTOMASKED, 9 EVENTFD|NORESIZE.
    expect(full.irqs.map(({ count, flags }) => [count, flags])).toEqual([
      [1, 7],
      [4, 9],
      [16, 1],
      [1, 9],
      [1, 9],
    ]);
    const bare = new PciDevice({ name: 'bare', vendorId: 1, deviceId: 2, classCode: 0 });
    // The same kernel for a function without MSI-X (ivshmem-plain): index 2 is NORESIZE there.
    expect(bare.irqs.map(({ count, flags }) => [count, flags])).toEqual([
      [0, 7],
      [0, 9],
      [0, 9],
      [1, 9],
      [1, 9],
    ]);
  });
});

describe('INTx', () => {
  test('is asserted until lowered, and STATUS shows it', () => {
    const device = opened([]);
    const [line] = wire(device, INTX, 1);
    expect(device.raiseInterrupt()).toBe(true);
    expect(readConfig(device, 6, 2)).toBe('0800');
    device.irqs[INTX]!.unmask(0, 1);
    expect(line!.signals).toBe(2);
    device.lowerInterrupt();
    expect(readConfig(device, 6, 2)).toBe('0000');
    device.irqs[INTX]!.unmask(0, 1);
    expect(line!.signals).toBe(2);
  });

  test('INTX_DISABLE keeps it inside; STATUS shows it all the same', () => {
    const device = opened([]);
    const [line] = wire(device, INTX, 1);
    writeConfig(device, 4, '0204');
    expect(device.raiseInterrupt()).toBe(false);
    expect([line!.signals, readConfig(device, 6, 2)]).toEqual([0, '0800']);
    writeConfig(device, 4, '0200');
    expect(line!.signals).toBe(1);
  });

  test('INTX_DISABLE takes an asserted line back', () => {
    const device = opened([]);
    const [line] = wire(device, INTX, 1);
    device.raiseInterrupt();
    writeConfig(device, 5, '04');
    device.irqs[INTX]!.unmask(0, 1);
    expect(line!.signals).toBe(1);
    writeConfig(device, 5, '00');
    expect(line!.signals).toBe(2);
  });

  test('a reset takes it back', () => {
    const device = opened([]);
    device.raiseInterrupt();
    device.reset();
    const [line] = wire(device, INTX, 1);
    expect([line!.signals, readConfig(device, 6, 2)]).toEqual([0, '0000']);
  });
});

describe('the choice', () => {
  const both: CapabilitySpec[] = [
    { type: 'msi', vectors: 2 },
    { type: 'msix', vectors: 4, bar: 0 },
  ];
  const MSI_CONTROL = 0x42;

  test('a wired mechanism carries the vector: MSI-X before MSI before INTx', () => {
    const device = opened(both);
    const line = wire(device, INTX, 1);
    device.raiseInterrupt(0);
    const messages = wire(device, MSI, 2);
    device.raiseInterrupt(1);
    const extended = wire(device, MSIX, 4);
    device.raiseInterrupt(3);
    expect([signals(line), signals(messages), signals(extended)]).toEqual([[1], [0, 1], [0, 0, 0, 1]]);
  });

  test('enabling in config space is enough; the vector waits for its wiring', () => {
    const device = opened(both);
    writeConfig(device, MSI_CONTROL, '81');
    expect(device.raiseInterrupt(0)).toBe(false);
    expect(readConfig(device, 6, 2)).toBe('1000');
    expect(signals(wire(device, MSI, 2))).toEqual([1, 0]);
  });

  test('a vector that is not wired, beside others that are, waits', () => {
    const device = opened(both);
    device.irqs[MSIX]!.wire(1, [new RecordingTrigger()]);
    expect(device.raiseInterrupt(0)).toBe(false);
    expect(signals(wire(device, MSIX, 1))).toEqual([1]);
  });

  test('given fewer MSI vectors than asked for, the lower ones are used', () => {
    const device = opened([{ type: 'msi', vectors: 4 }]);
    writeConfig(device, MSI_CONTROL, '91');
    const messages = wire(device, MSI, 2);
    device.raiseInterrupt(3);
    device.raiseInterrupt(2);
    expect(signals(messages)).toEqual([1, 1]);
  });

  test('a vector that no mechanism has is the device’s mistake', () => {
    expect(() => opened(both).raiseInterrupt(4)).toThrow('no interrupt vector 4; the function has 4');
    expect(() => opened([], { interruptPin: undefined as never }).raiseInterrupt()).toThrow(
      'no interrupt vector 0',
    );
  });

  test('the next client finds messages off', () => {
    const device = opened(both);
    writeConfig(device, MSI_CONTROL, '91');
    writeConfig(device, 0x50 + 3, 'c0');
    device.closed();
    device.opened();
    expect([readConfig(device, MSI_CONTROL, 2), readConfig(device, 0x50 + 2, 2)]).toEqual(['8200', '0300']);
  });
});

describe('MSI masks', () => {
  test.each([
    [true, 0x50, 0x54],
    [false, 0x4c, 0x50],
  ])('64-bit %s: a masked vector is pending and goes out when unmasked', (address64, mask, pending) => {
    const device = opened([{ type: 'msi', vectors: 4, maskable: true, address64 }]);
    const messages = wire(device, MSI, 4);
    writeConfig(device, mask, '06');
    expect([device.raiseInterrupt(1), device.raiseInterrupt(2), device.raiseInterrupt(3)]).toEqual([
      false,
      false,
      true,
    ]);
    expect(readConfig(device, pending, 4)).toBe('06000000');
    writeConfig(device, mask, '04');
    expect([signals(messages), readConfig(device, pending, 4)]).toEqual([[0, 1, 0, 1], '04000000']);
    device.reset();
    writeConfig(device, mask, '00');
    expect(signals(messages)).toEqual([0, 1, 0, 1]);
  });
});

describe('MSI-X', () => {
  const CONTROL = 0x42;
  const TABLE = 0x400;
  const PBA = 0x900;
  const msix = (rest: Partial<PciDeviceSpec> = {}) =>
    opened(
      [{ type: 'msix', vectors: 70, bar: 0, tableOffset: TABLE, pbaOffset: PBA }, { type: 'express' }],
      rest,
    );
  const entry = (vector: number) => TABLE + 16 * vector;

  test('the table has its masks: address bits 1:0 and reserved control bits are 0, entries start masked', () => {
    const device = msix();
    expect(regionRead(device, 0, entry(3), 16)).toBe('00000000000000000000000001000000');
    regionWrite(device, 0, entry(3), 'ff'.repeat(16));
    expect(regionRead(device, 0, entry(3), 16)).toBe(`fc${'ff'.repeat(11)}01000000`);
    regionWrite(device, 0, entry(3) + 5, '00');
    expect(regionRead(device, 0, entry(3), 8)).toBe('fcffffffff00ffff');
  });

  test('a table that the client never wrote masks nothing, as with QEMU', () => {
    const device = msix();
    const messages = wire(device, MSIX, 2);
    expect(device.raiseInterrupt(1)).toBe(true);
    expect(signals(messages)).toEqual([0, 1]);
  });

  test('an entry that it wrote masks: pending shows in the PBA, unmasking delivers', () => {
    const device = msix();
    const messages = wire(device, MSIX, 70);
    regionWrite(device, 0, entry(69), '0000e0fe');
    expect([device.raiseInterrupt(69), device.raiseInterrupt(68)]).toEqual([false, true]);
    expect(regionRead(device, 0, PBA, 16)).toBe('00000000000000002000000000000000');
    regionWrite(device, 0, PBA + 8, '0000000000000000');
    regionWrite(device, 0, entry(69) + 12, '00000000');
    expect([messages[69]!.signals, messages[68]!.signals]).toEqual([1, 1]);
    expect(regionRead(device, 0, PBA, 16)).toBe('00'.repeat(16));
  });

  test('the function mask holds all vectors, then delivers each once', () => {
    const device = msix();
    const messages = wire(device, MSIX, 3);
    writeConfig(device, CONTROL, '00c0');
    for (const vector of [0, 2, 2]) expect(device.raiseInterrupt(vector)).toBe(false);
    expect(regionRead(device, 0, PBA, 1)).toBe('05');
    writeConfig(device, CONTROL + 1, '80');
    expect([signals(messages), readConfig(device, CONTROL, 2)]).toEqual([[1, 0, 1], '4580']);
  });

  test('a vector without wiring is pending too', () => {
    const device = msix();
    writeConfig(device, CONTROL + 1, '80');
    device.raiseInterrupt(8);
    expect(regionRead(device, 0, PBA, 2)).toBe('0001');
  });

  test('resets keep the table, as the kernel writes it back, and drop what is pending', () => {
    for (const reset of ['device', 'function']) {
      const device = msix();
      const messages = wire(device, MSIX, 1);
      regionWrite(device, 0, entry(0), '000000010000000000000000');
      device.raiseInterrupt(0);
      if (reset === 'device') device.reset();
      else writeConfig(device, 0x4c + 9, '80');
      expect(regionRead(device, 0, entry(0), 4)).toBe('00000001');
      regionWrite(device, 0, entry(0) + 12, '00');
      expect(signals(messages)).toEqual([0]);
    }
  });

  test('table and PBA may lie in different BARs', () => {
    const device = opened([{ type: 'msix', vectors: 2, bar: 0, pbaBar: 2, pbaOffset: 8 }], {
      bars: { 0: { type: 'mem32', sizeBytes: 4096 }, 2: { type: 'mem32', sizeBytes: 16 } },
    });
    expect([readConfig(device, 0x44, 4), readConfig(device, 0x48, 4)]).toEqual(['00000000', '0a000000']);
    device.irqs[MSIX]!.wire(0, [new RecordingTrigger(), null]);
    device.raiseInterrupt(1);
    expect([regionRead(device, 2, 0, 16), regionRead(device, 0, 32, 4)]).toEqual([
      'ffffffffffffffff0200000000000000',
      'ffffffff',
    ]);
  });

  test('canary: unmasking what nobody raised signals nothing', () => {
    const device = msix();
    const messages = wire(device, MSIX, 2);
    writeConfig(device, CONTROL, '00c0');
    writeConfig(device, CONTROL, '0080');
    expect(signals(messages)).toEqual([0, 0]);
  });
});
