/* Public names of the testing room: a PCI device class under test, without a VM and with any test runner. */

export { DeviceUnderTest, testDevice } from './device-under-test.ts';
export type { DmaOperation } from './dma-log.ts';
export { GuestMemory, type GuestMemoryOptions } from './guest-memory.ts';
export {
  type FieldValues,
  GuestRegister,
  type GuestRegisterArray,
  type GuestRegisters,
} from './guest-registers.ts';
export type { IncidentRecord } from './incident-log.ts';
export type { InterruptMechanism } from './interrupt-mechanism.ts';
export type { TestDeviceOptions } from './options.ts';
export type { MappedPeer, PeerOptions } from './peer.ts';
