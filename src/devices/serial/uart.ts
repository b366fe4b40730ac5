/**
 * The chip: a 16550A without its clock. Its registers, its two FIFOs, its interrupt.
 *
 * Source: PC16550D data sheet, section 8.0. Where the chip would wait for a bit time, this one does not:
 * - a byte leaves the transmitter at once, as long as the other end takes it;
 * - a burst that ends below the trigger level is a character timeout at once;
 * - the divisor is kept and means nothing.
 * Parity, framing and break do not occur on a line that carries whole bytes. Overruns occur in loopback mode only: the
 * other end keeps what does not fit.
 */
import { type Registers, registers } from '../../bus/registers.ts';
import { assert } from '../../core/index.ts';
import * as bits from './bits.ts';
import { ByteFifo } from './fifo.ts';
import { InterruptRequest } from './interrupt-request.ts';
import { ModemStatus } from './modem-status.ts';
import { SERIAL_REGISTERS } from './registers.ts';
import { SERIAL_FIFO_SIZE } from './spec.ts';

const IER_BITS = 0x0f;

/** What the chip's pins are soldered to. */
export interface UartPins {
  /** Bytes [at, at + count) leave the chip; returns how many the other end took. Less: it wants no more until `resume`. */
  transmit(bytes: Uint8Array, at: number, count: number): number;
  /** The receiver may take more than it did before. */
  room(): void;
  raise(): void;
  lower(): void;
}

export class Uart {
  /** The registers as a region handler; dumps show what is stored in them. */
  readonly regs: Registers<typeof SERIAL_REGISTERS>;
  readonly #pins: UartPins;
  readonly #take: UartPins['transmit'];
  readonly #request: InterruptRequest;
  readonly #receiver: ByteFifo = new ByteFifo(SERIAL_FIFO_SIZE);
  readonly #transmitter: ByteFifo = new ByteFifo(SERIAL_FIFO_SIZE);
  readonly #modem: ModemStatus = new ModemStatus();
  /** Modem inputs as the line has them, in loopback mode too. */
  #inputs = 0;
  #fcr = 0;
  #divisorLow = 0;
  #divisorHigh = 0;
  #overrun = false;
  /** The holding register became empty and the guest was not told yet. */
  #thrEmptied = false;
  /** The other end takes nothing until `resume`. */
  #held = false;
  /** The other end takes bytes, but asks for no more until `resume`. */
  #paused = false;
  #draining = false;

