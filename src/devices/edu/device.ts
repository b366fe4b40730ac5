/**
 * The edu device: a factorial unit, an interrupt and a DMA engine behind the registers of registers.ts.
 *
 * Both units work after the register write that started them was answered, so a driver has to wait for them,
 * as on QEMU's edu. When that is, `schedule` decides; the device has no clock of its own.
 */
import { PciDevice } from '../../bus/pci/index.ts';
import type { Registers } from '../../bus/registers.ts';
import { type DeviceEvents, type DmaFault, Emitter, rethrow } from '../../core/index.ts';
import { factorial32 } from './factorial.ts';
import { EduRegisterFile, type EduTable } from './register-file.ts';
import {
  EDU_BAR0_SIZE,
  EDU_CLASS,
  EDU_DEVICE_ID,
  EDU_DMA_BUFFER,
  EDU_DMA_BUFFER_SIZE,
  EDU_DMA_MASK_BITS,
  EDU_IRQ_DMA,
  EDU_IRQ_FACTORIAL,
  EDU_REVISION_ID,
  EDU_VENDOR_ID,
} from './spec.ts';

export interface EduOptions {
  /** Default 'edu'. */
  readonly name?: string;
  /** Address bits that the DMA engine drives, 12 to 64; higher bits of an address are cut off. Default 28. */
  readonly dmaMaskBits?: number;
  /** Calls `work` later, once. Default: after the code that runs now, the driver's answer included. */
  readonly schedule?: (work: () => void) => void;
}

/** A transfer that did not happen. */
export interface EduFault {
  /** Address on the bus, after the mask. */
  readonly iova: number;
  readonly sizeBytes: number;
  readonly direction: 'to edu' | 'to memory';
  /** Why no memory was reached, or that the transfer does not fit edu's buffer. */
  readonly reason: DmaFault['reason'] | 'outside the buffer';
}

/** What edu tells its listeners beyond what every device tells. */
export interface EduEvents extends DeviceEvents {
  fault: EduFault;
}

/** QEMU's subsystem ids for devices that set none. */
const QEMU_SUBSYSTEM_VENDOR_ID = 0x1af4;
const QEMU_SUBSYSTEM_ID = 0x1100;

export class Edu extends PciDevice {
  readonly #file: EduRegisterFile;
  readonly #buffer: Uint8Array = new Uint8Array(EDU_DMA_BUFFER_SIZE);
  readonly #schedule: (work: () => void) => void;
  readonly #maskLow: number;
  readonly #maskHigh: number;
  readonly #faults: Emitter<{ fault: EduFault }> = new Emitter();
  #lastFault: EduFault | null = null;
  /** Counts resets: work that was started before the last one comes to nothing. */
  #epoch = 0;

