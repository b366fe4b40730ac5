/*
 * All questions, in the probe's order.
 */
import { ACCESS_STEPS } from './cases-access.ts';
import { END_STEPS } from './cases-end.ts';
import { INFO_STEPS } from './cases-info.ts';
import { MAP_STEPS } from './cases-map.ts';
import { MMAP_STEPS } from './cases-mmap.ts';
import { PEER_STEPS } from './cases-peer.ts';
import type { Step } from './probe.ts';

export const STEPS: readonly Step[] = [
  ...INFO_STEPS,
  ...MAP_STEPS,
  ...ACCESS_STEPS,
  ...MMAP_STEPS,
  ...PEER_STEPS,
  ...END_STEPS,
];
