/*
 * The chip alone. Expected values: PC16550D data sheet, section 8.0 (tables I to V), named per test; what Linux's driver
 * looks for when it probes a port: drivers/tty/serial/8250/8250_port.c, autoconfig and startup.
 */
import { beforeEach, describe, expect, it, test } from 'vitest';
import { SERIAL_REGISTERS } from './registers.ts';
import { Uart } from './uart.ts';

const RBR = 0;
const THR = 0;
const DLL = 0;
const IER = 1;
const DLM = 1;
const IIR = 2;
const FCR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;
const SCR = 7;

describe('Uart', () => {
  const scratch = new DataView(new ArrayBuffer(1));
  /** What left the chip. */
  let sent: number[];
  /** How many bytes the other end takes from now on. */
  let appetite: number;
  let asserted: boolean;
  let raises: number;
  let rooms: number;
  let uart: Uart;

  function read(offset: number): number {
    expect(uart.regs.read(offset, 1, scratch, 0)).toBe(0);
    return scratch.getUint8(0);
  }

  function write(offset: number, value: number): void {
    scratch.setUint8(0, value);
    expect(uart.regs.write(offset, 1, scratch, 0)).toBe(0);
  }

  function receive(...bytes: number[]): number {
    return uart.receive(Uint8Array.from(bytes), 0, bytes.length);
  }

  beforeEach(() => {
    sent = [];
    appetite = Number.POSITIVE_INFINITY;
    asserted = false;
    raises = 0;
    rooms = 0;
    uart = new Uart({
      transmit: (bytes, at, count) => {
        const taken = Math.min(count, appetite);
        appetite -= taken;
        sent.push(...bytes.subarray(at, at + taken));
        return taken;
      },
      room: () => {
        rooms += 1;
      },
      raise: () => {
        asserted = true;
        raises += 1;
      },
      lower: () => {
        asserted = false;
      },
    });
  });

  test('after a master reset (table I)', () => {
    write(IER, 0x0f);
    write(FCR, 0xc1);
    write(LCR, 0x1b);
    write(MCR, 0x0b);
    receive(1, 2, 3);
    uart.reset();
    expect([IER, IIR, LCR, MCR, LSR, MSR].map(read)).toEqual([0x00, 0x01, 0x00, 0x00, 0x60, 0x00]);
    expect(asserted).toBe(false);
    expect(read(RBR)).toBe(0);
  });

  test('the divisor latch lies over RBR, THR and IER while DLAB is set (table II)', () => {
    write(IER, 0x05);
    write(LCR, 0x83);
    write(DLL, 0x0c);
    write(DLM, 0x34);
    expect([read(DLL), read(DLM)]).toEqual([0x0c, 0x34]);
    write(LCR, 0x03);
    expect([read(RBR), read(IER)]).toEqual([0x00, 0x05]);
    expect(sent).toEqual([]);
    write(LCR, 0x83);
    expect([read(DLL), read(DLM)]).toEqual([0x0c, 0x34]);
  });

  test('bits that are always 0: IER 7:4, MCR 7:5, IIR 5:4 (table II)', () => {
    write(IER, 0xff);
    write(MCR, 0xff);
    write(FCR, 0x31);
    expect(read(IER)).toBe(0x0f);
    expect(read(MCR)).toBe(0x1f);
    expect(read(IIR) & 0x30).toBe(0);
  });

  test('the scratchpad and LCR hold what is written; LSR and MSR are for reading', () => {
    write(SCR, 0x5a);
    write(LCR, 0x7f);
    write(LSR, 0xff);
    write(MSR, 0xff);
    expect([SCR, LCR, LSR, MSR].map(read)).toEqual([0x5a, 0x7f, 0x60, 0x00]);
  });

  describe('is a 16550A to a driver that probes', () => {
    it('IIR 7:6 follow FCR bit 0 (8.6.2): 11 with FIFOs, 00 without', () => {
      expect(read(IIR)).toBe(0x01);
      write(FCR, 0x01);
      expect(read(IIR)).toBe(0xc1);
      write(FCR, 0x00);
      expect(read(IIR)).toBe(0x01);
    });

    it('has no EFR of a 16650 behind LCR 0x80 or 0xbf, and no 64 bytes of a 16750', () => {
      write(LCR, 0xbf);
      write(FCR, 0x00);
      write(LCR, 0x00);
      write(FCR, 0x01);
      for (const lcr of [0x80, 0xbf]) {
        write(LCR, lcr);
        expect(read(2)).not.toBe(0);
      }
      for (const lcr of [0x00, 0x80]) {
        write(LCR, lcr);
        write(FCR, 0x21);
        expect(read(IIR) & 0xe0).toBe(0xc0);
      }
    });

    it('in loopback mode shows RTS and OUT2 as CTS and DCD', () => {
      write(MCR, 0x1a);
      expect(read(MSR) & 0xf0).toBe(0x90);
    });

    it('asserts "transmitter empty" each time that the interrupt is enabled', () => {
      for (let i = 0; i < 2; i++) {
        write(IER, 0x02);
        expect(asserted).toBe(true);
        expect(read(LSR) & 0x40).toBe(0x40);
        expect(read(IIR) & 0x0f).toBe(0x02);
        write(IER, 0x00);
      }
    });
  });

  describe('receiver', () => {
    beforeEach(() => write(LCR, 0x03));

    it('without FIFOs holds one byte and takes no second (16450 mode)', () => {
      expect(receive(0x41, 0x42)).toBe(1);
      expect(read(LSR)).toBe(0x61);
      expect(read(RBR)).toBe(0x41);
      expect(read(LSR)).toBe(0x60);
      expect(rooms).toBe(1);
      expect(receive(0x42)).toBe(1);
      expect(read(RBR)).toBe(0x42);
    });

    it('with FIFOs holds 16, in order, and says so in LSR bit 0 until it is empty', () => {
      write(FCR, 0x01);
      const bytes = Array.from({ length: 20 }, (_, i) => 0xf0 - i);
      expect(receive(...bytes)).toBe(16);
      for (const byte of bytes.slice(0, 16)) {
        expect(read(LSR) & 0x01).toBe(1);
        expect(read(RBR)).toBe(byte);
      }
      expect(read(LSR) & 0x01).toBe(0);
    });

    it.each([
      [0x00, 1],
      [0x40, 4],
      [0x80, 8],
      [0xc0, 14],
    ])('FCR 0x%s: received data from %i bytes on, a character timeout below (8.4, 8.6)', (bits, trigger) => {
      write(FCR, 0x01 | bits);
      write(IER, 0x01);
      receive(...new Array(trigger).fill(7));
      expect(read(IIR)).toBe(0xc4);
      read(RBR);
      expect(read(IIR)).toBe(trigger === 1 ? 0xc1 : 0xcc);
      expect(asserted).toBe(trigger > 1);
      for (let i = 1; i < trigger; i++) read(RBR);
      expect(read(IIR)).toBe(0xc1);
      expect(asserted).toBe(false);
    });

    it('is emptied by FCR bit 1 and by switching the FIFOs, not by FCR bit 1 without bit 0 (8.4)', () => {
      write(FCR, 0x01);
      receive(1, 2);
      write(FCR, 0x03);
      expect(read(LSR)).toBe(0x60);
      receive(1, 2);
      write(FCR, 0x00);
      expect(read(LSR)).toBe(0x60);
      receive(1);
      write(FCR, 0x02);
      expect(read(LSR)).toBe(0x61);
      write(FCR, 0x01);
      expect(read(LSR)).toBe(0x60);
    });

    it.each([
      [0x00, 0x1f],
      [0x01, 0x3f],
      [0x02, 0x7f],
      [0x03, 0xff],
    ])('LCR %i: words of 5 to 8 bits (8.1)', (lcr, mask) => {
      write(LCR, lcr);
      receive(0xff);
      expect(read(RBR)).toBe(mask);
      write(THR, 0xff);
      expect(sent).toEqual([mask]);
    });
  });

  describe('transmitter', () => {
    beforeEach(() => write(LCR, 0x03));

    it('sends at once while the other end takes bytes', () => {
      write(THR, 0x55);
      write(THR, 0xaa);
      expect(sent).toEqual([0x55, 0xaa]);
      expect(read(LSR)).toBe(0x60);
    });

    it('with FIFOs keeps 16 that are not taken; THRE and TEMT are clear until all are gone (8.3)', () => {
      write(FCR, 0x01);
      appetite = 0;
      for (let i = 0; i < 17; i++) write(THR, i);
      expect(read(LSR)).toBe(0x00);
      appetite = 3;
      uart.resume();
      expect(sent).toEqual([0, 1, 2]);
      expect(read(LSR)).toBe(0x00);
      appetite = Number.POSITIVE_INFINITY;
      uart.resume();
      expect(sent).toEqual(Array.from({ length: 16 }, (_, i) => i));
      expect(read(LSR)).toBe(0x60);
    });

    it('without FIFOs keeps one, the last that was written', () => {
      appetite = 0;
      write(THR, 1);
      write(THR, 2);
      expect(read(LSR)).toBe(0x00);
      appetite = 5;
      uart.resume();
      expect(sent).toEqual([2]);
    });

    it('is emptied by FCR bit 2', () => {
      write(FCR, 0x01);
      appetite = 0;
      write(THR, 1);
      write(FCR, 0x05);
      expect(read(LSR)).toBe(0x60);
      appetite = 5;
      uart.resume();
      expect(sent).toEqual([]);
    });

    it('asks again only after resume', () => {
      write(FCR, 0x01);
      appetite = 0;
      write(THR, 1);
      appetite = 5;
      write(THR, 2);
      expect(sent).toEqual([]);
      uart.resume();
      expect(sent).toEqual([1, 2]);
    });

    it('refuses to be resumed from inside transmit, and goes on afterwards', () => {
      const broken = new Uart({
        transmit: () => {
          broken.resume();
          return 1;
        },
        room: () => {},
        raise: () => {},
        lower: () => {},
      });
      expect(() => broken.regs.write(THR, 1, scratch, 0)).toThrow('from inside transmit');
    });
  });

  describe('interrupt', () => {
    beforeEach(() => {
      write(LCR, 0x03);
      write(FCR, 0x01);
      read(MSR);
    });

    it('identifies the cause of the highest priority first (table III)', () => {
      write(MCR, 0x10);
      write(FCR, 0x01);
      for (let i = 0; i < 17; i++) write(THR, i);
      write(MCR, 0x12);
      expect(read(IIR)).toBe(0xc1);
      write(IER, 0x0f);
      expect(read(IIR)).toBe(0xc6);
      expect(read(LSR)).toBe(0x63);
      expect(read(IIR)).toBe(0xc4);
      for (let i = 0; i < 16; i++) expect(read(RBR)).toBe(i);
      expect(read(IIR)).toBe(0xc2);
      expect(read(IIR)).toBe(0xc0);
      expect(asserted).toBe(true);
      expect(read(MSR)).toBe(0x11);
      expect(read(IIR)).toBe(0xc1);
      expect(asserted).toBe(false);
    });

    it('shows nothing of what is not enabled', () => {
      receive(1);
      uart.setInputs(0x10);
      write(THR, 1);
      expect(read(IIR)).toBe(0xc1);
      expect(raises).toBe(0);
    });

    it('"transmitter empty" is over when IIR was read with it, or THR written (table III)', () => {
      write(IER, 0x02);
      expect(read(IIR)).toBe(0xc2);
      expect(asserted).toBe(false);
      appetite = 0;
      write(IER, 0x00);
      write(IER, 0x02);
      expect(asserted).toBe(true);
      write(THR, 1);
      expect(asserted).toBe(false);
      appetite = 1;
      uart.resume();
      expect(asserted).toBe(true);
      expect(read(IIR)).toBe(0xc2);
    });

    it('"transmitter empty" stays while IIR tells of something more important', () => {
      write(IER, 0x03);
      receive(9);
      expect(read(IIR)).toBe(0xc4);
      read(RBR);
      expect(read(IIR)).toBe(0xc2);
    });

    it('tells of each byte that comes once the one before was taken', () => {
      write(IER, 0x01);
      for (let i = 1; i <= 3; i++) {
        receive(i);
        expect(raises).toBe(i);
        expect(read(IIR)).toBe(0xc4);
        read(RBR);
        expect(asserted).toBe(false);
      }
    });

    it('tells again of what a driver left behind after serving something', () => {
      write(IER, 0x01);
      receive(1, 2, 3);
      expect(raises).toBe(1);
      read(IIR);
      read(RBR);
      expect(raises).toBe(2);
      read(RBR);
      expect(raises).toBe(2);
      read(IIR);
      read(RBR);
      expect(asserted).toBe(false);
      expect(raises).toBe(2);
    });
  });

  describe('modem', () => {
    it.each([
      ['CTS', 0x10, 0x01],
      ['DSR', 0x20, 0x02],
      ['DCD', 0x80, 0x08],
    ])('%s and its delta, which reading clears (8.8)', (_name, input, delta) => {
      write(IER, 0x08);
      uart.setInputs(input);
      expect(asserted).toBe(true);
      expect(read(IIR)).toBe(0x00);
      expect(read(MSR)).toBe(input | delta);
      expect(asserted).toBe(false);
      expect(read(MSR)).toBe(input);
      uart.setInputs(0);
      expect(read(MSR)).toBe(delta);
    });

    it('RI counts when it ends (8.8, TERI)', () => {
      uart.setInputs(0x40);
      expect(read(MSR)).toBe(0x40);
      uart.setInputs(0x00);
      expect(read(MSR)).toBe(0x04);
    });

    it('CTS is down while the other end takes nothing', () => {
      uart.setInputs(0xb0);
      read(MSR);
      write(IER, 0x08);
      appetite = 0;
      write(THR, 1);
      expect(asserted).toBe(true);
      expect(read(MSR)).toBe(0xa1);
      appetite = 1;
      uart.resume();
      expect(asserted).toBe(true);
      expect(read(MSR)).toBe(0xb1);
      expect(read(MSR)).toBe(0xb0);
    });

    it('outputs are those of MCR, and off in loopback mode (8.7)', () => {
      write(MCR, 0x03);
      expect([uart.output(0x01), uart.output(0x02), uart.output(0x04)]).toEqual([true, true, false]);
      write(MCR, 0x13);
      expect([uart.output(0x01), uart.output(0x02)]).toEqual([false, false]);
    });
  });

  describe('loopback (8.7)', () => {
    beforeEach(() => {
      write(LCR, 0x03);
      write(MCR, 0x10);
    });

    it('returns what is sent, and nothing leaves the chip', () => {
      write(FCR, 0x01);
      write(IER, 0x01);
      write(THR, 0xa5);
      expect(read(IIR)).toBe(0xc4);
      expect(read(RBR)).toBe(0xa5);
      expect(sent).toEqual([]);
    });

    it.each([
      [0x01, 0x20],
      [0x02, 0x10],
      [0x04, 0x40],
      [0x08, 0x80],
    ])('MCR 0x%s is input 0x%s', (output, input) => {
      uart.setInputs(0xf0);
      write(MCR, 0x10 | output);
      expect(read(MSR) & 0xf0).toBe(input);
      write(MCR, 0x00);
      expect(read(MSR) & 0xf0).toBe(0xf0);
    });

    it('overruns: a full FIFO keeps what it has (8.3)', () => {
      write(FCR, 0x01);
      write(IER, 0x04);
      for (let i = 0; i < 17; i++) write(THR, i);
      expect(read(IIR)).toBe(0xc6);
      expect(read(LSR)).toBe(0x63);
      expect(read(LSR)).toBe(0x61);
      for (let i = 0; i < 16; i++) expect(read(RBR)).toBe(i);
      expect(read(LSR)).toBe(0x60);
    });

    it('overruns: without FIFOs the new byte takes the place of the old (8.3)', () => {
      write(THR, 1);
      write(THR, 2);
      expect(read(LSR)).toBe(0x63);
      expect(read(RBR)).toBe(2);
    });
  });

  it('has one byte a register, at the offsets of the data sheet', () => {
    const offsets = Object.values(SERIAL_REGISTERS).map(({ offset, width }) => [offset, width]);
    expect(offsets).toEqual(Array.from({ length: 8 }, (_, i) => [i, 1]));
  });
});
