/*
 * Config space as the guest reads and writes it, and what is done there in one step: decode, bus mastering, sleep, reset.
 */
import {
  PCI_COMMAND,
  PCI_COMMAND_IO,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_EXP_DEVCAP,
  PCI_EXP_DEVCAP_FLR,
  PCI_EXP_DEVCTL,
  PCI_EXP_DEVCTL_BCR_FLR,
  PCI_PM_CTRL,
  PCI_PM_CTRL_NO_SOFT_RESET,
  PCI_PM_CTRL_STATE_MASK,
  PCI_STATUS,
  PCI_STATUS_INTERRUPT,
  VFIO_PCI_CONFIG_REGION_INDEX,
} from '../abi/index.ts';
import type { CapabilitySpec, PciDevice } from '../bus/pci/index.ts';
import type { DeviceHandle } from '../client/index.ts';
import { VfioError } from '../core/index.ts';

const D0 = 0;
const D3HOT = 3;

/** Offsets are bytes in config space, values unsigned. */
export class ConfigAccess {
  readonly #device: PciDevice;
  readonly #handle: () => DeviceHandle;

  /** @internal */
  constructor(device: PciDevice, handle: () => DeviceHandle) {
    this.#device = device;
    this.#handle = handle;
  }

  read(offset: number, widthBytes: 1 | 2 | 4): Promise<number> {
    return this.#handle().readRegister(VFIO_PCI_CONFIG_REGION_INDEX, offset, widthBytes);
  }

  write(offset: number, widthBytes: 1 | 2 | 4, value: number): Promise<void> {
    return this.#handle().writeRegister(VFIO_PCI_CONFIG_REGION_INDEX, offset, widthBytes, value);
  }

  /** Sets and clears bits of a 16-bit register. */
  async change(offset: number, set: number, clear: number): Promise<void> {
    const value = await this.read(offset, 2);
    await this.write(offset, 2, (value & ~clear) | set);
  }

  /** Where the first capability of that type lies. ENXIO if the device has none. */
  capability(type: CapabilitySpec['type']): number {
    for (const [capability, at] of this.#device.capabilityOffsets) {
      if (capability.type === type) return at;
    }
    throw new VfioError('ENXIO', `${this.#device.name} has no ${type} capability; add it to its spec`);
  }

  /** COMMAND.MEMORY: whether memory BARs answer. */
  memoryDecode(on: boolean): Promise<void> {
    return this.#command(PCI_COMMAND_MEMORY, on);
  }

  /** COMMAND.IO: whether I/O BARs answer. */
  ioDecode(on: boolean): Promise<void> {
    return this.#command(PCI_COMMAND_IO, on);
  }

  /** COMMAND.MASTER: whether the device may do DMA. */
  busMaster(on: boolean): Promise<void> {
    return this.#command(PCI_COMMAND_MASTER, on);
  }

  /** Whether the device asserts INTx at this moment: STATUS.INTERRUPT, which shows it also while INTx is disabled. */
  async intxAsserted(): Promise<boolean> {
    return ((await this.read(PCI_STATUS, 2)) & PCI_STATUS_INTERRUPT) !== 0;
  }

  /** D3hot: BARs answer EIO, no DMA. ENXIO without power management. */
  sleep(): Promise<void> {
    return this.#powerState(D3HOT);
  }

  /** D0. Without No_Soft_Reset that is a reset of kind 'power'. */
  wake(): Promise<void> {
    return this.#powerState(D0);
  }

  /** Initiate Function Level Reset. ENXIO if the device does not say that it can. */
  async functionLevelReset(): Promise<void> {
    const at = this.capability('express');
    if (((await this.read(at + PCI_EXP_DEVCAP, 4)) & PCI_EXP_DEVCAP_FLR) === 0) {
      throw new VfioError('ENXIO', `${this.#device.name} has no function level reset; its spec says so`);
    }
    await this.change(at + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR, 0);
  }

  /** To sleep and back, which resets the device. ENXIO if it keeps its state on the way. */
  async powerReset(): Promise<void> {
    const at = this.capability('power-management');
    if (((await this.read(at + PCI_PM_CTRL, 2)) & PCI_PM_CTRL_NO_SOFT_RESET) !== 0) {
      const message = `${this.#device.name} keeps its state in D3hot; use sleep() and wake(), or noSoftReset: false`;
      throw new VfioError('ENXIO', message);
    }
    await this.sleep();
    await this.wake();
  }

  #command(bit: number, on: boolean): Promise<void> {
    return this.change(PCI_COMMAND, on ? bit : 0, on ? 0 : bit);
  }

  async #powerState(state: number): Promise<void> {
    const at = this.capability('power-management') + PCI_PM_CTRL;
    await this.change(at, state, PCI_PM_CTRL_STATE_MASK);
  }
}
