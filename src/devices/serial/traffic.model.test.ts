/*
 * A driver that acts on interrupts alone, against both ends of a line at random: whatever it does with each interrupt
 * (serve all causes, or one, or a single byte), whenever the other end stops and goes on, all bytes arrive, each once and
 * in order. A lost interrupt is a byte that never arrives. One random word is one operation.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX } from '../../abi/index.ts';
import type { IrqTrigger } from '../../core/index.ts';
import { Serial } from './device.ts';
import type { SerialEnd } from './line.ts';

const RUNS = 400;
const STEPS_MAX = 400;
const SEED = Number(process.env['VFIO_TEST_SEED'] ?? 16_550);
/** More interrupts than any good run needs before nothing is left to do. */
const SERVED_MAX = 200_000;

const [RBR, THR, IER, IIR, FCR, LCR, MCR, LSR, MSR] = [0, 0, 1, 2, 2, 3, 4, 5, 6];
const RECEIVE = 0x01;
const TRANSMIT = 0x02;
const OTHERS = 0x0c;

/** The other end: gives bytes when it may, and takes as many as it likes. */
class Peer implements SerialEnd {
  readonly given: number[] = [];
  readonly got: number[] = [];
  readonly #serial: Serial;
  #waiting: number[] = [];
  appetite = 0;
  #refused = false;
  #next = 0;
  deliveredWithoutRts = 0;

  constructor(serial: Serial) {
    this.#serial = serial;
  }

  give(count: number): void {
    for (let i = 0; i < count; i++) this.#waiting.push((this.#next++ * 113 + 5) % 256);
    this.room();
  }

