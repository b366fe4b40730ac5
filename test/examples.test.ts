/*
 * The examples that the README shows: they are as short as it says, and they run, the driver against the device in
 * the same process and against `vfio serve`.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LineChild } from '../src/cli/demo/child.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const driver = join(root, 'examples/counter-driver.ts');

/** Runs the driver as its reader would. The counter is stepped three times, and its limit is three. */
function runDriver(...args: readonly string[]): string {
  const result = spawnSync(process.execPath, ['--import', 'tsx', driver, ...args], {
    cwd: root,
    encoding: 'utf8',
    timeout: 20_000,
  });
  return `${result.stdout}${result.stderr}`.trim();
}

test.each([
  ['counter.ts', 60],
  ['counter-driver.ts', 30],
  ['counter.test.ts', 20],
])('%s has less than %i lines', (name, limit) => {
  const lines = readFileSync(join(root, 'examples', name), 'utf8')
    .trimEnd()
    .split('\n');
  expect(lines.length).toBeLessThan(limit);
});

test('the test of the counter has a body of ten lines at the most', () => {
  const text = readFileSync(join(root, 'examples/counter.test.ts'), 'utf8');
  const bodies = [...text.matchAll(/=> \{\n([\s\S]*?)\n\}\);/g)].map((match) => match[1]!.split('\n').length);
  expect(bodies).toHaveLength(1);
  expect(bodies[0]).toBeLessThanOrEqual(10);
});

test('node:test runs such a test too, and its process ends', () => {
  const file = join(root, 'test/support/counter.node-test.ts');
  const args = ['--import', 'tsx', '--test', '--test-reporter=tap', file];
  const result = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8', timeout: 60_000 });
  expect(`${result.stdout}${result.stderr}`).toContain('# pass 1\n');
  expect(result.status).toBe(0);
});

test('the driver drives the device in its own process', () => {
  expect(runDriver()).toBe('status 1, count 3');
});

describe('the device behind a socket', () => {
  const folder = mkdtempSync(join(tmpdir(), 'vfio-examples-'));
  const socket = join(folder, 'counter.sock');
  let server: LineChild;

  beforeAll(async () => {
    const main = join(root, 'dist/cli/main.js');
    const args = [main, 'serve', join(root, 'examples/counter.ts'), `--socket-path=${socket}`, '--json'];
    server = new LineChild({ args });
    const ready = await server.line((line) => line.includes('"ready"'));
    expect(JSON.parse(ready ?? '{}')).toMatchObject({ event: 'ready', device: 'counter', socket });
  });

  afterAll(async () => {
    expect((await server.stop()).code).toBe(0);
    rmSync(folder, { recursive: true });
  });

  test('is driven by the same driver, one client after the other', () => {
    expect(runDriver(socket)).toBe('status 1, count 3');
    expect(runDriver(socket)).toBe('status 1, count 3');
  });
});
