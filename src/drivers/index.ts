/** User-space drivers: each drives its device through a DeviceHandle, wherever the device is. */
export { EduDriver, type EduDriverOptions } from './edu.ts';
export { IrqWaiter } from './irq-waiter.ts';
export { findCapability, setMsiEnable } from './pci-config.ts';
