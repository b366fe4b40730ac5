/*
 * The worlds that the probe's questions are put to. Another one is a line here, what it has no counterpart for in
 * scope.ts, and a row in docs/linux-differences.md.
 */
import { CoreWorld } from './core-world.ts';
import { LocalServers, NoServers, OtherProcess } from './hosts.ts';
import { LiveWorld } from './live-world.ts';
import { SimulatedWorld } from './simulated-world.ts';
import type { ParityWorld } from './world.ts';

export const WORLDS: readonly (readonly [name: string, make: () => Promise<ParityWorld>])[] = [
  ['core', async () => new CoreWorld()],
  ['live', () => LiveWorld.start('live', (told) => new LocalServers(told), true)],
  ['two processes', () => LiveWorld.start('two processes', (told) => new OtherProcess(told), true)],
  ['in process', () => LiveWorld.start('in process', (told) => new NoServers(told), false)],
  ['simulated', async () => new SimulatedWorld('simulated', 'node-vfio')],
  ['simulated Linux', async () => new SimulatedWorld('simulated Linux', 'linux-6.12')],
];
