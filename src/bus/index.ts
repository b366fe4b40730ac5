/* Public names for authors of devices of every kind. */
export * from './fsl-mc.ts';
export * from './mdev.ts';
export * from './pci/index.ts';
export { PlainDevice, type PlainRegionSpec } from './plain-device.ts';
export * from './platform.ts';
