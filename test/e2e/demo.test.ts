/*
 * `vfio demo`: every step is told and every step is ok, in one server process and in two.
 */
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, expect, test } from 'vitest';
import { LineChild } from '../../src/cli/demo/child.ts';
import { inFolder, main, vfio } from './support.ts';

interface Step {
  readonly rule: string;
  readonly step: string;
  readonly expected: string;
  readonly seen: string;
  readonly ok: boolean;
}

function steps(stdout: string): Step[] {
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Step);
}

const leftovers = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith('vfio-demo-'));

describe.each([
  ['one server process', []],
  ['two server processes', ['--two-servers']],
])('demo with %s', (_what, flags) => {
  test('goes through the rules', () => {
    const before = leftovers();
    const { code, stdout, stderr } = vfio(['demo', '--json', ...flags]);
    expect(stderr).toBe('');
    const told = steps(stdout);
    expect(told.filter((step) => !step.ok)).toEqual([]);
    expect(code).toBe(0);
    expect(new Set(told.map((step) => step.rule))).toEqual(
      new Set(['R1', 'R2', 'R3', 'R4', 'R5', 'R6', 'R7', 'R8', 'R10']),
    );
    for (const step of told) {
      expect(Object.keys(step).slice(0, 5)).toEqual(['rule', 'step', 'expected', 'seen', 'ok']);
    }
    expect(leftovers()).toEqual(before);
  });

  test('moves a larger file, not a multiple of the buffer', () => {
    const { code, stdout } = vfio(['demo', '--json', '--file=/usr/share/misc/pci.ids', ...flags]);
    expect(code).toBe(0);
    expect(steps(stdout).some((step) => step.rule === 'R2' && /^[0-9]{7} bytes/.test(step.step))).toBe(true);
  });
});

test.each<NodeJS.Signals>(['SIGINT', 'SIGTERM', 'SIGHUP'])(
  '%s ends it and leaves no files',
  async (signal) => {
    await inFolder(async (folder) => {
      const demo = new LineChild({
        args: [main, 'demo', '--json', '--two-servers'],
        environment: { TMPDIR: folder },
      });
      // The first step is told: servers and sockets are there.
      await demo.line();
      expect(readdirSync(folder)).toHaveLength(1);
      demo.process.kill(signal);
      expect(await demo.ended).toEqual({ code: null, signal });
      expect(readdirSync(folder)).toEqual([]);
    });
  },
);

test('the reason of a fault comes from the server: by name in one process, as lost memory across two', () => {
  const reasons = (flags: string[]) =>
    steps(vfio(['demo', '--json', ...flags]).stdout)
      .filter((step) => step.seen.startsWith('fault: '))
      .map((step) => `${step.rule} ${step.seen}`);
  expect(reasons([])).toEqual(['R4 fault: memory decode is off', 'R6 fault: device is released']);
  expect(reasons(['--two-servers'])).toEqual(['R4 fault: memory was lost', 'R6 fault: memory was lost']);
});

test('the story for people sets the records of Linux beside the steps', () => {
  const { code, stdout } = vfio(['demo']);
  expect(code).toBe(0);
  expect(stdout).toContain(
    'Linux 7.3 type1, recorded: the DMA still reads the memory of the device that was closed',
  );
  expect(stdout.trimEnd().split('\n').at(-1)).toMatch(/^\d+ steps, all as they must be, /);
});
