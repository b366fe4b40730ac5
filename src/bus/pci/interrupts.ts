/*
 * The function's interrupts: INTx with its STATUS and COMMAND bits, and the choice between INTx, MSI and MSI-X. A
 * device says only "vector n"; which mechanism carries it is what the client wired (SET_IRQS) or enabled.
 */
import {
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_STATUS,
  PCI_STATUS_INTERRUPT,
  VFIO_IRQ_INFO_AUTOMASKED,
  VFIO_IRQ_INFO_EVENTFD,
  VFIO_IRQ_INFO_MASKABLE,
  VFIO_IRQ_INFO_NORESIZE,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
} from '../../abi/index.ts';
import { assert, type Irq, type IrqSpec } from '../../core/index.ts';
import type { ConfigSpace } from './config-space.ts';
import type { Msi } from './msi.ts';
import type { Msix } from './msix.ts';
import type { PciDeviceSpec } from './spec.ts';

/** The five interrupt indexes of a PCI device, with the flags of Linux 7.3's vfio-pci. */
export function irqSpecsOf(spec: PciDeviceSpec): IrqSpec[] {
  const capabilities = spec.capabilities ?? [];
  const msi = capabilities.find((capability) => capability.type === 'msi');
  const msix = capabilities.find((capability) => capability.type === 'msix');
  const level = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
  const fixed = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE;
  return [
    { index: VFIO_PCI_INTX_IRQ_INDEX, count: spec.interruptPin === undefined ? 0 : 1, flags: level },
    { index: VFIO_PCI_MSI_IRQ_INDEX, count: msi === undefined ? 0 : (msi.vectors ?? 1), flags: fixed },
    // Vectors can be added while others are in use, so not NORESIZE where there are any.
    {
      index: VFIO_PCI_MSIX_IRQ_INDEX,
      count: msix?.vectors ?? 0,
      flags: msix === undefined ? fixed : VFIO_IRQ_INFO_EVENTFD,
    },
    // Also without PCI Express, since 7.3. A count of 0 makes QEMU warn that error recovery is missing.
    { index: VFIO_PCI_ERR_IRQ_INDEX, count: 1, flags: fixed },
    { index: VFIO_PCI_REQ_IRQ_INDEX, count: 1, flags: fixed },
  ];
}

/** The interrupt side of one function. */
export class PciInterrupts {
  readonly msi: Msi | null;
  readonly msix: Msix | null;
  readonly #config: ConfigSpace;
  readonly #intx: Irq;
  /** The device asserts INTx; whether that shows outside is COMMAND's INTX_DISABLE. */
  #asserted = false;

  constructor(config: ConfigSpace, intx: Irq, msi: Msi | null, msix: Msix | null) {
    this.#config = config;
    this.#intx = intx;
    this.msi = msi;
    this.msix = msix;
  }

  /** See PciDevice.raiseInterrupt. */
  raise(vector: number): boolean {
    const count = Math.max(this.msix?.irq.count ?? 0, this.msi?.irq.count ?? 0, this.#intx.count);
    assert(
      vector >= 0 && vector < count,
      `there is no interrupt vector ${vector}; the function has ${count}`,
    );
    const { msix, msi } = this;
    if (msix !== null && (msix.irq.wired(vector) || msix.enabled)) return msix.raise(vector);
    if (msi !== null && (msi.irq.wired(vector) || msi.enabled)) return msi.raise(vector);
    // Some vectors are wired, this one is not: it waits for its wiring, as behind a masked table entry.
    if (msix?.irq.enabled) return msix.raise(vector);
    if (msi?.irq.enabled) return msi.raise(vector);
    if (this.#intx.count > 0) return this.#assert();
    return (msix ?? msi!).raise(vector);
  }

  /** Takes INTx back; messages cannot be taken back. */
  lower(): void {
    this.#asserted = false;
    this.#setStatus();
    if (this.#intx.count > 0) this.#intx.lower();
  }

  /** After COMMAND may have changed. */
  commandChanged(): void {
    if (!this.#asserted) return;
    if (this.#disabled()) this.#intx.lower();
    else if (!this.#intx.pending(0)) this.#intx.raise(0);
  }

  /** Takes what `other` asserted and what waits there. Config space is taken over already. */
  takeOver(other: PciInterrupts): void {
    this.#asserted ||= other.#asserted;
    this.#setStatus();
    if (this.msix !== null && other.msix !== null) this.msix.takeOver(other.msix);
  }

  /** Nothing asserted, nothing pending. */
  reset(): void {
    this.lower();
    this.msi?.clearPending();
    this.msix?.clearPending();
  }

  /** MSI and MSI-X off, as when the next client opens the device. */
  disableMessages(): void {
    this.msi?.disable();
    this.msix?.disable();
  }

  #assert(): boolean {
    this.#asserted = true;
    this.#setStatus();
    return this.#disabled() ? false : this.#intx.raise(0);
  }

  /** STATUS.INTERRUPT shows the device's state, also while INTX_DISABLE keeps it inside. */
  #setStatus(): void {
    const others = this.#config.get16(PCI_STATUS) & ~PCI_STATUS_INTERRUPT;
    this.#config.set16(PCI_STATUS, others | (this.#asserted ? PCI_STATUS_INTERRUPT : 0));
  }

  #disabled(): boolean {
    return (this.#config.get16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE) !== 0;
  }
}
