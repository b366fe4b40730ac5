/* Public names of the simulated host. */
export * from './design.ts';
export * from './designs.ts';
export * from './host.ts';
export type { State } from './layout.ts';
export { PROPERTIES, type Property, type Violation } from './machine.ts';
export * from './parse-program.ts';
export * from './program.ts';
export * from './session.ts';
