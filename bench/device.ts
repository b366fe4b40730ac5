/*
 * The bench device: what the load client vubench drives. BAR0 is 4 KiB of plain bytes that cannot be mapped, with a DMA
 * engine at 0xc00; BAR2 is 1 MiB of mappable memory.
 *
 * | offset | bytes | register |
 * |---|---|---|
 * | 0xc00 | 8 | IOVA |
 * | 0xc08 | 4 | LEN, at most 1 MiB; for CMD 8 the vector |
 * | 0xc0c | 4 | ITERS |
 * | 0xc10 | 4 | STRIDE: IOVA advances by it each time |
 * | 0xc14 | 4 | SPAN: and starts again at 0 when the offset reaches it; 0: never advances |
 * | 0xc18 | 4 | STATUS: 0 or the errno of the last command |
 * | 0xc20 | 8 | NS: how long the last command took |
 * | 0xc28 | 8 | SUM: s = s * 31 + byte over the first LEN bytes of the device's buffer, modulo 2^64 |
 * | 0xc30 | 4 | CMD: 1, 3, 5 read client memory; 2, 4, 6 write it; 7 translate only; 8 raise vector LEN |
 *
 * Whether a copy goes through a mapping or by messages depends on how the client mapped its memory, so the three pairs of
 * copy commands do the same here. The write to CMD is answered when the command is done.
 */
import type { AccessResult, RegionHandler } from 'vfio/core';
import { PciDevice } from 'vfio/pci';

const ENGINE = 0xc00;
const BUFFER_BYTES = 1 << 20;
const EINVAL = 22;

const IOVA = ENGINE + 0x00;
const LEN = ENGINE + 0x08;
const ITERS = ENGINE + 0x0c;
const STRIDE = ENGINE + 0x10;
const SPAN = ENGINE + 0x14;
const STATUS = ENGINE + 0x18;
const NS = ENGINE + 0x20;
const SUM = ENGINE + 0x28;
const CMD = ENGINE + 0x30;

const PCI_COMMAND_MEMORY_AND_MASTER = 0x6;

/** Plain bytes, but for CMD. */
class Bar0 implements RegionHandler {
  readonly bytes: DataView = new DataView(new ArrayBuffer(4096));
  readonly #run: (command: number) => AccessResult;
  readonly #sum: () => bigint;

  constructor(run: (command: number) => AccessResult, sum: () => bigint) {
    this.#run = run;
    this.#sum = sum;
  }

  read(offset: number, count: number, view: DataView, at: number): AccessResult {
    if (offset <= SUM && offset + count > SUM) this.bytes.setBigUint64(SUM, this.#sum(), true);
    if (count === 4) view.setUint32(at, this.bytes.getUint32(offset, true), true);
    else for (let i = 0; i < count; i++) view.setUint8(at + i, this.bytes.getUint8(offset + i));
    return 0;
  }

  write(offset: number, count: number, view: DataView, at: number): AccessResult {
    if (count === 4) this.bytes.setUint32(offset, view.getUint32(at, true), true);
    else for (let i = 0; i < count; i++) this.bytes.setUint8(offset + i, view.getUint8(at + i));
    return offset === CMD && count === 4 ? this.#run(this.bytes.getUint32(CMD, true)) : 0;
  }
}

export default class BenchDevice extends PciDevice {
  readonly #bar0: Bar0 = new Bar0(
    (command) => this.#run(command),
    () => this.#sum(),
  );
  readonly #buffer: Uint8Array = new Uint8Array(BUFFER_BYTES);

  constructor() {
    super({
      name: 'bench',
      vendorId: 0x1234,
      deviceId: 0xbe7c,
      classCode: 0xff0000,
      interruptPin: 1,
      commandAtOpen: PCI_COMMAND_MEMORY_AND_MASTER,
      bars: {
        0: { type: 'mem32', sizeBytes: 4096 },
        2: { type: 'mem32', sizeBytes: 1 << 20, mappable: true, dma: 'allow' },
        4: { type: 'mem32', sizeBytes: 4096 },
      },
      capabilities: [{ type: 'msix', vectors: 16, bar: 4 }],
    });
    this.setBarHandler(0, this.#bar0);
  }

  #run(command: number): AccessResult {
    const started = process.hrtime.bigint();
    const result = this.#execute(command);
    if (!(result instanceof Promise)) return this.#finish(started, result);
    return result.then((errno) => this.#finish(started, errno));
  }

  #finish(started: bigint, errno: number): number {
    const registers = this.#bar0.bytes;
    registers.setBigUint64(NS, process.hrtime.bigint() - started, true);
    registers.setUint32(STATUS, errno, true);
    return 0;
  }

  #execute(command: number): AccessResult {
    const registers = this.#bar0.bytes;
    const length = registers.getUint32(LEN, true);
    if (command === 8) {
      this.raiseInterrupt(length);
      return 0;
    }
    if (command < 1 || command > 7 || length > BUFFER_BYTES) return EINVAL;
    return command === 7 ? this.#translate(length) : this.#copy(length, command % 2 === 0);
  }

  #translate(length: number): number {
    const registers = this.#bar0.bytes;
    const iova = Number(registers.getBigUint64(IOVA, true));
    const stride = registers.getUint32(STRIDE, true);
    const span = registers.getUint32(SPAN, true);
    const { dma } = this;
    let offset = 0;
    for (let left = registers.getUint32(ITERS, true); left > 0; left--) {
      const fault = dma.check(iova + offset, length, false);
      if (fault !== null) return fault.errno;
      if (span > 0) {
        offset += stride;
        if (offset >= span) offset = 0;
      }
    }
    return 0;
  }

  #copy(length: number, write: boolean): AccessResult {
    const registers = this.#bar0.bytes;
    const iova = Number(registers.getBigUint64(IOVA, true));
    const stride = registers.getUint32(STRIDE, true);
    const span = registers.getUint32(SPAN, true);
    const iterations = registers.getUint32(ITERS, true);
    return this.#copyFrom(0, 0, iterations, { iova, stride, span, length, write });
  }

  /** Copies until it is done, or until a copy needs a message; then it goes on when that was answered. */
  #copyFrom(offset: number, done: number, iterations: number, job: CopyJob): AccessResult {
    const { iova, stride, span, length, write } = job;
    const { dma } = this;
    let place = offset;
    for (let i = done; i < iterations; i++) {
      const result = write
        ? dma.write(iova + place, this.#buffer, 0, length)
        : dma.read(iova + place, this.#buffer, 0, length);
      if (span > 0) {
        place += stride;
        if (place >= span) place = 0;
      }
      if (result === null) continue;
      if (!(result instanceof Promise)) return result.errno;
      const next = place;
      return result.then((fault) => fault?.errno ?? this.#copyFrom(next, i + 1, iterations, job));
    }
    return 0;
  }

  #sum(): bigint {
    let sum = 0n;
    const length = Math.min(this.#bar0.bytes.getUint32(LEN, true), BUFFER_BYTES);
    for (let i = 0; i < length; i++) sum = BigInt.asUintN(64, sum * 31n + BigInt(this.#buffer[i]!));
    return sum;
  }
}

interface CopyJob {
  readonly iova: number;
  readonly stride: number;
  readonly span: number;
  readonly length: number;
  readonly write: boolean;
}
