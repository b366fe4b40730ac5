/*
 * Runs handlers of the corpus instead of reading them: gcc builds the drivers against probe.c, a kernel that takes notes,
 * and each line of its output is what one handler did over a few thousand requests.
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AUDIT_FOLDER, DRIVERS_FOLDER, type Verdict } from '../corpus.ts';

const KINDS: Readonly<Record<string, string>> = {
  vfio_device_ops: 'PROBE_VFIO',
  mdev: 'PROBE_MDEV',
  vfio_pci_regops: 'PROBE_REGOPS',
};

/** A driver's text and the handlers in it that are to be called. */
export interface Candidate {
  /** Names it in the output; no blanks. */
  readonly label: string;
  /** The file of drivers/ that it is or came from. */
  readonly file: string;
  readonly text: string;
  readonly handlers: readonly Pick<Verdict, 'function' | 'role'>[];
}

/** What a handler was seen to do. `mapping` does not tell a delegate's work from its own. */
export interface Observed {
  readonly successes: number;
  readonly coding: string;
  readonly mapping: string;
  readonly faultFrom: string | null;
  readonly zap: string;
  readonly bounds: { readonly size: boolean; readonly shared: boolean; readonly overflow: boolean };
}

/** Writes the file that includes the driver, so that its static functions can be handed to the probe. */
function harness(folder: string, candidate: Candidate, index: number): string {
  const driver = join(folder, `${index}-${candidate.file}`);
  writeFileSync(driver, candidate.text);
  const prefix = candidate.file.replace(/\.c$/, '').replaceAll('-', '_');
  const operation = (result: string, name: string): string =>
    candidate.text.includes(`${result} ${prefix}_${name}(`) ? `${prefix}_${name}` : '0';
  const zaps = `${operation('void', 'request')}, ${operation('long', 'ioctl')}`;
  const probes = candidate.handlers.map((handler, number) => {
    const name = `"${candidate.label}:${handler.function}"`;
    return `PROBE(${index}_${number}, ${name}, ${KINDS[handler.role]}, ${handler.function}, ${zaps})`;
  });
  const path = join(folder, `harness-${index}.c`);
  // Every driver with an init function has one of the same name: that of a module.
  const lines = [
    `#define init_module init_module_${index}`,
    `#include "${driver}"`,
    '#include "probe.h"',
    ...probes,
    '',
  ];
  writeFileSync(path, lines.join('\n'));
  return path;
}

function parse(line: string): [string, Observed] {
  const [name, successes, coding, mapping, faultFrom, zap, size, shared, overflow] = line.split(' ');
  const observed: Observed = {
    successes: Number(successes),
    coding: coding!,
    mapping: mapping!,
    faultFrom: faultFrom === 'null' ? null : faultFrom!,
    zap: zap!,
    bounds: { size: size === '1', shared: shared === '1', overflow: overflow === '1' },
  };
  return [name!, observed];
}

/**
 * Builds and runs all candidates in one process.
 * @param folder scratch; is left full of files
 * @returns by `label:function`
 */
export function runHandlers(
  folder: string,
  candidates: readonly Candidate[],
  defines: readonly string[] = [],
): Map<string, Observed> {
  const sources = candidates.map((candidate, index) => harness(folder, candidate, index));
  const program = join(folder, 'probe');
  const includes = ['stub', 'drivers', 'run'].map((name) => `-I${AUDIT_FOLDER}${name}`);
  const flags = ['-std=gnu11', '-w', '-Wl,--allow-multiple-definition', ...defines, ...includes];
  const files = [...sources, `${AUDIT_FOLDER}run/probe.c`];
  const build = spawnSync('gcc', [...flags, '-o', program, ...files], { encoding: 'utf8' });
  if (build.status !== 0)
    throw new Error(`gcc cannot build the drivers of ${DRIVERS_FOLDER}: ${build.stderr}`);
  const run = spawnSync(program, { encoding: 'utf8', maxBuffer: 16 << 20 });
  if (run.status !== 0) throw new Error(`the drivers end with ${run.status ?? run.signal}`);
  return new Map(
    run.stdout
      .split('\n')
      .filter((line) => line !== '')
      .map(parse),
  );
}

/** How a verdict and what was seen differ, one sentence each. A handler that is wrong about size can show no overflow. */
export function differences(verdict: Partial<Verdict>, observed: Observed): string[] {
  const found: string[] = [];
  const compare = (field: string, expected: unknown, seen: unknown): void => {
    if (expected !== undefined && expected !== seen) found.push(`${field} is ${seen}, not ${expected}`);
  };
  if (observed.successes === 0 && verdict.mapping !== 'none') found.push('no request succeeds');
  compare('coding', verdict.coding, observed.coding);
  if (verdict.mapping !== 'delegated') compare('mapping', verdict.mapping, observed.mapping);
  compare('faultFrom', verdict.faultFrom, observed.faultFrom);
  compare('zap', verdict.zap, observed.zap);
  compare('size', verdict.bounds?.size, observed.bounds.size);
  compare('shared', verdict.bounds?.shared, observed.bounds.shared);
  if (observed.bounds.size) compare('overflow', verdict.bounds?.overflow, observed.bounds.overflow);
  return found;
}