  constructor(pins: UartPins) {
    this.#pins = pins;
    this.#take = (bytes, at, count) => pins.transmit(bytes, at, count);
    this.#request = new InterruptRequest(
      () => pins.raise(),
      () => pins.lower(),
    );
    this.regs = registers(SERIAL_REGISTERS, {
      handlers: {
        RBR: { read: () => this.#readData(), write: (value) => this.#writeData(value) },
        IER: { read: () => this.#readEnable(), write: (value) => this.#writeEnable(value) },
        IIR: { read: () => this.#readCause(), write: (value) => this.#writeFifoControl(value) },
        MCR: { write: () => this.#modemControlChanged() },
        LSR: { read: () => this.#readLineStatus(), write: () => {} },
        MSR: { read: () => this.#readModemStatus(), write: () => {} },
      },
    });
  }

  /** Whether the transmitter's output is connected to the receiver's input, inside the chip. */
  get loopback(): boolean {
    return (this.regs.MCR & bits.MCR_LOOP) !== 0;
  }

  /** The output pin of a bit of MCR: MCR_DTR, MCR_RTS, MCR_OUT1, MCR_OUT2. All are off in loopback mode. */
  output(bit: number): boolean {
    return !this.loopback && (this.regs.MCR & bit) !== 0;
  }

  /** Bytes that `receive` would take now. */
  get room(): number {
    return this.#capacity - this.#receiver.level;
  }

  /** Takes bytes [at, at + count) from the line, as many as there is room for. Returns how many. */
  receive(bytes: Uint8Array, at: number, count: number): number {
    const taken = Math.min(count, this.room);
    for (let i = 0; i < taken; i++) this.#receiver.push(bytes[at + i]! & this.#wordMask);
    if (taken > 0) this.#settle();
    return taken;
  }

  /** CTS goes down until `resume`. Also from inside `transmit`. */
  pause(): void {
    this.#paused = true;
    if (this.#draining) return;
    this.#showInputs();
    this.#settle();
  }

  /** The other end takes bytes again. Not from inside `transmit`. */
  resume(): void {
    assert(!this.#draining, 'the line is resumed from inside transmit; return the number taken instead');
    this.#held = false;
    this.#paused = false;
    this.#showInputs();
    this.#drain();
    this.#settle();
  }

  /** Sets the modem inputs; CTS shows only while the other end wants bytes. */
  setInputs(inputs: number): void {
    this.#inputs = inputs;
    this.#showInputs();
    this.#settle();
  }

  /** Says again what is pending: whoever was told before is gone. */
  announce(): void {
    this.#request.asked();
    this.#settle();
  }

  /** Master reset. What the other end said of itself stays. */
  reset(): void {
    this.regs.reset();
    this.#receiver.clear();
    this.#transmitter.clear();
    this.#fcr = 0;
    this.#divisorLow = 0;
    this.#divisorHigh = 0;
    this.#overrun = false;
    this.#thrEmptied = false;
    this.#modem.reset(this.#shownInputs);
    this.#settle();
  }

  get #divisorLatch(): boolean {
    return (this.regs.LCR & bits.LCR_DLAB) !== 0;
  }

  get #fifos(): boolean {
    return (this.#fcr & bits.FCR_FIFO_ENABLE) !== 0;
  }

  get #capacity(): number {
    return this.#fifos ? SERIAL_FIFO_SIZE : 1;
  }

  get #wordMask(): number {
    return 0xff >>> (bits.LCR_WLS - (this.regs.LCR & bits.LCR_WLS));
  }

  get #shownInputs(): number {
    if (this.loopback) return loopedInputs(this.regs.MCR);
    return this.#held || this.#paused ? this.#inputs & ~bits.MSR_CTS : this.#inputs;
  }

  #readData(): number {
    if (this.#divisorLatch) return this.#divisorLow;
    if (this.#receiver.level === 0) return 0;
    const byte = this.#receiver.pop();
    this.#pins.room();
    this.#settle();
    return byte;
  }

  /** A byte for a full FIFO is lost; without FIFOs it takes the place of the one that waits. */
  #writeData(value: number): void {
    if (this.#divisorLatch) {
      this.#divisorLow = value;
      return;
    }
    this.#thrEmptied = false;
    if (!this.#fifos) this.#transmitter.clear();
    if (this.#transmitter.level < this.#capacity) this.#transmitter.push(value & this.#wordMask);
    this.#drain();
    this.#settle();
  }

  #readEnable(): number {
    return this.#divisorLatch ? this.#divisorHigh : this.regs.IER;
  }

  #writeEnable(value: number): void {
    if (this.#divisorLatch) {
      this.#divisorHigh = value;
      return;
    }
    const enabled = value & ~this.regs.IER;
    this.regs.IER = value & IER_BITS;
    if ((enabled & bits.IER_ETBEI) !== 0 && this.#transmitter.level === 0) this.#thrEmptied = true;
    this.#settle();
  }

  /** Tells the cause of the highest priority; telling it is all that "transmitter empty" needs. */
  #readCause(): number {
    const cause = this.#cause();
    this.#request.asked();
    if (cause === bits.IIR_THR_EMPTY) {
      this.#thrEmptied = false;
      this.#settle();
    }
    return cause | (this.#fifos ? bits.IIR_FIFOS_ENABLED : 0);
  }

  /** Bit 0 must be set for the other bits to count, and changing it empties both FIFOs. */
  #writeFifoControl(value: number): void {
    const on = (value & bits.FCR_FIFO_ENABLE) !== 0;
    const changed = on !== this.#fifos;
    if (changed || (on && (value & bits.FCR_RCVR_RESET) !== 0)) this.#receiver.clear();
    if (changed || (on && (value & bits.FCR_XMIT_RESET) !== 0)) this.#emptyTransmitter();
    this.#fcr = on ? value : 0;
    this.#pins.room();
    this.#settle();
  }

  #readLineStatus(): number {
    let status = this.#receiver.level > 0 ? bits.LSR_DR : 0;
    if (this.#transmitter.level === 0) status |= bits.LSR_THRE | bits.LSR_TEMT;
    if (!this.#overrun) return status;
    this.#overrun = false;
    this.#settle();
    return status | bits.LSR_OE;
  }

  #readModemStatus(): number {
    const { changed } = this.#modem;
    const status = this.#modem.read();
    if (changed) this.#settle();
    return status;
  }

  #modemControlChanged(): void {
    this.#showInputs();
    this.#drain();
    this.#pins.room();
    this.#settle();
  }

  #showInputs(): void {
    this.#modem.set(this.#shownInputs);
  }

  #emptyTransmitter(): void {
    if (this.#transmitter.level === 0) return;
    this.#transmitter.clear();
    this.#thrEmptied = true;
  }

  /** Sends what the transmitter holds, as far as the other end takes it. */
  #drain(): void {
    if (this.#draining || this.#transmitter.level === 0) return;
    this.#draining = true;
    try {
      if (this.loopback) while (this.#transmitter.level > 0) this.#receiveLooped(this.#transmitter.pop());
      else
        while (this.#transmitter.level > 0 && !this.#held) this.#held = !this.#transmitter.offer(this.#take);
    } finally {
      this.#draining = false;
    }
    if (this.#transmitter.level === 0) this.#thrEmptied = true;
    this.#showInputs();
  }

  /** On the chip's own way back nobody waits. A full FIFO keeps what it has, a full RBR takes the new byte. */
  #receiveLooped(byte: number): void {
    if (this.room === 0) {
      this.#overrun = true;
      if (this.#fifos) return;
      this.#receiver.clear();
    }
    this.#receiver.push(byte);
  }

  #cause(): number {
    const enabled = this.regs.IER;
    if ((enabled & bits.IER_ELSI) !== 0 && this.#overrun) return bits.IIR_LINE_STATUS;
    const { level } = this.#receiver;
    if ((enabled & bits.IER_ERBFI) !== 0 && level > 0) {
      const trigger = this.#fifos ? bits.FCR_TRIGGER_BYTES[this.#fcr >>> 6]! : 1;
      return level >= trigger ? bits.IIR_RECEIVED_DATA : bits.IIR_CHARACTER_TIMEOUT;
    }
    if ((enabled & bits.IER_ETBEI) !== 0 && this.#thrEmptied) return bits.IIR_THR_EMPTY;
    if ((enabled & bits.IER_EDSSI) !== 0 && this.#modem.changed) return bits.IIR_MODEM_STATUS;
    return bits.IIR_NONE;
  }

  #settle(): void {
    this.#request.update(this.#cause() !== bits.IIR_NONE);
  }
}

/** In loopback mode the outputs are the inputs: RTS is CTS, DTR is DSR, OUT1 is RI, OUT2 is DCD. */
function loopedInputs(mcr: number): number {
  return (
    ((mcr & bits.MCR_RTS) !== 0 ? bits.MSR_CTS : 0) |
    ((mcr & bits.MCR_DTR) !== 0 ? bits.MSR_DSR : 0) |
    ((mcr & bits.MCR_OUT1) !== 0 ? bits.MSR_RI : 0) |
    ((mcr & bits.MCR_OUT2) !== 0 ? bits.MSR_DCD : 0)
  );
}
