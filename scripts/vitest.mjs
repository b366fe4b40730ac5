/*
 * Runs vitest and counts. Plain JavaScript, for scripts that run before anything is compiled.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** Sets up what is missing; false when that failed. */
export function setUp() {
  const script = join(root, 'scripts/setup.mjs');
  return spawnSync(process.execPath, [script], { cwd: root, stdio: 'inherit' }).status === 0;
}

/** Runs vitest with `args` and returns how many tests passed, failed and were skipped. A file that broke is a failure. */
export function runVitest(args) {
  const scratch = mkdtempSync(join(tmpdir(), 'vfio-test-'));
  const report = join(scratch, 'report.json');
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const all = ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`, ...args];
  const result = spawnSync(process.execPath, [vitest, ...all], { cwd: root, stdio: 'inherit' });
  const counts = { passed: 0, failed: 0, skipped: 0 };
  if (existsSync(report)) {
    const told = JSON.parse(readFileSync(report, 'utf8'));
    const brokenFiles = told.testResults.filter(
      (file) => file.status === 'failed' && file.assertionResults.every((test) => test.status !== 'failed'),
    );
    counts.passed = told.numPassedTests;
    counts.skipped = told.numPendingTests + told.numTodoTests;
    counts.failed = told.numFailedTests + brokenFiles.length;
  }
  rmSync(scratch, { recursive: true, force: true });
  if (result.status !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}

/** Prints the closing line for several runs together, and ends the process. A run without any test has failed. */
export function finish(runs) {
  const sum = (name) => runs.reduce((total, counts) => total + counts[name], 0);
  const passed = sum('passed');
  const failed = passed === 0 ? Math.max(sum('failed'), 1) : sum('failed');
  const skipped = sum('skipped');
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
  process.exit(failed === 0 ? 0 : 1);
}
