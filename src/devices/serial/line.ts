/**
 * The line: what is plugged into the port, and how bytes go to and fro without any being lost.
 *
 * Both directions have one rule: who gives is told how many bytes were taken, keeps the rest, and is told when it may go
 * on. Nothing is queued in between but the chip's own FIFOs.
 */
import * as bits from './bits.ts';
import type { Uart } from './uart.ts';

/** The other end of the cable. */
export interface SerialEnd {
  /**
   * Bytes [at, at + count) come from the guest. Returns how many it took, and copies them: the array is the chip's. Less
   * than all: the guest has to wait, and sees CTS down, until the end calls `line.resume()` (later, not from in here).
   * Better is `line.pause()` while there is room for some more: what the chip holds is lost when the guest closes the port.
   */
  transmit(bytes: Uint8Array, at: number, count: number): number;
  /** `line.receive` took less than it was given, and may take more now. May call it at once. */
  room(): void;
}

/** Inputs of a port with something plugged in. */
const PLUGGED = bits.MSR_CTS | bits.MSR_DSR | bits.MSR_DCD;

export class SerialLine {
  readonly #uart: Uart;
  readonly #hardwareFlowControl: boolean;
  #end: SerialEnd | null = null;
  #attached = false;
  /** The end was refused something and is to be told of room. */
  #wanted = false;

  constructor(uart: Uart, hardwareFlowControl: boolean) {
    this.#uart = uart;
    this.#hardwareFlowControl = hardwareFlowControl;
  }

  /** The guest is ready for bytes (its output RTS). */
  get rts(): boolean {
    return this.#uart.output(bits.MCR_RTS);
  }

  /** The guest has the port open (its output DTR). */
  get dtr(): boolean {
    return this.#uart.output(bits.MCR_DTR);
  }

  /** Plugs an end in, in place of the one before: DSR, DCD and CTS go up. */
  connect(end: SerialEnd): void {
    this.#end = end;
    this.#wanted = false;
    this.#uart.setInputs(PLUGGED);
    this.#uart.resume();
  }

  /** Pulls the plug: DSR, DCD and CTS go down, and what the guest sends from now on is gone. */
  disconnect(): void {
    this.#end = null;
    this.#uart.setInputs(0);
    this.#uart.resume();
  }

  /**
   * Gives the guest bytes [at, at + count). Returns how many it took: none while it has RTS down (unless the port was made
   * without hardware flow control), is in loopback mode, or is not there. The rest is the caller's, who is told by
   * `room` when there is a point in giving it again.
   */
  receive(bytes: Uint8Array, at: number = 0, count: number = bytes.length - at): number {
    const taken = this.#open ? this.#uart.receive(bytes, at, count) : 0;
    if (taken < count) this.#wanted = true;
    return taken;
  }

  /** CTS goes down: a guest that heeds it stops after the few bytes that are under way. */
  pause(): void {
    this.#uart.pause();
  }

  /** CTS goes up, and the end takes bytes again if `transmit` took less than it was given. */
  resume(): void {
    this.#uart.resume();
  }

  /** @internal A client came or went. Without one nobody would read what is received. */
  attach(attached: boolean): void {
    this.#attached = attached;
    this.offerRoom();
  }

  /** @internal The chip sends. Nothing plugged in: the bytes are gone, as on an open connector. */
  transmit(bytes: Uint8Array, at: number, count: number): number {
    return this.#end === null ? count : this.#end.transmit(bytes, at, count);
  }

  /** @internal There may be room for what the end still has. */
  offerRoom(): void {
    if (!this.#wanted || !this.#open || this.#uart.room === 0) return;
    this.#wanted = false;
    this.#end?.room();
  }

  get #open(): boolean {
    if (!this.#attached || this.#end === null || this.#uart.loopback) return false;
    return this.rts || !this.#hardwareFlowControl;
  }
}
