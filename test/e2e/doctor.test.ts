/*
 * `vfio doctor` on the machine that the tests run on, made worse where a test needs that.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { fakeQemu, REAL_QEMU, WITH_REAL_QEMU } from '../support/qemu.ts';
import { inFolder, main, type Result, vfio } from './support.ts';

interface Report {
  readonly ok: boolean;
  readonly checks: readonly { readonly check: string; readonly state: string; readonly message: string }[];
  readonly advice: readonly unknown[];
}

function stateOf({ stdout }: Result, check: string): string | undefined {
  return (JSON.parse(stdout) as Report).checks.find((finding) => finding.check === check)?.state;
}

describe('vfio doctor', () => {
  test('ends with exit code 0 where nothing is in the way, and leaves nothing behind', async () => {
    await inFolder(async (folder) => {
      const result = vfio(['doctor', '--json', '--qemu', fakeQemu(folder)], { XDG_RUNTIME_DIR: folder });
      const report = JSON.parse(result.stdout) as Report;
      expect(report.checks.filter((finding) => finding.state === 'problem')).toEqual([]);
      expect({ ok: report.ok, code: result.code }).toEqual({ ok: true, code: 0 });
      expect(report.advice.length).toBeGreaterThan(0);
      expect(stateOf(result, 'sockets')).toBe('ok');
      expect(readdirSync(folder)).toEqual(['qemu']);
    });
  });

  test('ends with exit code 1 and the next step where something is', async () => {
    await inFolder(async (folder) => {
      const old = fakeQemu(folder, { version: '10.0.2', hasVfioUserPci: false });
      const { code, stdout, stderr } = vfio(['doctor'], { VFIO_QEMU: old });
      expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
      expect(stdout).toMatch(/^problem {2}qemu .*is QEMU 10\.0\.2/m);
      expect(stdout).toContain('./configure');
      expect(stdout).toContain('1 in the way');
    });
  });

  test('reads the limits of the very process', async () => {
    await inFolder(async (folder) => {
      const script = 'ulimit -n 200 && exec "$@"';
      const words = [process.execPath, main, 'doctor', '--json', '--qemu', fakeQemu(folder)];
      const { status, stdout, stderr } = spawnSync('/bin/sh', ['-c', script, 'sh', ...words], {
        encoding: 'utf8',
      });
      expect(status).toBe(1);
      expect(stateOf({ code: status, stdout, stderr }, 'open-files')).toBe('problem');
    });
  });

  test('sees a runtime folder that takes no sockets', async () => {
    await inFolder(async (folder) => {
      const gone = join(folder, 'gone');
      const result = vfio(['doctor', '--json', '--qemu', fakeQemu(folder)], { XDG_RUNTIME_DIR: gone });
      expect(stateOf(result, 'sockets')).toBe('note');
    });
  });

  describe.skipIf(REAL_QEMU === null)(`with ${WITH_REAL_QEMU}`, () => {
    test('finds it', () => {
      expect(stateOf(vfio(['doctor', '--json', '--qemu', REAL_QEMU!]), 'qemu')).toBe('ok');
    });
  });
});
