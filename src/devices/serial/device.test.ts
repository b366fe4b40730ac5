import { beforeEach, describe, expect, it } from 'vitest';
import {
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_MEMORY,
  PCI_STATUS,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
} from '../../abi/index.ts';
import { regionRead, writeConfig } from '../../bus/pci/testing.ts';
import { RecordingTrigger } from '../../core/index.ts';
import { Serial, type SerialOptions } from './device.ts';
import type { SerialEnd } from './line.ts';

const [RBR, THR, IER, IIR, FCR, LCR, MCR, LSR, MSR] = [0, 0, 1, 2, 2, 3, 4, 5, 6];
/** PCI_STATUS: an INTx is asserted. */
const STATUS_INTERRUPT = 0x08;

/** An end that takes a limited number of bytes and keeps what the port does not take. */
class TestEnd implements SerialEnd {
  readonly got: number[] = [];
  appetite: number = Number.POSITIVE_INFINITY;
  rooms = 0;

  transmit(bytes: Uint8Array, at: number, count: number): number {
    const taken = Math.min(count, this.appetite);
    this.appetite -= taken;
    this.got.push(...bytes.subarray(at, at + taken));
    return taken;
  }

  room(): void {
    this.rooms += 1;
  }
}

class Bench {
  readonly serial: Serial;
  readonly end: TestEnd = new TestEnd();
  readonly view: DataView = new DataView(new ArrayBuffer(8));

  constructor(options: SerialOptions = {}) {
    this.serial = new Serial(options);
    this.serial.line.connect(this.end);
    this.serial.opened();
  }

  read(offset: number): number {
    expect(this.serial.region(0).read(offset, 1, this.view, 0)).toBe(0);
    return this.view.getUint8(0);
  }

  write(offset: number, value: number): void {
    this.view.setUint8(0, value);
    expect(this.serial.region(0).write(offset, 1, this.view, 0)).toBe(0);
  }

  give(...bytes: number[]): number {
    return this.serial.line.receive(Uint8Array.from(bytes));
  }

  wire(index: number): RecordingTrigger {
    const trigger = new RecordingTrigger();
    this.serial.irqs[index]!.wire(0, [trigger]);
    return trigger;
  }
}

