/*
 * The verdicts on the drivers of the corpus, checked without reading a line of them: each handler is called, and what it
 * did must be what expected.json says. The edits must do what they are said to do.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import {
  type DriverEntry,
  driverEntries,
  driverText,
  isPart,
  mutated,
  mutations,
  type RuleName,
} from '../corpus.ts';
import { type Candidate, differences, type Observed, runHandlers } from './run.ts';

const scratch = mkdtempSync(join(tmpdir(), 'vfio-corpus-run-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const withCompiler = test.skipIf(spawnSync('gcc', ['--version']).status !== 0);
/** Three programs of a hundred files each: seconds where nothing else runs. */
const BUILD_TIMEOUT_MS = 180_000;

const entries = driverEntries();
const whole = Object.entries(entries).filter((pair): pair is [string, DriverEntry] => !isPart(pair[1]));
const verdicts = whole.flatMap(([, entry]) => entry.handlers);

/** Every file that defines a handler or a function that one needs; consumers have no handler to call. */
function allDrivers(): Candidate[] {
  const files = whole.flatMap(([file, entry]) =>
    entry.handlers.length > 0 ? [file, ...(entry.with ?? [])] : [],
  );
  return files.map((file) => ({
    label: file,
    file,
    text: driverText(file),
    handlers: verdicts.filter((verdict) => verdict.file === file),
  }));
}

withCompiler('every handler does what its verdict says', { timeout: BUILD_TIMEOUT_MS }, () => {
  const runs = [[], ['-DCONFIG_TOY_LEGACY', '-DCONFIG_TOY_COMPAT']].map((defines) =>
    runHandlers(scratch, allDrivers(), defines),
  );
  expect(runs[0]!.size).toBe(verdicts.length);
  const wrong = verdicts.flatMap((verdict) => {
    const seen = runs.map((run) => run.get(`${verdict.file}:${verdict.function}`)!);
    // The coding of some configuration counts.
    const coding = seen.find((one) => one.coding !== 'kept')?.coding ?? 'kept';
    return differences(verdict, { ...seen[0]!, coding }).map((text) => `${verdict.file}: ${text}`);
  });
  expect(wrong).toEqual([]);
});

/** Which rules a handler was seen to break. How it decodes an offset cannot be seen from outside. */
function seenBroken(rule: RuleName, seen: Observed): boolean | undefined {
  if (rule === 'pgoff-overwritten') return seen.coding === 'pfn';
  if (rule === 'pgoff-own-coding') return seen.coding === 'own';
  if (rule === 'zap-misses-mappings') return seen.zap === 'misses';
  if (rule === 'bounds-size-unchecked') return !seen.bounds.size;
  if (rule === 'bounds-shared-unchecked') return !seen.bounds.shared;
  if (rule === 'bounds-overflow') return seen.bounds.overflow;
  return undefined;
}

withCompiler('every edit of a driver breaks the rule that it says', { timeout: BUILD_TIMEOUT_MS }, () => {
  const edits = mutations().flatMap((mutation, index) => {
    const entry = entries[mutation.file] as DriverEntry;
    if (mutation.expect.rules.includes('pgoff-read-as-pfn')) return [];
    const role = entry.handlers[0]?.role ?? 'vfio_device_ops';
    const text = mutated(mutation, driverText(mutation.file));
    const handlers = [{ function: mutation.expect.function, role }];
    return [{ mutation, candidate: { label: `${index}`, file: mutation.file, text, handlers } }];
  });
  const seen = runHandlers(
    scratch,
    edits.map((edit) => edit.candidate),
  );
  expect(seen.size).toBe(edits.length);
  const wrong = edits.flatMap(({ mutation, candidate }) => {
    const { rules, bounds: _, ...fields } = mutation.expect;
    const observed = seen.get(`${candidate.label}:${mutation.expect.function}`)!;
    const problems = differences(fields, observed);
    if (rules.every((rule) => seenBroken(rule, observed) === false)) problems.push(`breaks none of ${rules}`);
    return problems.map((text) => `${mutation.file} (${mutation.why}): ${text}`);
  });
  expect(wrong).toEqual([]);
});

withCompiler('canary: a wrong verdict is seen', () => {
  const file = 'pfn-zap-misses.c';
  const [verdict] = (entries[file] as DriverEntry).handlers;
  const candidate = { label: file, file, text: driverText(file), handlers: [verdict!] };
  const observed = runHandlers(scratch, [candidate]).get(`${file}:${verdict!.function}`)!;
  expect(differences(verdict!, observed)).toEqual([]);
  expect(differences({ ...verdict!, coding: 'kept', zap: 'hits', mapping: 'fault' }, observed)).toEqual([
    'coding is pfn, not kept',
    'mapping is at-mmap, not fault',
    'zap is misses, not hits',
  ]);
  const bounds = { size: false, shared: false, overflow: true };
  expect(differences({ ...verdict!, bounds }, observed)).toHaveLength(3);
});
