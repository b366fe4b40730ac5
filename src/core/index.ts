/* Public names of the core room: the rules of device memory, written once for every world. */
export * from './address-space.ts';
export * from './device.ts';
export * from './device-file.ts';
export * from './dma.ts';
export * from './error.ts';
export * from './events.ts';
export * from './interval-tree.ts';
export * from './irq.ts';
export * from './offset.ts';
export * from './region.ts';
export * from './region-memory.ts';
export * from './set-irqs.ts';
export * from './testing.ts';
export * from './vma.ts';
