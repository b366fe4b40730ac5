/* Public names of the memory room: live device memory, client memory, and the engine that moves bytes between them. */
export * from './attach.ts';
export * from './budget.ts';
export * from './classify.ts';
export * from './client-file.ts';
export * from './client-files.ts';
export * from './client-memory.ts';
export * from './consent-name.ts';
export * from './dma-engine.ts';
export * from './live-region.ts';
export * from './own-memory.ts';
export * from './registry.ts';
export * from './window.ts';
