/**
 * A driver for edu in user space: QEMU's device, ours, or any other with the same registers. It needs a
 * `DeviceHandle` and nothing else, so it drives a device object in the same process and one behind a socket
 * alike.
 *
 * Everything waits for interrupts, MSI where the device has it. Operations of one unit (factorial, DMA) queue
 * up.
 */
import {
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_DEVICE_ID,
  PCI_VENDOR_ID,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
} from '../abi/index.ts';
import type { DeviceHandle } from '../client/index.ts';
import { VfioError } from '../core/index.ts';
import { EDU_REGISTERS as REGISTERS } from '../devices/edu/registers.ts';
import * as edu from '../devices/edu/spec.ts';
import { IrqWaiter } from './irq-waiter.ts';
import { setMsiEnable } from './pci-config.ts';

export interface EduDriverOptions {
  /** Which interrupt to use. Default 'auto': MSI if the device has it. */
  readonly interrupt?: 'auto' | 'msi' | 'intx';
  /** Address bits that the device drives; a transfer above them is refused here. Default 28, as the device. */
  readonly dmaMaskBits?: number;
  /** How long an operation may take before it fails with ETIMEDOUT. Default 5000. */
  readonly timeoutMs?: number;
}

/** Longer than any transfer takes, QEMU's 100 ms included. */
const DEFAULT_TIMEOUT_MS = 5000;

const BAR0 = VFIO_PCI_BAR0_REGION_INDEX;
const CONFIG = VFIO_PCI_CONFIG_REGION_INDEX;

export class EduDriver {
  readonly handle: DeviceHandle;
  /** The interrupt in use. */
  readonly interrupt: 'msi' | 'intx';
  readonly #waiter: IrqWaiter;
  readonly #dmaLimit: number;
  /** Ends of the operations under way: an operation starts when the one before it is over, failed or not. */
  #dmaTail: Promise<unknown> = Promise.resolve();
  #factorialTail: Promise<unknown> = Promise.resolve();
  #unlisten: (() => Promise<void>) | null = null;

  private constructor(handle: DeviceHandle, interrupt: 'msi' | 'intx', options: EduDriverOptions) {
    this.handle = handle;
    this.interrupt = interrupt;
    this.#dmaLimit = 2 ** (options.dmaMaskBits ?? edu.EDU_DMA_MASK_BITS);
    this.#waiter = new IrqWaiter(handle.closed, options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  }

  /**
   * Takes over the device: switches memory decode, bus mastering and its interrupt on. ENODEV if it is no
   * edu, ENXIO if it lacks the interrupt that was asked for. The handle stays the caller's.
   */
  static async open(handle: DeviceHandle, options: EduDriverOptions = {}): Promise<EduDriver> {
    await checkIdentity(handle);
    const interrupt = await chooseInterrupt(handle, options.interrupt ?? 'auto');
    const driver = new EduDriver(handle, interrupt, options);
    await driver.#start();
    return driver;
  }

  /** The identification register. ENODEV if its low byte is not edu's. */
  async identify(): Promise<{ major: number; minor: number }> {
    const id = await this.handle.readRegister(BAR0, REGISTERS.ID.offset, 4);
    if ((id & 0xff) !== (edu.EDU_IDENTIFICATION & 0xff)) {
      throw new VfioError('ENODEV', `the identification register reads 0x${id.toString(16)}; this is no edu`);
    }
    return { major: id >>> 24, minor: (id >>> 16) & 0xff };
  }

  /** Writes a pattern to the liveness register; a live device gives its inverse back. */
  async isAlive(pattern: number = 0x1234_5678): Promise<boolean> {
    await this.handle.writeRegister(BAR0, REGISTERS.LIVENESS.offset, 4, pattern >>> 0);
    return (await this.handle.readRegister(BAR0, REGISTERS.LIVENESS.offset, 4)) === ~pattern >>> 0;
  }

  /** n! modulo 2^32, computed by the device. `n` is an unsigned 32-bit number. */
  factorial(n: number): Promise<number> {
    const work = async (): Promise<number> => {
      await this.handle.writeRegister(BAR0, REGISTERS.STATUS.offset, 4, edu.EDU_STATUS_IRQ_FACTORIAL);
      await this.#waiter.during(edu.EDU_IRQ_FACTORIAL, `factorial(${n})`, () =>
        this.handle.writeRegister(BAR0, REGISTERS.FACTORIAL.offset, 4, n >>> 0),
      );
      return this.handle.readRegister(BAR0, REGISTERS.FACTORIAL.offset, 4);
    };
    const result = this.#factorialTail.then(work);
    this.#factorialTail = result.catch(() => {});
    return result;
  }

  /**
   * Moves `sizeBytes` at `iova` into the device's buffer. As the device has no error register, a transfer
   * that reaches no memory resolves too; the device's side knows the reason. EINVAL if it does not fit buffer
   * or address mask.
   */
  dmaToDevice(iova: number, sizeBytes: number, bufferOffset: number = 0): Promise<void> {
    return this.#transfer(iova, sizeBytes, bufferOffset, 0);
  }

  /** Moves `sizeBytes` of the device's buffer to `iova`; see `dmaToDevice`. */
  dmaFromDevice(iova: number, sizeBytes: number, bufferOffset: number = 0): Promise<void> {
    return this.#transfer(iova, sizeBytes, bufferOffset, edu.EDU_DMA_TO_MEMORY);
  }

