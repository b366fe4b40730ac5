/*
 * What a client does with a device, in one line each, for tests of devices: accesses to regions and config space as
 * bytes in hex, low byte first as on the wire.
 */

import { VFIO_PCI_CONFIG_REGION_INDEX } from '../../abi/index.ts';
import { assert, type VfioDevice } from '../../core/index.ts';

/** Reads `count` bytes of a region as a client's message would. Throws on an errno. */
export function regionRead(device: VfioDevice, index: number, offset: number, count: number): string {
  const bytes = new Uint8Array(count);
  const errno = device.region(index).read(offset, count, new DataView(bytes.buffer), 0);
  assert(errno === 0, `read of region ${index} at ${offset}: errno ${String(errno)}`);
  return toHex(bytes);
}

/** Writes hex bytes to a region as a client's message would. Throws on an errno. */
export function regionWrite(device: VfioDevice, index: number, offset: number, hex: string): void {
  const bytes = fromHex(hex);
  const errno = device.region(index).write(offset, bytes.length, new DataView(bytes.buffer), 0);
  assert(errno === 0, `write of region ${index} at ${offset}: errno ${String(errno)}`);
}

/** Reads config space. */
export function readConfig(device: VfioDevice, offset: number, count: number): string {
  return regionRead(device, VFIO_PCI_CONFIG_REGION_INDEX, offset, count);
}

/** Writes config space. */
export function writeConfig(device: VfioDevice, offset: number, hex: string): void {
  regionWrite(device, VFIO_PCI_CONFIG_REGION_INDEX, offset, hex);
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
