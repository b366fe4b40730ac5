import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { message } from '../../../test/support/raw-client.ts';
import type { TracedMessage } from '../../server/index.ts';
import { TraceFile, type TraceFileOptions } from './trace-file.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vfio-trace-'));
  path = join(folder, 'talk.txt');
});
afterEach(() => rmSync(folder, { recursive: true }));

const traced = (id: number): TracedMessage => ({
  timeMs: performance.timeOrigin + performance.now(),
  device: 'edu',
  sender: 'client',
  socket: 'main',
  bytes: message(13, id, new Uint8Array(0)),
  fds: 0,
});

const written = (): string[] => readFileSync(path, 'utf8').trimEnd().split('\n');

/** Adds `count` messages in rounds, between which the disk gets its turn. */
async function trace(options: TraceFileOptions, rounds: number, count: number): Promise<string[]> {
  const ends: string[] = [];
  const file = TraceFile.open(path, { ...options, onEnd: (reason) => ends.push(reason) });
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < count; i++) file.add(traced(round * count + i));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await file.close();
  return ends;
}

describe('TraceFile', () => {
  it('writes a line a message, in order, for its owner alone', async () => {
    expect(await trace({}, 10, 500)).toEqual([]);
    const lines = written();
    expect(lines).toHaveLength(5000);
    for (const [id, line] of lines.entries()) {
      expect(line).toMatch(
        new RegExp(`^ *\\d+\\.\\d{3} edu > ${id.toString(16).padStart(4, '0')} DEVICE_RESET$`),
      );
    }
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('ends at its limit, says so in the file and to its owner, once', async () => {
    const ends = await trace({ limitBytes: 1000 }, 5, 100);
    expect(ends).toEqual(['it has 1000 bytes, its limit']);
    const lines = written();
    expect(lines.at(-1)).toBe('the trace ends here: 1000 bytes are its limit');
    expect(lines.length).toBeGreaterThan(20);
    expect(lines.slice(0, -1).join('\n').length).toBeLessThanOrEqual(1000);
  });

  it('counts what it cannot hold while the disk is busy', async () => {
    await trace({ backlogBytes: 1000 }, 1, 500);
    const lines = written();
    const [, count] = /^(\d+) messages left out: they came too fast$/.exec(lines.at(-1)!)!;
    expect(lines.length - 1 + Number(count)).toBe(500);
    expect(lines.length).toBeLessThan(60);
  });

  it('is complete when it is closed', async () => {
    const file = TraceFile.open(path);
    for (let i = 0; i < 10; i++) file.add(traced(i));
    await file.close();
    expect(written()).toHaveLength(10);
  });

  it('ends when the disk is full', async () => {
    path = '/dev/full';
    expect(await trace({}, 2, 10)).toEqual([expect.stringContaining('ENOSPC')]);
  });

  it('says which file cannot be made', () => {
    expect(() => TraceFile.open(join(folder, 'none', 'talk.txt'))).toThrow(
      /none\/talk.txt cannot be written/,
    );
  });
});
