/*
 * What it takes to write a PCI device: registers, an interrupt and a DMA in under 60 lines, driven here as a client
 * drives it.
 */
import { describe, expect, test } from 'vitest';
import { type DmaFault, type DmaPort, type DmaWindow, RecordingTrigger } from '../../core/index.ts';
import { PciDevice, type PciReset, type Registers } from './index.ts';
import { readConfig, regionRead, regionWrite, writeConfig } from './testing.ts';

// --- the device ---------------------------------------------------------------------------------------------------

const COUNTER_REGISTERS = {
  COUNT: { offset: 0x00, width: 4, access: 'rw', description: 'counts up by one a tick, wraps' },
  LIMIT: { offset: 0x04, width: 4, access: 'rw', reset: 0xffff_ffff },
  CONTROL: { offset: 0x08, width: 4, access: 'rw', mask: 0x3, fields: { RUN: 0, STORE: 1 } },
  STATUS: { offset: 0x0c, width: 4, access: 'w1c', mask: 0x1, fields: { REACHED: 0 } },
  TARGET: { offset: 0x10, width: 8, access: 'rw', description: 'where STORE writes the count' },
} as const;

/** Counts ticks; at the limit it interrupts and, if asked to, stores the count in the client's memory. */
class Counter extends PciDevice {
  readonly regs: Registers<typeof COUNTER_REGISTERS>;

  constructor() {
    super({
      name: 'counter',
      vendorId: 0x1234,
      deviceId: 0xc0de,
      classCode: 0xff_0000,
      interruptPin: 1,
      bars: { 0: { type: 'mem32', sizeBytes: 4096 } },
      capabilities: [{ type: 'msix', vectors: 1, bar: 0, tableOffset: 0x800 }, { type: 'express' }],
    });
    this.regs = this.addRegisters(0, COUNTER_REGISTERS, {
      STATUS: { write: (value) => value === 0 && this.lowerInterrupt() },
    });
  }

  tick(): void {
    if (this.regs.get('CONTROL', 'RUN') === 0) return;
    this.regs.COUNT += 1;
    if (this.regs.COUNT !== this.regs.LIMIT) return;
    if (this.regs.get('CONTROL', 'STORE') === 1) {
      this.dma.write(this.regs.TARGET, Uint8Array.of(this.regs.COUNT));
    }
    this.regs.set('STATUS', 'REACHED', 1);
    this.raiseInterrupt();
  }

  protected override onReset(_kind: PciReset): void {
    this.lowerInterrupt();
  }
}

// --- its tests ----------------------------------------------------------------------------------------------------

class TinyMemory implements DmaPort {
  readonly attached = true;
  readonly writes: [number, number[]][] = [];
  read(): DmaFault | null {
    return null;
  }
  write(iova: number, source: Uint8Array): DmaFault | null {
    this.writes.push([iova, [...source]]);
    return null;
  }
  check(): DmaFault | null {
    return null;
  }
  window(): DmaWindow | DmaFault {
    throw new Error('the counter opens no windows');
  }
}

function counting(): Counter {
  const counter = new Counter();
  counter.opened();
  regionWrite(counter, 0, 0x04, '02000000');
  regionWrite(counter, 0, 0x08, '03000000');
  regionWrite(counter, 0, 0x10, '0010000000000000');
  return counter;
}

describe('a counter', () => {
  test('counts, interrupts by INTx until its status is cleared', () => {
    const counter = counting();
    const line = new RecordingTrigger();
    counter.irqs[0]!.wire(0, [line]);
    counter.tick();
    expect([line.signals, regionRead(counter, 0, 0, 4)]).toEqual([0, '01000000']);
    counter.tick();
    expect(line.signals).toBe(1);
    expect(Number.parseInt(readConfig(counter, 6, 1), 16) & 0x08).toBe(0x08);
    regionWrite(counter, 0, 0x0c, '01000000');
    expect(Number.parseInt(readConfig(counter, 6, 1), 16) & 0x08).toBe(0);
  });

  test('interrupts by MSI-X where that is wired', () => {
    const counter = counting();
    const [line, message] = [new RecordingTrigger(), new RecordingTrigger()];
    counter.irqs[2]!.wire(0, [message]);
    counter.tick();
    counter.tick();
    expect([line.signals, message.signals]).toEqual([0, 1]);
  });

  test('stores by DMA once it is a bus master', () => {
    const memory = new TinyMemory();
    const counter = counting();
    counter.dma = memory;
    counter.tick();
    counter.tick();
    expect(memory.writes).toEqual([]);
    writeConfig(counter, 4, '0600');
    regionWrite(counter, 0, 0x00, '01000000');
    counter.tick();
    expect(memory.writes).toEqual([[0x1000, [2]]]);
  });

  test('its register block can be looked up by BAR, and be heard by another', () => {
    const counter = counting();
    expect(counter.registerBlock(0)).toBe(counter.regs);
    expect(counter.registerBlock(1)).toBeNull();
    const heard: unknown[] = [];
    counter.regs.onIncident = (...incident) => heard.push(incident);
    regionRead(counter, 0, 0x100, 2);
    expect(heard).toEqual([['unknown register read', 0x100, 2]]);
  });

  test('a reset gives the registers their reset values', () => {
    const counter = counting();
    counter.tick();
    counter.reset();
    expect(regionRead(counter, 0, 0, 8)).toBe('00000000ffffffff');
    expect(readConfig(counter, 4, 2)).toBe('0200');
  });
});
