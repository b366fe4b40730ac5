/**
 * The serial device: the chip of uart.ts behind BAR0 of a PCI function, and the line behind the chip.
 */
import { PciDevice } from '../../bus/pci/index.ts';
import type { Registers } from '../../bus/registers.ts';
import { SerialLine } from './line.ts';
import type { SERIAL_REGISTERS } from './registers.ts';
import * as spec from './spec.ts';
import { Uart } from './uart.ts';

export interface SerialOptions {
  /** Default 'serial'. */
  readonly name?: string;
  /** Whether the guest gets bytes only while it has RTS up. Default true; false for software that leaves RTS alone. */
  readonly hardwareFlowControl?: boolean;
}

export class Serial extends PciDevice {
  /** Where bytes come from and go to. */
  readonly line: SerialLine;
  readonly #uart: Uart;

  constructor(options: SerialOptions = {}) {
    super({
      name: options.name ?? 'serial',
      vendorId: spec.SERIAL_VENDOR_ID,
      deviceId: spec.SERIAL_DEVICE_ID,
      subsystemVendorId: spec.SERIAL_SUBSYSTEM_VENDOR_ID,
      subsystemId: spec.SERIAL_SUBSYSTEM_ID,
      classCode: spec.SERIAL_CLASS,
      interruptPin: 1,
      bars: { [spec.SERIAL_BAR]: { type: 'mem32', sizeBytes: spec.SERIAL_BAR_SIZE } },
      capabilities: [{ type: 'msi', vectors: 1, address64: true }],
    });
    this.#uart = new Uart({
      transmit: (bytes, at, count) => this.line.transmit(bytes, at, count),
      room: () => this.line.offerRoom(),
      raise: () => this.raiseInterrupt(),
      lower: () => this.lowerInterrupt(),
    });
    this.line = new SerialLine(this.#uart, options.hardwareFlowControl ?? true);
    this.setBarHandler(spec.SERIAL_BAR, this.#uart.regs);
  }

  /** The registers as the device holds them. */
  get regs(): Registers<typeof SERIAL_REGISTERS> {
    return this.#uart.regs;
  }

  override opened(): void {
    super.opened();
    this.#uart.announce();
    this.line.attach(true);
  }

  override closed(): void {
    this.line.attach(false);
    super.closed();
  }

  /** FIFOs and registers are as after power-on; what the line's end has not given yet it still has. */
  protected override onReset(): void {
    this.#uart.reset();
  }
}
