/** Devices that come with the package. */
export { Edu, type EduEvents, type EduFault, type EduOptions } from './edu/device.ts';
export { EDU_REGISTERS } from './edu/registers.ts';
export * from './edu/spec.ts';
export { Ram, type RamOptions } from './ram/device.ts';
export { RAM_REGISTERS } from './ram/registers.ts';
export * from './ram/spec.ts';
export { Serial, type SerialOptions } from './serial/device.ts';
export type { SerialEnd, SerialLine } from './serial/line.ts';
export { SERIAL_REGISTERS } from './serial/registers.ts';
export * from './serial/spec.ts';
