/*
 * The auditor's corpus is well-formed, its drivers are C, and what it says of kernels is in their sources (where
 * `node scripts/linux-sources.mjs` has fetched them).
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { cacheFolder } from '../../src/qemu/cache-folder.ts';
import {
  AUDIT_FOLDER,
  DRIVERS_FOLDER,
  type DriverEntry,
  driverEntries,
  driverFiles,
  driverText,
  isPart,
  KERNEL_VERSIONS,
  kernelTable,
  mutated,
  mutations,
} from './corpus.ts';
import {
  driverProblems,
  mutationProblems,
  type Reader,
  sourceProblems,
  tableProblems,
} from './corpus-check.ts';

const entries = driverEntries();
const whole = Object.entries(entries).filter((pair): pair is [string, DriverEntry] => !isPart(pair[1]));
const readDriver: Reader = (file) => (existsSync(DRIVERS_FOLDER + file) ? driverText(file) : undefined);
const scratch = mkdtempSync(join(tmpdir(), 'vfio-corpus-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const hasCompiler = spawnSync('gcc', ['--version']).status === 0;
const CONFIGURATIONS = [[], ['-DCONFIG_TOY_LEGACY', '-DCONFIG_TOY_COMPAT']];

/** What gcc says of files of C that are meant for a kernel, without making anything of them. */
function complaints(files: readonly string[], defines: readonly string[]): string {
  const flags = ['-std=gnu11', '-fsyntax-only', '-ffreestanding', '-w', ...defines];
  const includes = [`-I${AUDIT_FOLDER}stub`, `-I${DRIVERS_FOLDER}`];
  return spawnSync('gcc', [...flags, ...includes, ...files], { encoding: 'utf8' }).stderr;
}

describe('drivers', () => {
  test('every file has an entry and every entry a file', () => {
    expect(Object.keys(entries).toSorted()).toEqual(driverFiles().toSorted());
    expect(whole.length).toBeGreaterThanOrEqual(45);
  });

  test('the parts and the wholes name each other', () => {
    const named = whole.flatMap(([file, entry]) => (entry.with ?? []).map((part) => [part, file]));
    const parts = Object.entries(entries).flatMap(([file, entry]) =>
      isPart(entry) ? [[file, entry.partOf]] : [],
    );
    expect(parts.toSorted()).toEqual(named.toSorted());
  });

  test.each(Object.keys(entries))('%s is short and begins with its trait', (file) => {
    const lines = driverText(file).split('\n');
    expect(lines[1]).toBe(`/* ${entries[file]!.trait} */`);
    expect(lines.length).toBeLessThanOrEqual(61);
  });

  test.each(whole)('%s has verdicts that can be', (file, entry) => {
    expect(driverProblems(file, entry, readDriver)).toEqual([]);
  });

  test.skipIf(!hasCompiler)('all of them are C', () => {
    const files = driverFiles().map((file) => DRIVERS_FOLDER + file);
    for (const defines of CONFIGURATIONS) expect(complaints(files, defines)).toBe('');
  });
});

describe('mutations', () => {
  test('there are enough, and no two are the same', () => {
    const texts = mutations().map((mutation) => mutation.file + mutated(mutation, driverText(mutation.file)));
    expect(texts.length).toBeGreaterThanOrEqual(15);
    expect(new Set(texts).size).toBe(texts.length);
  });

  test.each(mutations().map((mutation) => [`${mutation.file}: ${mutation.why}`, mutation] as const))(
    '%s',
    (_, mutation) => {
      const entry = entries[mutation.file] as DriverEntry | undefined;
      expect(mutationProblems(mutation, entry, readDriver)).toEqual([]);
    },
  );

  test.skipIf(!hasCompiler)('all of them are C', () => {
    const files = mutations().map((mutation, index) => {
      const file = join(scratch, `${index}-${mutation.file}`);
      writeFileSync(file, mutated(mutation, driverText(mutation.file)));
      return file;
    });
    expect(readdirSync(scratch).length).toBe(files.length);
    expect(complaints(files, [])).toBe('');
  });
});

describe.each(KERNEL_VERSIONS)('Linux %s', (version) => {
  const table = kernelTable(version);
  const tree = join(cacheFolder(), 'linux-source', version);
  const read: Reader = (file) =>
    existsSync(join(tree, file)) ? readFileSync(join(tree, file), 'utf8') : undefined;

  test('has verdicts that can be', () => {
    expect(table.version).toBe(version);
    expect(tableProblems(table)).toEqual([]);
  });

  test.skipIf(!existsSync(join(tree, '.complete')))('has the lines that its table names', () => {
    expect(sourceProblems(table, read)).toEqual([]);
  });
});

test.each([
  // The mail of 2021-02-24 lists these three.
  ['5.10', ['fsl-mc/vfio_fsl_mc.c', 'pci/vfio_pci.c', 'platform/vfio_platform_common.c']],
  // vfio-pci became a library, with hisi_acc on top of it.
  ['6.1', ['fsl-mc/vfio_fsl_mc.c', 'pci/vfio_pci_core.c', 'platform/vfio_platform_common.c']],
  // vfio-pci stopped in 6.10; cdx came in between and had copied the others.
  ['7.3', ['cdx/main.c', 'fsl-mc/vfio_fsl_mc.c', 'platform/vfio_platform_common.c']],
])('Linux %s stores a pfn in three places', (version, files) => {
  const found = kernelTable(version).handlers.filter((handler) => handler.coding === 'pfn');
  const places = new Set(found.map((handler) => handler.codingAt!.file.replace('drivers/vfio/', '')));
  expect([...places].toSorted()).toEqual(files);
});

describe('canaries', () => {
  const table = kernelTable('7.3');
  const spoiled = (change: object) => ({ ...table, handlers: [{ ...table.handlers[0]!, ...change }] });

  test('a value that is no value, a finding too few and a reason without a line are seen', () => {
    expect(tableProblems(spoiled({ zap: 'sometimes' })).join()).toContain('zap is sometimes');
    expect(tableProblems(spoiled({ findings: [] })).join()).toContain('do not follow');
    expect(tableProblems(spoiled({ why: 'it is so' })).join()).toContain('names no line');
    expect(tableProblems(spoiled({ codingAt: null })).join()).toContain('codingAt');
  });

  test('a line that says something else is seen', () => {
    const empty: Reader = () => 'vfio_platform_mmap(\n';
    expect(sourceProblems(spoiled({}), empty).join()).toContain('has no vm_pgoff');
    expect(sourceProblems(spoiled({}), () => undefined).join()).toContain('not in the sources');
  });

  test('a driver whose findings do not fit and an edit that does not apply are seen', () => {
    const [file, entry] = whole.find(([name]) => name === 'pfn-direct.c')!;
    expect(driverProblems(file, { ...entry, findings: [] }, readDriver).join()).toContain('do not follow');
    const mutation = { ...mutations()[0]!, find: 'vma' };
    const problems = mutationProblems(mutation, entries[mutation.file] as DriverEntry, readDriver);
    expect(problems.join()).toContain('exactly once');
  });

  test.skipIf(!hasCompiler)('a file that is not C is seen', () => {
    const file = join(scratch, 'canary.c');
    writeFileSync(file, 'int broken(void) { return missing; }\n');
    expect(complaints([file], [])).toContain('missing');
    rmSync(file);
  });
});
