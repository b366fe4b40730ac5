/*
 * Which bus driver's interface a device speaks, as VFIO_DEVICE_GET_INFO says it. A mediated device has none of its own: it
 * reports the flag of the bus driver whose regions and interrupts it imitates, and clients cannot tell the difference.
 */
import {
  VFIO_DEVICE_API_AMBA_STRING,
  VFIO_DEVICE_API_AP_STRING,
  VFIO_DEVICE_API_CCW_STRING,
  VFIO_DEVICE_API_PCI_STRING,
  VFIO_DEVICE_API_PLATFORM_STRING,
  VFIO_DEVICE_FLAGS_AMBA,
  VFIO_DEVICE_FLAGS_AP,
  VFIO_DEVICE_FLAGS_CCW,
  VFIO_DEVICE_FLAGS_FSL_MC,
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_PLATFORM,
} from '../abi/vfio.ts';
import type { DeviceKind } from './device.ts';

/** VFIO_DEVICE_API_*_STRING of linux/vfio.h, which has none for fsl-mc: no mediated device speaks that. */
export type DeviceApi =
  | typeof VFIO_DEVICE_API_PCI_STRING
  | typeof VFIO_DEVICE_API_PLATFORM_STRING
  | typeof VFIO_DEVICE_API_AMBA_STRING
  | typeof VFIO_DEVICE_API_CCW_STRING
  | typeof VFIO_DEVICE_API_AP_STRING;

const FLAGS: Readonly<Record<DeviceApi, number>> = {
  [VFIO_DEVICE_API_PCI_STRING]: VFIO_DEVICE_FLAGS_PCI,
  [VFIO_DEVICE_API_PLATFORM_STRING]: VFIO_DEVICE_FLAGS_PLATFORM,
  [VFIO_DEVICE_API_AMBA_STRING]: VFIO_DEVICE_FLAGS_AMBA,
  [VFIO_DEVICE_API_CCW_STRING]: VFIO_DEVICE_FLAGS_CCW,
  [VFIO_DEVICE_API_AP_STRING]: VFIO_DEVICE_FLAGS_AP,
};

/** The VFIO_DEVICE_FLAGS_* that name the bus driver; 0 for an mdev that says nothing. */
export function apiFlags(kind: DeviceKind, api: DeviceApi | null): number {
  if (kind === 'fsl-mc') return VFIO_DEVICE_FLAGS_FSL_MC;
  return api === null ? 0 : FLAGS[api];
}

/**
 * What a client takes a device for that reports these flags: an mdev that speaks vfio-pci is a PCI device to it. Channel
 * and crypto devices (CCW, AP) are always mediated. Null: the flags name no bus driver that we know.
 */
export function kindOfFlags(flags: number): DeviceKind | null {
  if ((flags & VFIO_DEVICE_FLAGS_PCI) !== 0) return 'pci';
  if ((flags & (VFIO_DEVICE_FLAGS_PLATFORM | VFIO_DEVICE_FLAGS_AMBA)) !== 0) return 'platform';
  if ((flags & VFIO_DEVICE_FLAGS_FSL_MC) !== 0) return 'fsl-mc';
  return (flags & (VFIO_DEVICE_FLAGS_CCW | VFIO_DEVICE_FLAGS_AP)) !== 0 ? 'mdev' : null;
}
