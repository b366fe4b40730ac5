/*
 * `vfio audit` as a user runs it: output, files, exit codes.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { DRIVERS_FOLDER } from '../audit/corpus.ts';
import { vfio } from './support.ts';

const scratch = mkdtempSync(join(tmpdir(), 'vfio-e2e-audit-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function copied(...names: string[]): string {
  const folder = mkdtempSync(join(scratch, 'drivers-'));
  for (const name of ['toy.h', ...names]) cpSync(join(DRIVERS_FOLDER, name), join(folder, name));
  return folder;
}

describe('vfio audit', () => {
  test('a driver that overwrites vm_pgoff: exit 1, the line with a caret, a patch, SARIF', () => {
    const folder = copied('pfn-direct.c');
    const patch = join(folder, 'fix.diff');
    const sarif = join(folder, 'audit.sarif');
    const { code, stdout, stderr } = vfio(['audit', folder, '--patch', patch, '--sarif', sarif]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    const lines = stdout.split('\n');
    const at = lines.findIndex((line) => line.includes('[pgoff-overwritten]'));
    expect(lines[at]).toMatch(/pfn-direct\.c:\d+:\d+: warning: /);
    const column = lines[at + 1]!.indexOf('vma->vm_pgoff =');
    expect(column).toBeGreaterThan(0);
    expect(lines[at + 2]!.indexOf('^')).toBe(column);
    expect(stdout).toMatch(/parsed \d+ of \d+ functions of interest \(100\.0 %\)/);
    expect(readFileSync(patch, 'utf8')).toMatch(/^--- a\/pfn-direct\.c\n\+\+\+ b\/pfn-direct\.c\n@@ /);
    expect(JSON.parse(readFileSync(sarif, 'utf8'))).toMatchObject({ version: '2.1.0' });
  });

  test('a clean driver: exit 0; notes alone do not fail', () => {
    expect(vfio(['audit', copied('clean-at-mmap.c')]).code).toBe(0);
    const noted = vfio(['audit', copied('bounds-private.c')]);
    expect(noted.stdout).toContain('note: ');
    expect(noted.code).toBe(0);
  });

  test('--json is one object, --quiet is silent', () => {
    const folder = copied('pfn-direct.c');
    const { code, stdout } = vfio(['audit', folder, '--json']);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      handlers: [{ function: 'pfn_direct_mmap', coding: 'pfn' }],
      findings: [{ rule: 'pgoff-overwritten', severity: 'warning' }],
    });
    expect(vfio(['audit', folder, '--quiet'])).toMatchObject({ code: 1, stdout: '' });
  });

  test('a baseline makes the next run clean', () => {
    const folder = copied('pfn-direct.c');
    const baseline = join(folder, 'known.json');
    writeFileSync(baseline, vfio(['audit', folder, '--json']).stdout);
    const { code, stdout } = vfio(['audit', folder, '--baseline', baseline]);
    expect(code).toBe(0);
    expect(stdout).toContain('1 suppressed');
  });

  test('a patch that cannot be written: exit 1 and the next step', () => {
    const { code, stderr } = vfio(['audit', copied('pfn-direct.c'), '--patch', '/nowhere/fix.diff']);
    expect(code).toBe(1);
    expect(stderr).toContain('/nowhere/fix.diff cannot be written');
    expect(stderr).toContain('Name another file');
  });

  test('a path that is not there: exit 1 and the next step', () => {
    const { code, stderr } = vfio(['audit', '/nowhere/linux']);
    expect(code).toBe(1);
    expect(stderr).toContain('/nowhere/linux is not there. Name a kernel tree');
  });
});
