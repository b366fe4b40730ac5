/* Public names for authors of PCI devices. */
export type { MaybePromise } from '../../core/index.ts';
export * from '../registers.ts';
export { type RegionPart, SplitHandler, UNANSWERED } from '../split-handler.ts';
export { BusMasterPort, type DmaObserver } from './bus-master.ts';
export type { CapabilityOffsets } from './capabilities.ts';
export { ConfigImage, ConfigSpace } from './config-space.ts';
export { PciDevice, type PciReset } from './pci-device.ts';
export type * from './spec.ts';