  feed(count: number): void {
    this.appetite += count;
    if (!this.#refused) return;
    this.#refused = false;
    this.#serial.line.resume();
  }

  room(): void {
    const taken = this.#serial.line.receive(Uint8Array.from(this.#waiting));
    if (taken > 0 && !this.#serial.line.rts) this.deliveredWithoutRts += taken;
    this.given.push(...this.#waiting.slice(0, taken));
    this.#waiting = this.#waiting.slice(taken);
  }

  transmit(bytes: Uint8Array, at: number, count: number): number {
    const taken = Math.min(count, this.appetite);
    this.appetite -= taken;
    this.got.push(...bytes.subarray(at, at + taken));
    this.#refused = taken < count;
    return taken;
  }

  get waiting(): number {
    return this.#waiting.length;
  }
}

/** Counts signals; `lose` says which do not arrive. */
class Bell implements IrqTrigger {
  rung = 0;
  #count = 0;
  readonly #lose: (nth: number) => boolean;

  constructor(lose: (nth: number) => boolean) {
    this.#lose = lose;
  }

  signal(): void {
    this.#count += 1;
    if (!this.#lose(this.#count)) this.rung += 1;
  }

  close(): void {}
}

type Thoroughness = 'all causes' | 'one cause' | 'one byte';

class Driver {
  readonly received: number[] = [];
  readonly sent: number[] = [];
  readonly #serial: Serial;
  readonly #index: number;
  readonly #view: DataView = new DataView(new ArrayBuffer(1));
  #toSend: number[] = [];
  #next = 0;
  #enabled = RECEIVE | OTHERS;

  constructor(serial: Serial, index: number, fifoControl: number) {
    this.#serial = serial;
    this.#index = index;
    this.#write(LCR, 0x03);
    this.#write(FCR, fifoControl);
    this.#write(MCR, 0x0b);
    this.#write(IER, this.#enabled);
  }

  get unsent(): number {
    return this.#toSend.length;
  }

  send(count: number): void {
    for (let i = 0; i < count; i++) this.#toSend.push((this.#next++ * 59 + 7) % 256);
    this.#enable(this.#enabled | TRANSMIT);
  }

  setRts(on: boolean): void {
    this.#write(MCR, on ? 0x0b : 0x09);
  }

  serve(thoroughness: Thoroughness): void {
    for (;;) {
      const cause = this.#read(IIR) & 0x0f;
      if (cause === 0x06) this.#read(LSR);
      else if (cause === 0x04 || cause === 0x0c) this.#receive(thoroughness);
      else if (cause === 0x02) this.#transmit();
      else if (cause === 0x00) this.#read(MSR);
      if (thoroughness !== 'all causes' || cause === 0x01) break;
    }
    if (this.#index === VFIO_PCI_INTX_IRQ_INDEX) this.#serial.irqs[this.#index]!.unmask(0, 1);
  }

  #receive(thoroughness: Thoroughness): void {
    do this.received.push(this.#read(RBR));
    while (thoroughness !== 'one byte' && (this.#read(LSR) & 1) !== 0);
  }

  /** As many bytes as the FIFO takes, one without FIFOs; nothing left: the interrupt goes off. */
  #transmit(): void {
    if ((this.#read(LSR) & 0x20) === 0) return;
    const room = (this.#read(IIR) & 0xc0) === 0xc0 ? 16 : 1;
    for (const byte of this.#toSend.splice(0, room)) {
      this.sent.push(byte);
      this.#write(THR, byte);
    }
    if (this.#toSend.length === 0) this.#enable(this.#enabled & ~TRANSMIT);
  }

  #enable(bits: number): void {
    this.#enabled = bits;
    this.#write(IER, bits);
  }

  #read(offset: number): number {
    this.#serial.region(0).read(offset, 1, this.#view, 0);
    return this.#view.getUint8(0);
  }

  #write(offset: number, value: number): void {
    this.#view.setUint8(0, value);
    this.#serial.region(0).write(offset, 1, this.#view, 0);
  }
}

interface Case {
  readonly index: number;
  readonly fifoControl: number;
  readonly words: readonly number[];
}

/** Bytes that did not arrive, either way, after everybody did their part; throws on bytes that are wrong. */
function run({ index, fifoControl, words }: Case, lose: (nth: number) => boolean): number {
  const serial = new Serial();
  serial.opened();
  const peer = new Peer(serial);
  serial.line.connect(peer);
  const bell = new Bell(lose);
  serial.irqs[index]!.wire(0, [bell]);
  const driver = new Driver(serial, index, fifoControl);
  const serve = (thoroughness: Thoroughness): void => {
    if (bell.rung === 0) return;
    bell.rung -= 1;
    driver.serve(thoroughness);
  };
  for (const word of words) {
    const amount = (word >>> 4) % 40;
    const thoroughness: Thoroughness =
      amount % 3 === 0 ? 'one byte' : amount % 3 === 1 ? 'one cause' : 'all causes';
    switch (word % 8) {
      case 0:
        peer.give(amount);
        break;
      case 1:
        peer.feed(amount);
        break;
      case 2:
        driver.send(amount + 1);
        break;
      case 3:
        driver.setRts(amount % 2 === 0);
        break;
      default:
        serve(thoroughness);
    }
  }
  peer.feed(1_000_000);
  driver.setRts(true);
  for (let i = 0; i < SERVED_MAX && bell.rung > 0; i++) serve(i % 2 === 0 ? 'one byte' : 'one cause');
  expect(bell.rung, 'interrupts end').toBe(0);
  expect(peer.deliveredWithoutRts).toBe(0);
  expect(driver.received).toEqual(peer.given.slice(0, driver.received.length));
  expect(peer.got).toEqual(driver.sent.slice(0, peer.got.length));
  const missing = peer.given.length - driver.received.length + driver.sent.length - peer.got.length;
  return missing + peer.waiting + driver.unsent;
}

const cases: fc.Arbitrary<Case> = fc.record({
  index: fc.constantFrom(VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX),
  fifoControl: fc.constantFrom(0x00, 0x01, 0x41, 0x81, 0xc1),
  words: fc.array(fc.nat({ max: 0xffff }), { maxLength: STEPS_MAX, size: 'max' }),
});

describe('Serial under random traffic', () => {
  test('all bytes arrive, each once and in order, by interrupts alone', () => {
    fc.assert(
      fc.property(cases, (each) => {
        expect(run(each, () => false)).toBe(0);
      }),
      { seed: SEED, numRuns: RUNS },
    );
  }, 120_000);

  test('canary: an interrupt that is lost is seen', () => {
    const property = fc.property(cases, (each) => {
      expect(run(each, (nth) => nth % 7 === 0)).toBe(0);
    });
    expect(fc.check(property, { seed: SEED, numRuns: RUNS }).failed).toBe(true);
  }, 120_000);
});
