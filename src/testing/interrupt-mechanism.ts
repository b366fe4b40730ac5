/*
 * Which interrupts a driver would use, and what it does to config space to switch them on.
 */
import {
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_MSI_FLAGS,
  PCI_MSI_FLAGS_ENABLE,
  PCI_MSI_FLAGS_QSIZE,
  PCI_MSIX_FLAGS,
  PCI_MSIX_FLAGS_ENABLE,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
} from '../abi/index.ts';
import type { PciDevice } from '../bus/pci/index.ts';
import { VfioError } from '../core/index.ts';
import type { ConfigAccess } from './config-access.ts';
import { DEFAULT_VECTORS } from './options.ts';

const MULTIPLE_MESSAGE_ENABLE_SHIFT = 4;

export type InterruptMechanism = 'msix' | 'msi' | 'intx' | 'none';

const INDEX: Readonly<Record<InterruptMechanism, number | null>> = {
  msix: VFIO_PCI_MSIX_IRQ_INDEX,
  msi: VFIO_PCI_MSI_IRQ_INDEX,
  intx: VFIO_PCI_INTX_IRQ_INDEX,
  none: null,
};

/** What a test listens to. */
export interface InterruptChoice {
  readonly mechanism: InterruptMechanism;
  /** VFIO interrupt index; null for 'none'. */
  readonly index: number | null;
  readonly vectors: number;
}

/** ENXIO if the device does not have what was asked for, EINVAL if it has fewer vectors. */
export function chooseInterrupts(
  device: PciDevice,
  wanted: 'auto' | InterruptMechanism,
  vectors: number | undefined,
): InterruptChoice {
  const count = (mechanism: InterruptMechanism): number => device.irqs[INDEX[mechanism] ?? -1]?.count ?? 0;
  const has = (['msix', 'msi', 'intx'] as const).filter((mechanism) => count(mechanism) > 0);
  const mechanism = wanted === 'auto' ? (has[0] ?? 'none') : wanted;
  if (mechanism === 'none') return { mechanism, index: null, vectors: 0 };
  if (count(mechanism) === 0) {
    const list = has.length === 0 ? 'no interrupts' : has.join(', ');
    throw new VfioError('ENXIO', `${device.name} has no ${mechanism}; its spec declares ${list}`);
  }
  if (mechanism !== 'msix') return { mechanism, index: INDEX[mechanism], vectors: count(mechanism) };
  const chosen = vectors ?? Math.min(count(mechanism), DEFAULT_VECTORS);
  if (!(Number.isInteger(chosen) && chosen >= 1 && chosen <= count(mechanism))) {
    throw new VfioError('EINVAL', `${device.name} has ${count(mechanism)} MSI-X vectors, not ${chosen}`);
  }
  return { mechanism, index: INDEX[mechanism], vectors: chosen };
}

/** What a kernel writes when a driver has asked for its vectors. */
export async function enableInterrupts(config: ConfigAccess, choice: InterruptChoice): Promise<void> {
  const { mechanism, vectors } = choice;
  if (mechanism === 'none') return;
  if (mechanism === 'intx') {
    await config.change(PCI_COMMAND, 0, PCI_COMMAND_INTX_DISABLE);
    return;
  }
  await config.change(PCI_COMMAND, PCI_COMMAND_INTX_DISABLE, 0);
  const at = config.capability(mechanism);
  if (mechanism === 'msix') {
    await config.change(at + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 0);
    return;
  }
  const given = Math.log2(vectors) << MULTIPLE_MESSAGE_ENABLE_SHIFT;
  await config.change(at + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE | given, PCI_MSI_FLAGS_QSIZE);
}
