/* Public names of the model checker. */

export * from './matrix.ts';
export * from './programs.ts';
export * from './random.ts';
export * from './search.ts';
export * from './storm.ts';
export * from './trace.ts';