describe('Serial', () => {
  let bench: Bench;

  beforeEach(() => {
    bench = new Bench();
    bench.write(LCR, 0x03);
    bench.write(FCR, 0x01);
    bench.write(MCR, 0x0b);
  });

  it("is the function that Linux's 8250_pci knows as one port in BAR0 that has MSI", () => {
    const { serial } = bench;
    expect(regionRead(serial, 7, 0x00, 4)).toBe('5b120091');
    expect(regionRead(serial, 7, 0x2c, 4)).toBe('00a00010');
    expect(regionRead(serial, 7, 0x09, 3)).toBe('020007');
    expect(regionRead(serial, 7, 0x3d, 1)).toBe('01');
    expect(serial.irqs.map((irq) => irq.count).slice(0, 3)).toEqual([1, 1, 0]);
    expect(serial.region(0).sizeBytes).toBe(4096);
    expect(serial.region(0).mappable).toBe(false);
  });

  describe('line', () => {
    it('carries bytes both ways', () => {
      bench.write(THR, 0x68);
      bench.write(THR, 0x69);
      expect(bench.end.got).toEqual([0x68, 0x69]);
      expect(bench.give(1, 2, 3)).toBe(3);
      expect([bench.read(RBR), bench.read(RBR), bench.read(RBR)]).toEqual([1, 2, 3]);
    });

    it('gives parts of an array', () => {
      expect(bench.serial.line.receive(Uint8Array.of(1, 2, 3, 4), 1, 2)).toBe(2);
      expect([bench.read(RBR), bench.read(RBR), bench.read(LSR) & 1]).toEqual([2, 3, 0]);
    });

    it('tells the giver of room, once, when not all was taken', () => {
      const bytes = Array.from({ length: 20 }, (_, i) => i);
      expect(bench.give(...bytes)).toBe(16);
      expect(bench.end.rooms).toBe(0);
      bench.read(RBR);
      bench.read(RBR);
      expect(bench.end.rooms).toBe(1);
    });

    it('does not tell a giver whose bytes were all taken', () => {
      bench.give(1, 2);
      bench.read(RBR);
      expect(bench.end.rooms).toBe(0);
    });

    it.each([
      ['RTS is down', 0x09],
      ['loopback mode is on', 0x1b],
    ])('gives the guest nothing while %s, and tells when that is over', (_why, mcr) => {
      bench.write(MCR, mcr);
      expect(bench.give(1)).toBe(0);
      expect(bench.read(LSR) & 1).toBe(0);
      expect(bench.end.rooms).toBe(0);
      bench.write(MCR, 0x0b);
      expect(bench.end.rooms).toBe(1);
      expect(bench.give(1)).toBe(1);
    });

    it('gives the guest bytes without RTS where the option says so', () => {
      bench = new Bench({ hardwareFlowControl: false });
      expect(bench.give(1)).toBe(1);
    });

    it('keeps bytes from a port that nobody has attached to, and tells who comes', () => {
      bench.serial.closed();
      expect(bench.give(1)).toBe(0);
      bench.serial.opened();
      expect(bench.end.rooms).toBe(1);
      expect(bench.give(1)).toBe(1);
    });

    it('shows the guest CTS, DSR and DCD while something is plugged in, CTS while it takes bytes', () => {
      bench.read(MSR);
      expect(bench.read(MSR)).toBe(0xb0);
      bench.end.appetite = 0;
      bench.write(THR, 1);
      expect(bench.read(MSR)).toBe(0xa1);
      bench.end.appetite = 1;
      bench.serial.line.resume();
      expect(bench.read(MSR)).toBe(0xb1);
      bench.serial.line.disconnect();
      expect(bench.read(MSR)).toBe(0x0b);
    });

    it('takes CTS down for an end that still takes what is under way, also from inside transmit', () => {
      const { line } = bench.serial;
      bench.read(MSR);
      line.pause();
      expect(bench.read(MSR)).toBe(0xa1);
      bench.write(THR, 1);
      expect(bench.end.got).toEqual([1]);
      expect(bench.read(LSR)).toBe(0x60);
      line.resume();
      expect(bench.read(MSR)).toBe(0xb1);
      line.connect({
        transmit: (_bytes, _at, count) => {
          line.pause();
          return count;
        },
        room: () => {},
      });
      bench.write(IER, 0x08);
      bench.read(MSR);
      bench.write(THR, 2);
      expect(bench.read(IIR)).toBe(0xc0);
      expect(bench.read(MSR)).toBe(0xa1);
    });

    it('shows the other end RTS and DTR', () => {
      const { line } = bench.serial;
      expect([line.rts, line.dtr]).toEqual([true, true]);
      bench.write(MCR, 0x01);
      expect([line.rts, line.dtr]).toEqual([false, true]);
      bench.write(MCR, 0x13);
      expect([line.rts, line.dtr]).toEqual([false, false]);
    });

    it('lets what is sent go nowhere when nothing is plugged in, also what an end had not taken', () => {
      bench.end.appetite = 0;
      bench.write(THR, 1);
      bench.write(THR, 2);
      expect(bench.read(LSR) & 0x20).toBe(0);
      bench.serial.line.disconnect();
      expect(bench.read(LSR) & 0x20).toBe(0x20);
      bench.write(THR, 3);
      expect(bench.read(LSR) & 0x20).toBe(0x20);
      expect(bench.end.got).toEqual([]);
      expect(bench.give(1)).toBe(0);
    });

    it('echoes when its end does', () => {
      const { line } = bench.serial;
      line.connect({
        transmit: (bytes, at, count) => line.receive(bytes, at, count),
        room: () => line.resume(),
      });
      for (let i = 0; i < 20; i++) bench.write(THR, i);
      const echoed = Array.from({ length: 20 }, () => bench.read(RBR));
      expect(echoed).toEqual(Array.from({ length: 20 }, (_, i) => i));
    });
  });

  describe('interrupts', () => {
    it('are a level on INTx, which STATUS shows, too', () => {
      const line = bench.wire(VFIO_PCI_INTX_IRQ_INDEX);
      const status = (): number => bench.serial.config.get16(PCI_STATUS) & STATUS_INTERRUPT;
      bench.write(IER, 0x01);
      expect([line.signals, status()]).toEqual([0, 0]);
      bench.give(1, 2);
      expect([line.signals, status()]).toEqual([1, STATUS_INTERRUPT]);
      bench.read(RBR);
      bench.serial.irqs[0]!.unmask(0, 1);
      expect([line.signals, status()]).toEqual([2, STATUS_INTERRUPT]);
      bench.read(RBR);
      bench.serial.irqs[0]!.unmask(0, 1);
      expect([line.signals, status()]).toEqual([2, 0]);
    });

    it('stay inside while COMMAND disables INTx, and come out afterwards', () => {
      const line = bench.wire(VFIO_PCI_INTX_IRQ_INDEX);
      bench.write(IER, 0x01);
      writeConfig(bench.serial, PCI_COMMAND, hex16(PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE));
      bench.give(1);
      expect(line.signals).toBe(0);
      writeConfig(bench.serial, PCI_COMMAND, hex16(PCI_COMMAND_MEMORY));
      expect(line.signals).toBe(1);
    });

    it('are messages where MSI is wired: for each new cause, and for what was left', () => {
      const message = bench.wire(VFIO_PCI_MSI_IRQ_INDEX);
      bench.write(IER, 0x01);
      bench.give(1);
      expect(message.signals).toBe(1);
      expect(bench.read(IIR)).toBe(0xc4);
      bench.read(RBR);
      expect(bench.read(IIR)).toBe(0xc1);
      expect(message.signals).toBe(1);
      bench.give(2, 3);
      expect(message.signals).toBe(2);
      bench.read(IIR);
      bench.read(RBR);
      expect(message.signals).toBe(3);
      bench.read(IIR);
      bench.read(RBR);
      expect(message.signals).toBe(3);
    });

    it('that are pending wait for whoever attaches next', () => {
      bench.write(IER, 0x01);
      bench.give(1);
      bench.serial.closed();
      bench.serial.opened();
      const line = bench.wire(VFIO_PCI_INTX_IRQ_INDEX);
      expect(line.signals).toBe(1);
    });
  });

  it('forgets everything in a reset but what the other end has', async () => {
    const line = bench.wire(VFIO_PCI_INTX_IRQ_INDEX);
    bench.write(IER, 0x0f);
    bench.give(...Array.from({ length: 20 }, (_, i) => i));
    bench.end.appetite = 0;
    bench.write(THR, 1);
    await bench.serial.reset();
    expect([IER, IIR, LCR, MCR, LSR].map((offset) => bench.read(offset))).toEqual([0, 0x01, 0, 0, 0x60]);
    expect(bench.read(MSR)).toBe(0xa0);
    expect(bench.serial.config.get16(PCI_STATUS) & STATUS_INTERRUPT).toBe(0);
    const before = line.signals;
    bench.serial.irqs[0]!.unmask(0, 1);
    expect(line.signals).toBe(before);
    bench.write(MCR, 0x02);
    expect(bench.end.rooms).toBe(1);
    bench.serial.line.resume();
    expect(bench.end.got).toEqual([]);
  });

  it('can be dumped by register name', () => {
    const names = bench.serial.regs.describe().map(({ name }) => name);
    expect(names).toEqual(['RBR', 'IER', 'IIR', 'LCR', 'MCR', 'LSR', 'MSR', 'SCR']);
    expect(bench.serial.regs.get('MCR', 'RTS')).toBe(1);
  });
});

function hex16(value: number): string {
  const hex = value.toString(16).padStart(4, '0');
  return hex.slice(2) + hex.slice(0, 2);
}
