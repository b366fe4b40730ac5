/**
 * vfio: VFIO in user space. What is public, by room; each room is also a subpath, such as `vfio/client`.
 */
export * from './abi/index.ts';
export * from './bus/index.ts';
export * from './client/index.ts';
export * from './core/index.ts';
export * from './devices/index.ts';
export * from './drivers/index.ts';
// The rest of the memory room serves those who build a server of their own: `vfio/memory`.
export { attachMemory, SealedMemory } from './memory/index.ts';
export * from './server/index.ts';
export * from './sys/index.ts';
