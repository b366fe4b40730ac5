/* Public names of the model checker. */

export * from './explain.ts';
export * from './hurricane.ts';
export * from './matrix.ts';
export * from './picture.ts';
export * from './programs.ts';
export * from './random.ts';
export * from './replay.ts';
export * from './rules.ts';
export * from './search.ts';
export * from './storm.ts';
export * from './test-file.ts';
export * from './timeline.ts';
export * from './trace.ts';
