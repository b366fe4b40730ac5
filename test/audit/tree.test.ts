/*
 * The auditor against what people found by reading: the tables of three kernels, drivers with one known trait each, and
 * edits that break a rule which a driver kept. `node scripts/linux-sources.mjs` fetches the kernels.
 */
import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { type AuditReport, audit } from '../../src/audit/index.ts';
import { cacheFolder } from '../../src/qemu/cache-folder.ts';
import {
  DRIVERS_FOLDER,
  type DriverEntry,
  driverEntries,
  driverText,
  isPart,
  KERNEL_VERSIONS,
  kernelTable,
  mutated,
  mutations,
  type Verdict,
} from './corpus.ts';

const scratch = mkdtempSync(join(tmpdir(), 'vfio-audit-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
let folders = 0;

/** Audits a driver of the corpus by itself, with the files that belong to it. */
async function auditDriver(
  file: string,
  entry: DriverEntry,
  text: string = driverText(file),
): Promise<AuditReport> {
  const folder = mkdtempSync(join(scratch, `${folders++}-`));
  for (const name of ['toy.h', ...(entry.with ?? [])])
    copyFileSync(join(DRIVERS_FOLDER, name), join(folder, name));
  writeFileSync(join(folder, file), text);
  const paths = [file, ...(entry.with ?? [])].map((name) => join(folder, name));
  return (await audit({ paths })).report;
}

/** Those fields of a report that an expectation names. */
function named(handler: object | undefined, expected: Partial<Verdict>): Record<string, unknown> {
  const all = { ...handler } as Record<string, unknown>;
  return Object.fromEntries(Object.keys(expected).map((key) => [key, all[key]]));
}

const byName = <T extends { function: string; file: string }>(list: readonly T[]): T[] =>
  list.toSorted((a, b) => `${a.file} ${a.function}`.localeCompare(`${b.file} ${b.function}`));

const placeOf = ({
  file,
  function: name,
  line,
}: {
  file: string;
  function: string;
  line: number;
}): object => ({
  file,
  function: name,
  line,
});

const whole = Object.entries(driverEntries()).flatMap(([file, entry]) =>
  isPart(entry) ? [] : [[file, entry] as const],
);

describe.each(whole)('%s', (file, entry) => {
  test(entry.trait, async () => {
    const report = await auditDriver(file, entry);
    const expected = byName(entry.handlers);
    const handlers = byName(report.handlers);
    expect(handlers.map((handler) => handler.function)).toEqual(expected.map((handler) => handler.function));
    expect(expected.map((one, index) => named(handlers[index], one))).toEqual(expected);
    expect(report.consumers.map(placeOf)).toEqual(entry.consumers.map(placeOf));
    const rules = report.findings.map((finding) => `${finding.file} ${finding.rule}`);
    expect(rules.toSorted()).toEqual(
      entry.findings.map((finding) => `${finding.file} ${finding.rule}`).toSorted(),
    );
    for (const { rule, line } of entry.findings) {
      if (line === undefined) continue;
      expect(
        report.findings.filter((finding) => finding.rule === rule).map((finding) => finding.line),
      ).toContain(line);
    }
    expect(report.coverage.failed).toEqual([]);
  });
});

describe('an edit that breaks a rule is noticed', () => {
  const entries = driverEntries();
  test.each(mutations().map((mutation) => [mutation.file, mutation.why, mutation] as const))(
    '%s: %s',
    async (file, _why, mutation) => {
      const own = entries[file]!;
      const main = isPart(own) ? own.partOf : file;
      const entry = entries[main] as DriverEntry;
      const report = await auditDriver(file, entry, mutated(mutation, driverText(file)));
      const { rules, bounds, ...fields } = mutation.expect;
      const handler = [...report.handlers, ...report.consumers].find(
        (one) => one.function === fields.function,
      );
      expect(named(handler, fields)).toEqual(fields);
      if (bounds !== undefined) expect(handler).toMatchObject({ bounds });
      expect(report.findings.map((finding) => finding.rule)).toEqual(
        expect.arrayContaining([
          expect.toSatisfy((rule: string) => (rules as readonly string[]).includes(rule)),
        ]),
      );
    },
  );
});

describe.each(KERNEL_VERSIONS)('Linux %s', (version) => {
  const tree = join(cacheFolder(), 'linux-source', version);
  const isThere = existsSync(join(tree, '.complete'));
  if (!isThere && process.env['VFIO_CI'] === undefined) {
    test.skip(`the sources are not here: node scripts/linux-sources.mjs ${version} fetches them (150 MB)`, () => {});
    return;
  }
  const table = kernelTable(version);
  const audited = audit({ paths: [tree] });

  test('every handler has the verdict that reading gives it', async () => {
    const { report } = await audited;
    const expected = byName(table.handlers).map(
      ({ registered: _r, findings: _f, why: _w, ...verdict }) => verdict,
    );
    const handlers = byName(report.handlers);
    expect(handlers.map((handler) => handler.function)).toEqual(expected.map((handler) => handler.function));
    expect(expected.map((one, index) => named(handlers[index], one))).toEqual(expected);
  });

  test('every handler says who registers it', async () => {
    const { report } = await audited;
    for (const handler of table.handlers) {
      const told = report.handlers.find((one) => one.function === handler.function)!.registered.join('\n');
      for (const { file, line } of handler.registered) expect(told).toContain(`${file}:${line}`);
    }
  });

  test('the findings are those of the table and no others', async () => {
    const { report } = await audited;
    const expected = [
      ...table.handlers.flatMap((handler) => handler.findings.map((rule) => `${handler.function} ${rule}`)),
      ...table.consumers.map((consumer) => `${consumer.function} pgoff-read-as-pfn`),
    ];
    const found = report.findings.flatMap(({ rule, function: name, handlers }) =>
      (handlers.length > 0 ? handlers : [name]).map((handler) => `${handler} ${rule}`),
    );
    expect(found.toSorted()).toEqual(expected.toSorted());
  });

  test('code that reads a page number out of vm_pgoff is found, and code that does not is left alone', async () => {
    const { report } = await audited;
    expect(byName(report.consumers).map(placeOf)).toEqual(byName(table.consumers).map(placeOf));
  });

  test('dispatchers are no handlers', async () => {
    const { report } = await audited;
    const names = (list: readonly { function: string }[]): string[] =>
      list.map((one) => one.function).toSorted();
    expect(names(report.dispatchers)).toEqual(names(table.dispatchers));
  });

  test('at least 99 of 100 functions of interest are parsed', async () => {
    const { coverage } = (await audited).report;
    expect(coverage.functions).toBeGreaterThan(200);
    expect(coverage.parsed / coverage.functions).toBeGreaterThanOrEqual(0.99);
  });
});