  constructor(options: EduOptions = {}) {
    super({
      name: options.name ?? 'edu',
      vendorId: EDU_VENDOR_ID,
      deviceId: EDU_DEVICE_ID,
      subsystemVendorId: QEMU_SUBSYSTEM_VENDOR_ID,
      subsystemId: QEMU_SUBSYSTEM_ID,
      revisionId: EDU_REVISION_ID,
      classCode: EDU_CLASS << 8,
      interruptPin: 1,
      bars: { 0: { type: 'mem32', sizeBytes: EDU_BAR0_SIZE } },
      capabilities: [{ type: 'msi', vectors: 1, address64: true }],
    });
    const bits = options.dmaMaskBits ?? EDU_DMA_MASK_BITS;
    if (!Number.isInteger(bits) || bits < 12 || bits > 64) {
      throw new RangeError(`dmaMaskBits is ${bits}; the mask has 12 to 64 bits`);
    }
    this.#maskLow = onesBelow(bits);
    this.#maskHigh = onesBelow(bits - 32);
    this.#schedule = options.schedule ?? queueMicrotask;
    this.#file = new EduRegisterFile(this.#handlers(), () => this.regs.get('DMA_CMD', 'RUN') === 1);
    this.setBarHandler(0, this.#file);
  }

  /** The registers as the device holds them. */
  get regs(): Registers<EduTable> {
    return this.#file.regs;
  }

  /** The last transfer that did not happen, or null; a reset forgets it. */
  get lastFault(): EduFault | null {
    return this.#lastFault;
  }

  /** As every device's `on`, and 'fault': a transfer did not happen, which the guest cannot see. */
  override on<Name extends keyof EduEvents>(
    name: Name,
    listener: (event: EduEvents[Name]) => void,
  ): () => void {
    if (name === 'fault') return this.#faults.on('fault', listener as (fault: EduFault) => void);
    return super.on(
      name as keyof DeviceEvents,
      listener as (event: DeviceEvents[keyof DeviceEvents]) => void,
    );
  }

  protected override onReset(): void {
    this.#epoch += 1;
    this.regs.reset();
    this.#buffer.fill(0);
    this.#lastFault = null;
  }

  #handlers(): ConstructorParameters<typeof EduRegisterFile>[0] {
    return {
      LIVENESS: {
        write: (value) => {
          this.regs.LIVENESS = ~value >>> 0;
        },
      },
      FACTORIAL: { write: (value) => this.#startFactorial(value) },
      IRQ_RAISE: { write: (value) => this.#raise(value) },
      IRQ_ACK: { write: (value) => this.#acknowledge(value) },
      DMA_CMD: { write: () => this.#later(() => this.#transfer()) },
    };
  }

  /** Runs `work` after the present access, unless a reset comes in between. */
  #later(work: () => void): void {
    const epoch = this.#epoch;
    this.#schedule(() => {
      if (epoch === this.#epoch) work();
    });
  }

  /** The unit takes one number at a time; a write while it computes is ignored. */
  #startFactorial(n: number): void {
    if (this.regs.get('STATUS', 'COMPUTING') === 1) return;
    this.regs.FACTORIAL = n;
    this.regs.set('STATUS', 'COMPUTING', 1);
    this.#later(() => {
      this.regs.FACTORIAL = factorial32(n);
      this.regs.set('STATUS', 'COMPUTING', 0);
      if (this.regs.get('STATUS', 'IRQ_FACTORIAL') === 1) this.#raise(EDU_IRQ_FACTORIAL);
    });
  }

  #raise(bits: number): void {
    this.regs.IRQ_STATUS |= bits;
    if (this.regs.IRQ_STATUS !== 0) this.raiseInterrupt();
  }

  #acknowledge(bits: number): void {
    this.regs.IRQ_STATUS &= ~bits;
    if (this.regs.IRQ_STATUS === 0) this.lowerInterrupt();
  }

  #transfer(): void {
    const { regs } = this;
    const toMemory = regs.get('DMA_CMD', 'TO_MEMORY') === 1;
    const iova = this.#busAddress(toMemory ? 'DMA_DST' : 'DMA_SRC');
    const at = (toMemory ? regs.DMA_SRC : regs.DMA_DST) - EDU_DMA_BUFFER;
    const sizeBytes = regs.DMA_COUNT;
    const direction = toMemory ? 'to memory' : 'to edu';
    if (at < 0 || at + sizeBytes > EDU_DMA_BUFFER_SIZE) {
      this.#finish({ iova, sizeBytes, direction, reason: 'outside the buffer' });
      return;
    }
    const done = (fault: DmaFault | null): void => {
      // A read that reaches nothing brings zeros, as on QEMU's bus.
      if (fault !== null && !toMemory) this.#buffer.fill(0, at, at + sizeBytes);
      this.#finish(fault === null ? null : { iova, sizeBytes, direction, reason: fault.reason });
    };
    if (sizeBytes === 0) {
      done(null);
      return;
    }
    const result = toMemory
      ? this.dma.write(iova, this.#buffer, at, sizeBytes)
      : this.dma.read(iova, this.#buffer, at, sizeBytes);
    if (!(result instanceof Promise)) {
      done(result);
      return;
    }
    const epoch = this.#epoch;
    void result.then((fault) => {
      if (epoch === this.#epoch) done(fault);
    });
  }

  /** Ends a transfer. To the driver a fault looks like any other end. */
  #finish(fault: EduFault | null): void {
    this.regs.set('DMA_CMD', 'RUN', 0);
    if (fault !== null) this.#lastFault = fault;
    if (this.regs.get('DMA_CMD', 'IRQ') === 1) this.#raise(EDU_IRQ_DMA);
    if (fault === null) return;
    const errors: unknown[] = [];
    this.#faults.emit('fault', fault, errors);
    rethrow(errors, `a DMA fault of ${this.name}`);
  }

  #busAddress(register: 'DMA_SRC' | 'DMA_DST'): number {
    const low = (this.regs.low(register) & this.#maskLow) >>> 0;
    const high = (this.regs.high(register) & this.#maskHigh) >>> 0;
    return high * 2 ** 32 + low;
  }
}

/** The lowest `bits` bits of a 32-bit word; none below 0, all from 32 on. */
function onesBelow(bits: number): number {
  if (bits <= 0) return 0;
  return bits >= 32 ? 0xffff_ffff : 2 ** bits - 1;
}
