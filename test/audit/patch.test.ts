/*
 * The patches that an audit writes: they apply with patch(1) and git, what they make is C, the audit has nothing left to
 * say about the coding, and the three objects of Linux 7.3 compile.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { audit, patchOf } from '../../src/audit/index.ts';
import { cacheFolder } from '../../src/qemu/cache-folder.ts';
import {
  AUDIT_FOLDER,
  DRIVERS_FOLDER,
  type DriverEntry,
  driverEntries,
  driverText,
  isPart,
} from './corpus.ts';

const scratch = mkdtempSync(join(tmpdir(), 'vfio-audit-patch-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const run = (program: string, args: readonly string[], cwd: string): string =>
  execFileSync(program, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

const overwriting = Object.entries(driverEntries()).filter(
  (pair): pair is [string, DriverEntry] =>
    !isPart(pair[1]) && pair[1].findings.some((finding) => finding.rule === 'pgoff-overwritten'),
);

describe('the corpus', () => {
  let fixed = 0;

  test.each(overwriting)('%s', async (file, entry) => {
    const folder = mkdtempSync(join(scratch, 'driver-'));
    const files = [file, ...(entry.with ?? [])];
    for (const name of ['toy.h', ...files]) cpSync(join(DRIVERS_FOLDER, name), join(folder, name));
    const paths = files.map((name) => join(folder, name));
    const before = await audit({ paths, rules: ['pgoff-overwritten'] });
    const patch = patchOf(before);
    const reasons = before.fixes.filter((fix) => fix.edits.length === 0);
    if (patch === '') {
      // Nothing is silent: what cannot be fixed says why.
      expect(reasons.every((fix) => fix.reason !== '')).toBe(true);
      expect(reasons.length).toBeGreaterThan(0);
      return;
    }
    writeFileSync(join(folder, 'fix.diff'), patch);
    run('git', ['apply', '--check', 'fix.diff'], folder);
    expect(run('patch', ['-p1', '-i', 'fix.diff'], folder)).not.toMatch(/fuzz|offset/);
    const after = await audit({ paths, rules: ['pgoff-overwritten', 'pgoff-own-coding'] });
    expect(after.report.findings).toEqual([]);
    const syntax = [
      '-fsyntax-only',
      '-std=gnu11',
      '-Wall',
      '-Werror',
      '-Wno-unused-function',
      '-Wno-unused-variable',
      '-Wno-misleading-indentation',
    ];
    for (const name of files) run('gcc', [...syntax, `-I${AUDIT_FOLDER}stub`, name], folder);
    fixed++;
  });

  test('canary: most of them could be fixed', () => {
    expect(fixed).toBeGreaterThan(overwriting.length / 3);
  });

  test('a clean driver gets no patch', async () => {
    const folder = mkdtempSync(join(scratch, 'clean-'));
    writeFileSync(join(folder, 'driver.c'), driverText('clean-at-mmap.c'));
    expect(patchOf(await audit({ paths: [folder] }))).toBe('');
  });
});

const OBJECTS = ['platform/vfio_platform_common', 'fsl-mc/vfio_fsl_mc', 'cdx/main'].map(
  (name) => `drivers/vfio/${name}`,
);
const MINUTES = 60_000;

describe('Linux 7.3', () => {
  const tree = join(cacheFolder(), 'linux-source/7.3');
  const tools = ['gcc', 'make', 'flex', 'bison', 'bc'].filter((tool) => {
    try {
      execFileSync('which', [tool], { stdio: 'ignore' });
      return false;
    } catch {
      return true;
    }
  });
  if (!existsSync('/usr/include/libelf.h')) tools.push('libelf-dev');
  const isReady = existsSync(join(tree, '.complete')) && tools.length === 0 && process.arch === 'x64';
  if (!isReady && process.env['VFIO_CI'] === undefined) {
    const missing =
      tools.length > 0 ? `${tools.join(', ')} missing` : 'on x64: node scripts/linux-sources.mjs 7.3';
    test.skip(`patched objects compile in the tree (${missing})`, () => {});
    return;
  }

  test(
    'the patch for platform, fsl-mc and cdx applies, is clean, and the objects compile',
    async () => {
      const patched = join(scratch, 'tree');
      const patch = patchOf(await audit({ paths: [join(tree, 'drivers/vfio')] }));
      expect([...patch.matchAll(/^\+\+\+ b\/(.*)\.c$/gm)].map((match) => match[1]).toSorted()).toEqual(
        OBJECTS.toSorted(),
      );
      // A tree of links, in which the three files are files.
      run('cp', ['-as', tree, patched], scratch);
      for (const name of OBJECTS) {
        rmSync(join(patched, `${name}.c`));
        writeFileSync(join(patched, `${name}.c`), readFileSync(join(tree, `${name}.c`)));
      }
      writeFileSync(join(scratch, 'fix.diff'), patch);
      expect(run('patch', ['-p1', '-i', '../fix.diff'], patched)).not.toMatch(/fuzz|offset/);
      const after = await audit({ paths: OBJECTS.map((name) => join(patched, `${name}.c`)) });
      expect(after.report.handlers.map((handler) => handler.coding)).toEqual(['kept', 'kept', 'kept']);
      expect(after.report.findings.filter((finding) => finding.severity !== 'note')).toEqual([]);

      // All three drivers can be built for x86 with CONFIG_COMPILE_TEST, which allmodconfig sets.
      const make = ['-s', `O=${join(scratch, 'build')}`, 'ARCH=x86_64'];
      run('make', [...make, 'allmodconfig'], patched);
      run('make', [...make, 'prepare', 'modules_prepare'], patched);
      run('make', [...make, ...OBJECTS.map((name) => `${name}.o`)], patched);
      for (const name of OBJECTS) expect(existsSync(join(scratch, 'build', `${name}.o`))).toBe(true);
    },
    15 * MINUTES,
  );
});
