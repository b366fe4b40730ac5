/*
 * What a serving process holds, as the kernel sees it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type { Serving } from '../../e2e/support.ts';

/** Open file descriptors. */
export function openFiles({ child }: Serving): number {
  return readdirSync(`/proc/${child.process.pid}/fd`).length;
}

/** Memory that is in use now, in KiB. */
export function residentKiB({ child }: Serving): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.process.pid}/status`, 'utf8'))![1]);
}
