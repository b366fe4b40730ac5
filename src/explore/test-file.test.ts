import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { designNamed, findingOf, NASTY, NASTY_PROGRAM, programNamed } from '../../test/support/findings.ts';
import type { Design, Program, Property } from '../sim/index.ts';
import { testFile } from './test-file.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const VITEST = join(ROOT, 'node_modules/vitest/vitest.mjs');

let scratch: string;

beforeAll(() => {
  // Below test/, where tsconfig.json says what vfio/sim is; not named *.test.ts, so that no other run picks it up.
  scratch = mkdtempSync(join(ROOT, 'test/found-'));
});

afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});

interface Outcome {
  readonly exit: number | null;
  readonly tests: readonly { readonly status: string; readonly title: string; readonly text: string }[];
  readonly output: string;
}

/** Runs the text as a test file in a process of its own. */
function run(name: string, source: string): Outcome {
  const file = join(scratch, `${name}.ts`);
  const config = join(scratch, `${name}.config.mjs`);
  writeFileSync(file, source);
  writeFileSync(
    config,
    `export default { root: ${JSON.stringify(ROOT)}, resolve: { tsconfigPaths: true }, test: { include: [${JSON.stringify(file)}] } };\n`,
  );
  const args = [VITEST, 'run', '--config', config, '--reporter=json'];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: ROOT,
    encoding: 'utf8',
    timeout: 60_000,
    env: { ...process.env, NO_COLOR: '1' },
  });
  const begin = stdout.indexOf('{"numTotal');
  const output = `${stdout}${stderr}`;
  if (begin < 0) return { exit: status, tests: [], output };
  const report = JSON.parse(stdout.slice(begin)) as {
    testResults: { assertionResults: { status: string; title: string; failureMessages: string[] }[] }[];
  };
  const tests = report.testResults.flatMap(({ assertionResults }) =>
    assertionResults.map(({ status, title, failureMessages }) => ({
      status,
      title,
      text: failureMessages.join('\n'),
    })),
  );
  return { exit: status, tests, output };
}

function found(program: Program, design: Design, property: Property): string {
  return testFile(program, design, findingOf(program, design, property), property);
}

const DECODE = programNamed('decode');
const RFC = designNamed('rfc-2021');

describe('a test file', { timeout: 120_000 }, () => {
  test('fails under the design that breaks the property, with the sentence', () => {
    const { exit, tests } = run('broken', found(DECODE, RFC, 'R5'));
    expect(exit).toBe(1);
    expect(tests.map(({ status }) => status)).toEqual(['failed', 'failed']);
    for (const { text } of tests) expect(text).toContain('BAR2 of gpu was taken away, but window is still');
  });

  test('passes under a design that keeps it; what cannot be replayed is skipped, and the search decides', () => {
    const source = found(DECODE, RFC, 'R5').replace("name === 'rfc-2021'", "name === 'node-vfio'");
    const { exit, tests } = run('fixed', source);
    expect(exit).toBe(0);
    expect(tests.map(({ status }) => status)).toEqual(['skipped', 'passed']);
  });

  test('fails under a design that breaks it in another order of steps, although the moves cannot be taken', () => {
    // linux-6.12 has one step less in the setup, so the moves for rfc-2021 end there; but R6 breaks in it as well.
    const source = found(DECODE, RFC, 'R6').replace("name === 'rfc-2021'", "name === 'linux-6.12'");
    const { exit, tests } = run('other', source);
    expect(exit).toBe(1);
    expect(tests.map(({ status }) => status)).toEqual(['skipped', 'failed']);
  });

  test('holds a design without a name of ours as a literal, and any names at all', () => {
    const design: Design = { ...designNamed('linux-6.12'), name: NASTY };
    const source = found(NASTY_PROGRAM, design, 'R6');
    expect(source).toContain('const design: Design = {');
    expect(source).not.toContain(NASTY);
    const broken = run('nasty', source);
    expect(broken.tests.map(({ status }) => status)).toEqual(['failed', 'failed']);
    expect(broken.tests[0]!.title).toContain(NASTY);
    const ours = `const design: Design = ${JSON.stringify(designNamed('node-vfio'))};`;
    const fixed = run(
      'nasty-fixed',
      source.replace(/const design: Design = [\s\S]*?\n};/, () => ours),
    );
    expect(fixed.tests.map(({ status }) => status)).not.toContain('failed');
    expect(fixed.exit).toBe(0);
  });
});

describe('making a test file', () => {
  test('names a known design, and writes a changed one out', () => {
    expect(found(DECODE, RFC, 'R5')).toContain("DESIGNS.find(({ name }) => name === 'rfc-2021')");
    expect(found(DECODE, { ...RFC, park: true }, 'R5')).toContain('const design: Design = {');
  });

  test('refuses moves that do not break the property, or cannot be taken', () => {
    const finding = findingOf(DECODE, RFC, 'R5');
    expect(() => testFile(DECODE, RFC, finding, 'R8')).toThrowError(
      expect.objectContaining({ code: 'EINVAL', message: expect.stringContaining('do not break R8') }),
    );
    expect(() => testFile(DECODE, designNamed('node-vfio'), finding, 'R5')).toThrowError(
      expect.objectContaining({ code: 'EINVAL', message: expect.stringContaining('move 13 of 16') }),
    );
  });
});