  /** Makes the device interrupt with `bits` in its interrupt status, and waits until that was served. */
  async raise(bits: number): Promise<void> {
    await this.#waiter.during(bits, `raise(0x${bits.toString(16)})`, () =>
      this.handle.writeRegister(BAR0, REGISTERS.IRQ_RAISE.offset, 4, bits >>> 0),
    );
  }

  /** Interrupts that were served since the driver took over. */
  get interruptCount(): number {
    return this.#waiter.served;
  }

  /** Waits for what is under way, then switches interrupts and bus mastering off. The handle stays open. */
  async close(): Promise<void> {
    await Promise.all([this.#dmaTail, this.#factorialTail]);
    this.#waiter.end();
    const unlisten = this.#unlisten;
    this.#unlisten = null;
    if (unlisten === null || !this.handle.open) return;
    await unlisten();
    if (this.interrupt === 'msi') await setMsiEnable(this.handle, false);
    await this.#command(0, PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
  }

  async #start(): Promise<void> {
    const msi = this.interrupt === 'msi';
    await this.#command(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, PCI_COMMAND_INTX_DISABLE);
    // Whatever a former driver left pending would otherwise be taken for the first answer.
    await this.#acknowledge();
    const index = msi ? VFIO_PCI_MSI_IRQ_INDEX : VFIO_PCI_INTX_IRQ_INDEX;
    this.#unlisten = await this.handle.onInterrupt(index, 0, () => void this.#serve());
    if (msi) {
      await this.#command(PCI_COMMAND_INTX_DISABLE, 0);
      await setMsiEnable(this.handle, true);
    }
  }

  /** The interrupt's listener: reads what happened, acknowledges it, then lets the line fire again. */
  async #serve(): Promise<void> {
    try {
      const bits = await this.#acknowledge();
      if (this.interrupt === 'intx') await this.handle.unmask(VFIO_PCI_INTX_IRQ_INDEX);
      this.#waiter.fired(bits);
    } catch (error) {
      this.#waiter.fail(error as Error);
    }
  }

  async #acknowledge(): Promise<number> {
    const bits = await this.handle.readRegister(BAR0, REGISTERS.IRQ_STATUS.offset, 4);
    if (bits !== 0) await this.handle.writeRegister(BAR0, REGISTERS.IRQ_ACK.offset, 4, bits);
    return bits;
  }

  async #command(set: number, clear: number): Promise<void> {
    const command = await this.handle.readRegister(CONFIG, PCI_COMMAND, 2);
    await this.handle.writeRegister(CONFIG, PCI_COMMAND, 2, (command & ~clear) | set);
  }

  #transfer(iova: number, sizeBytes: number, bufferOffset: number, direction: number): Promise<void> {
    const inBuffer = edu.EDU_DMA_BUFFER + bufferOffset;
    const problem = this.#transferProblem(iova, sizeBytes, bufferOffset);
    if (problem !== null) return Promise.reject(new VfioError('EINVAL', problem));
    const [source, target] = direction === 0 ? [iova, inBuffer] : [inBuffer, iova];
    const command = edu.EDU_DMA_RUN | edu.EDU_DMA_IRQ | direction;
    const work = (): Promise<void> =>
      this.#waiter.during(edu.EDU_IRQ_DMA, `a transfer at 0x${iova.toString(16)}`, () =>
        this.handle.writeMulti([
          { index: BAR0, offset: REGISTERS.DMA_SRC.offset, widthBytes: 8, value: source },
          { index: BAR0, offset: REGISTERS.DMA_DST.offset, widthBytes: 8, value: target },
          { index: BAR0, offset: REGISTERS.DMA_COUNT.offset, widthBytes: 8, value: sizeBytes },
          { index: BAR0, offset: REGISTERS.DMA_CMD.offset, widthBytes: 8, value: command },
        ]),
      );
    const result = this.#dmaTail.then(work);
    this.#dmaTail = result.catch(() => {});
    return result;
  }

  #transferProblem(iova: number, sizeBytes: number, bufferOffset: number): string | null {
    const end = bufferOffset + sizeBytes;
    if (!(sizeBytes > 0 && bufferOffset >= 0 && end <= edu.EDU_DMA_BUFFER_SIZE)) {
      const buffer = `edu's buffer of ${edu.EDU_DMA_BUFFER_SIZE} bytes`;
      return `${sizeBytes} bytes at ${bufferOffset} do not lie in ${buffer}; split the transfer`;
    }
    if (!(iova >= 0 && iova + sizeBytes <= this.#dmaLimit)) {
      const limit = `0x${this.#dmaLimit.toString(16)}`;
      return `iova 0x${iova.toString(16)} is above edu's address mask; map memory below ${limit}`;
    }
    return null;
  }
}

async function checkIdentity(handle: DeviceHandle): Promise<void> {
  const vendor = await handle.readRegister(CONFIG, PCI_VENDOR_ID, 2);
  const device = await handle.readRegister(CONFIG, PCI_DEVICE_ID, 2);
  if (vendor === edu.EDU_VENDOR_ID && device === edu.EDU_DEVICE_ID) return;
  const found = `${vendor.toString(16).padStart(4, '0')}:${device.toString(16).padStart(4, '0')}`;
  throw new VfioError('ENODEV', `${handle.address} is ${found}; this driver is for edu, 1234:11e8`);
}

async function chooseInterrupt(
  handle: DeviceHandle,
  wanted: 'auto' | 'msi' | 'intx',
): Promise<'msi' | 'intx'> {
  const msi = wanted !== 'intx' && (await handle.irqInfo(VFIO_PCI_MSI_IRQ_INDEX)).count > 0;
  if (msi) return 'msi';
  const intx = wanted !== 'msi' && (await handle.irqInfo(VFIO_PCI_INTX_IRQ_INDEX)).count > 0;
  if (intx) return 'intx';
  throw new VfioError('ENXIO', `${handle.address} has no such interrupt (${wanted}); ask for 'auto'`);
}
