/*
 * Why no interrupt came: what can be seen from outside the device's code, most telling first.
 */
import {
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_MASTER,
  PCI_MSI_MASK_32,
  PCI_MSI_MASK_64,
  PCI_MSI_PENDING_32,
  PCI_MSI_PENDING_64,
  PCI_MSIX_FLAGS,
  PCI_MSIX_FLAGS_MASKALL,
  PCI_STATUS,
  PCI_STATUS_INTERRUPT,
} from '../abi/index.ts';
import type { MsiSpec, MsixSpec, PciDevice } from '../bus/pci/index.ts';
import { msixPlaces } from '../bus/pci/msix.ts';
import type { DmaLog } from './dma-log.ts';
import type { InterruptCounter } from './interrupt-counter.ts';

const NAMES = { msix: 'MSI-X', msi: 'MSI', intx: 'INTx', none: 'none' } as const;

/** The message of a wait that took too long. */
export function explainSilence(
  device: PciDevice,
  counter: InterruptCounter,
  dma: DmaLog,
  vector: number,
  timeoutMs: number,
): string {
  const { mechanism } = counter.choice;
  const seen = [
    ...pending(device, counter, vector),
    ...others(counter, vector),
    ...lineElsewhere(device, counter),
    ...state(device),
    ...lastDma(dma),
  ];
  const what = seen.length === 0 ? 'the device raised none; does it call raiseInterrupt?' : seen.join('; ');
  return `no interrupt on ${NAMES[mechanism]} vector ${vector} of ${device.name} within ${timeoutMs} ms: ${what}`;
}

function pending(device: PciDevice, counter: InterruptCounter, vector: number): string[] {
  const { mechanism } = counter.choice;
  if (mechanism === 'intx') return intxHeld(device);
  const held = mechanism === 'msix' ? msixHeld(device, vector) : msiHeld(device, vector);
  return held === null ? [] : [`it is pending: ${held}`];
}

function intxHeld(device: PciDevice): string[] {
  if (!asserted(device)) return [];
  if ((device.config.get16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE) !== 0) {
    return ['the device asserts INTx, but COMMAND.INTX_DISABLE is set'];
  }
  return ['the device asserts INTx, which is masked; call endOfInterrupt() after serving the one before'];
}

function msixHeld(device: PciDevice, vector: number): string | null {
  const found = capability(device, 'msix');
  if (found === null) return null;
  const places = msixPlaces(found.spec);
  const byte = new DataView(new ArrayBuffer(1));
  // The handler, not the region: the bits are of interest also while the BAR is not decoded.
  device.region(places.pbaBar).handler?.read(places.pbaOffset + (vector >>> 3), 1, byte, 0);
  if ((byte.getUint8(0) & (1 << (vector & 7))) === 0) return null;
  const all = (device.config.get16(found.at + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_MASKALL) !== 0;
  return all
    ? 'the function mask of MSI-X is set'
    : 'its MSI-X table entry is masked, or the vector is not wired';
}

function msiHeld(device: PciDevice, vector: number): string | null {
  const found = capability(device, 'msi');
  if (found === null || !(found.spec.maskable ?? false)) return null;
  const wide = found.spec.address64 ?? true;
  const pendingBits = device.config.get32(found.at + (wide ? PCI_MSI_PENDING_64 : PCI_MSI_PENDING_32));
  const maskBits = device.config.get32(found.at + (wide ? PCI_MSI_MASK_64 : PCI_MSI_MASK_32));
  if ((pendingBits & maskBits & (1 << vector)) === 0) return null;
  return 'its bit in the MSI mask is set';
}

function others(counter: InterruptCounter, vector: number): string[] {
  const { vectors } = counter.choice;
  const found: string[] = [];
  if (counter.arrivedOn(vector) > 0)
    found.push(`${counter.arrivedOn(vector)} came before, each waited for already`);
  for (let other = 0; other < vectors; other++) {
    const count = counter.arrivedOn(other);
    if (other !== vector && count > 0) found.push(`vector ${other} had ${count}`);
  }
  return found;
}

/** The device asserted INTx though the test listens to messages: what raiseInterrupt does while those are off. */
function lineElsewhere(device: PciDevice, counter: InterruptCounter): string[] {
  if (counter.choice.mechanism === 'intx' || !asserted(device)) return [];
  return ['the device asserts INTx instead'];
}

function state(device: PciDevice): string[] {
  const found: string[] = [];
  for (const region of device.regions.values()) {
    const reason = device.accessible(region);
    if (reason !== null && !found.includes(reason)) found.push(reason);
  }
  if ((device.config.get16(PCI_COMMAND) & PCI_COMMAND_MASTER) === 0) found.push('bus master is off');
  return found;
}

function lastDma(dma: DmaLog): string[] {
  if (dma.inFlight > 0) return [`${dma.inFlight} DMA under way`];
  const last = dma.operations.at(-1);
  if (last === undefined || last.fault === null) return [];
  return [
    `its last DMA, a ${last.operation} of ${last.sizeBytes} bytes at 0x${last.iova.toString(16)}, faulted: ${last.fault}`,
  ];
}

function asserted(device: PciDevice): boolean {
  return (device.config.get16(PCI_STATUS) & PCI_STATUS_INTERRUPT) !== 0;
}

function capability(device: PciDevice, type: 'msix'): { spec: MsixSpec; at: number } | null;
function capability(device: PciDevice, type: 'msi'): { spec: MsiSpec; at: number } | null;
function capability(
  device: PciDevice,
  type: 'msi' | 'msix',
): { spec: MsiSpec | MsixSpec; at: number } | null {
  for (const [spec, at] of device.capabilityOffsets) {
    if ((spec.type === 'msi' || spec.type === 'msix') && spec.type === type) return { spec, at };
  }
  return null;
}
