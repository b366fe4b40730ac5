/*
 * The worlds that the probe's questions are put to.
 */
import { CoreWorld } from './core-world.ts';
import { LiveWorld } from './live-world.ts';
import type { ParityWorld } from './world.ts';

export const WORLDS: readonly (readonly [name: string, make: () => Promise<ParityWorld>])[] = [
  ['core', async () => new CoreWorld()],
  ['live', () => LiveWorld.start()],
];
