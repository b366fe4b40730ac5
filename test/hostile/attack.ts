/*
 * An attack from its begin to its end, for test files of one attack each: the process, an honest client on its other
 * device, and what must be true of both afterwards.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { openSys } from '../../src/sys/index.ts';
import { concat, u32, u64 } from '../support/bytes.ts';
import { access, RawClient } from '../support/raw-client.ts';
import { Target, Witness } from './target.ts';

/** How long the honest client may wait for an answer. */
const SLOWEST_MS = 2000;
const REGION_2_INFO = concat(u32(32), u32(0), u32(2), u32(0), u64(0), u64(0));
const O_NONBLOCK = 0o4000;

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A process under attack. */
export class Attack {
  readonly target: Target;
  readonly witness: Witness;

  private constructor(target: Target, witness: Witness) {
    this.target = target;
    this.witness = witness;
  }

  /** `maxOpenFiles`: the process's limit of fds. */
  static async begin(maxOpenFiles?: number): Promise<Attack> {
    const target = await Target.start(maxOpenFiles);
    const first = await RawClient.open(target.victimPath);
    // What the device keeps from its first client on: the memory of a region, and the file behind it.
    for (const fd of (await first.request(5, REGION_2_INFO)).fds) openSys().close(fd);
    await first.request(9, access(2, 0, 4));
    first.close();
    while ((await target.holdings()).attached) await pause(5);
    await target.remember();
    return new Attack(target, await Witness.start(target));
  }

  /** A client of the victim that has said VERSION. */
  client(): Promise<RawClient> {
    return RawClient.open(this.target.victimPath);
  }

  /** A client of the witness's device, once the witness has stopped. */
  async witnessClient(): Promise<RawClient> {
    await pause(50);
    return RawClient.open(join(this.target.folder, 'witness'));
  }

  /** The witness was served, the victim serves the next client, nothing is left. */
  async end(slowestMs: number = SLOWEST_MS): Promise<void> {
    const witnessed = await this.witness.stop();
    expect(witnessed.served).toBeGreaterThan(0);
    expect(witnessed.slowestMs).toBeLessThan(slowestMs);
    const next = await this.client();
    expect(await next.errno(9, access(0, 0, 4))).toBe(0);
    next.close();
    expect(await this.target.leaks()).toEqual([]);
    expect(this.target.exit).toBeNull();
    expect(this.target.errors).toBe('');
  }
}

/**
 * Clears O_NONBLOCK of the open file behind `fd`, which everybody shares who has an fd of it. Node does so with whatever a
 * child gets as stdin.
 */
export function makeBlocking(fd: number): void {
  spawnSync('true', { stdio: [fd, 'ignore', 'ignore'] });
  const flags = /^flags:\t0*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '';
  expect(Number.parseInt(flags, 8) & O_NONBLOCK).toBe(0);
}

/** Fills an eventfd up: the next write would wait for a reader. */
export function fill(fd: number): void {
  writeSync(fd, new Uint8Array(8).fill(0xff).fill(0xfe, 0, 1));
}
