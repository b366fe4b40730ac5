/*
 * SPIN on the models of this folder: makes its verifier, compiles it, runs it, and reads what it says. All of it happens in a
 * folder that is gone afterwards.
 */
import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { PROPERTIES, type Property } from '../../src/sim/machine.ts';

const run = promisify(execFile);

/** What the models assert. R2 and R3 are about what MAP_DMA is asked for, which neither model varies. */
export const MODELLED: readonly Property[] = ['R1', 'R4', 'R5', 'R6', 'R7', 'R8', 'deadlock', 'leak'];

/** Slots of the hash table, as powers of two. */
const HASH_BITS = { small: 20, large: 24 };
const DEPTH_LIMIT = 100_000;
const OUTPUT_LIMIT_BYTES = 64 << 20;

/** How to get what SPIN needs and the folders of `path` do not have, or null. */
export function missingTools(path: string | undefined = process.env['PATH']): string | null {
  const env = { PATH: path };
  const has = (tool: string): boolean =>
    spawnSync(tool, ['-V'], { stdio: 'ignore', env }).error === undefined;
  const missing = ['spin', 'gcc'].filter((tool) => !has(tool));
  return missing.length === 0 ? null : `apt-get install ${missing.join(' ')}`;
}

/** One question to SPIN. */
export interface SpinQuestion {
  readonly model: 'decode' | 'release';
  /** Name of a design, as in src/sim/designs.ts. */
  readonly design: string;
  /** All of `MODELLED` unless said otherwise. */
  readonly properties?: readonly Property[];
  /** More macros of the model: `WITHOUT_FLUSH`, `ROUNDS=4`. */
  readonly macros?: readonly string[];
  /** Whether the search takes longer than an optimised compilation of it; false unless said otherwise. */
  readonly large?: boolean;
}

export interface SpinAnswer {
  /** What some interleaving breaks, in the order of `PROPERTIES`. */
  readonly broken: readonly Property[];
  readonly states: number;
  readonly transitions: number;
  /** Steps of the longest path. */
  readonly depth: number;
  /** Of the search alone, as the verifier measures it: in steps of 10 ms. */
  readonly elapsedSeconds: number;
}

/** Searches every interleaving of a model. Whatever keeps that from being complete is an error. */
export async function askSpin(question: SpinQuestion): Promise<SpinAnswer> {
  const { model, design, properties = MODELLED, macros = [], large = false } = question;
  const folder = mkdtempSync(join(tmpdir(), 'vfio-spin-'));
  const defines = [
    design.toUpperCase().replace(/[-.]/g, '_'),
    ...properties.map((property) => `CHECK_${property.toUpperCase()}`),
    ...macros,
  ];
  try {
    const source = fileURLToPath(new URL(`${model}.pml`, import.meta.url));
    const complaints = await output(folder, 'spin', ['-a', ...defines.map((each) => `-D${each}`), source]);
    if (complaints !== '') throw new Error(`spin does not like ${model}.pml:\n${complaints}`);
    await output(folder, 'gcc', [large ? '-O2' : '-O0', '-w', '-DSAFETY', '-o', 'pan', 'pan.c']);
    const endStates = properties.includes('deadlock') ? [] : ['-E'];
    // Does not stop at an error: the first one says nothing about the other properties.
    const search = [
      '-c0',
      '-n',
      `-w${large ? HASH_BITS.large : HASH_BITS.small}`,
      `-m${DEPTH_LIMIT}`,
      ...endStates,
    ];
    return answerOf(await output(folder, join(folder, 'pan'), search));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs a tool and returns what it printed. Tools of SPIN complain on standard output, so an error has that too. */
async function output(folder: string, tool: string, args: readonly string[]): Promise<string> {
  try {
    return (await run(tool, args, { cwd: folder, maxBuffer: OUTPUT_LIMIT_BYTES })).stdout;
  } catch (error) {
    const { message, stdout } = error as Error & { readonly stdout: string };
    throw new Error(`${message}\n${stdout}`, { cause: error });
  }
}

/** Reads what a verifier printed. */
export function answerOf(said: string): SpinAnswer {
  const broken = new Set<Property>();
  for (const [line, complaint] of said.matchAll(/^pan:\d+: (.*?) \(at depth \d+\)$/gm)) {
    const name = /([A-Z0-9]+)_BROKEN/.exec(complaint!)?.[1];
    const property = PROPERTIES.find((each) => each.toUpperCase() === name);
    if (property !== undefined) broken.add(property);
    else if (complaint === 'invalid end state') broken.add('deadlock');
    else throw new Error(`the model is wrong: ${line}`);
  }
  const counted = Number(find(said, /errors: (\d+)/));
  if (/^error:|Search not completed/im.test(said) || counted > 0 !== broken.size > 0)
    throw new Error(`this search is not complete:\n${said}`);
  return {
    broken: PROPERTIES.filter((property) => broken.has(property)),
    states: Number(find(said, /^\s*(\S+) states, stored/m)),
    transitions: Number(find(said, /^\s*(\S+) transitions/m)),
    depth: Number(find(said, /depth reached (\d+)/)),
    elapsedSeconds: Number(find(said, /elapsed time (\S+) seconds/)),
  };
}

function find(said: string, pattern: RegExp): string {
  const found = pattern.exec(said)?.[1];
  if (found === undefined) throw new Error(`no ${pattern} in what the verifier says:\n${said}`);
  return found;
}
