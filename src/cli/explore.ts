/**
 * `vfio explore`: tries designs of device memory in every interleaving of small programs, and shows what breaks them.
 */
import { writeFileSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import {
  explain,
  type Finding,
  matrixJobs,
  matrixOf,
  PROGRAMS,
  type SearchResult,
  sequencePicture,
  shardOf,
  testFile,
  timeline,
  trace,
  type WalkFinding,
  type WalkResult,
} from '../explore/index.ts';
import { DESIGNS, type Design, type Program, type Property } from '../sim/index.ts';
import { EXIT_FAILURE, EXIT_OK } from './exit-codes.ts';
import { BUILT_IN, designNamed, programNamed, propertyNamed } from './explore/inputs.ts';
import { runJobs, type SearchJob, type WalkJob } from './explore/pool.ts';
import { ExploreProgress } from './explore/progress.ts';
import { effort, findingsTable, matrixTable } from './explore/render.ts';
import { styleFor } from './terminal.ts';
import { UsageError } from './usage-error.ts';
import { VERSION } from './version.ts';

interface ExploreFlags {
  readonly design: string;
  readonly program?: string;
  readonly depth?: number;
  readonly random?: number;
  readonly seed: number;
  readonly shard?: Shard;
  readonly matrix?: boolean;
  readonly explain?: string;
  readonly svg?: string;
  readonly test?: string;
  readonly json?: boolean;
}

interface Shard {
  readonly number: number;
  readonly count: number;
}

/** What was found of one property, with what is needed to see it again. */
interface Found {
  readonly program: Program;
  readonly finding: Finding;
}

/** Where no terminal says how wide it is. */
const COLUMNS = 100;

function list(title: string, entries: readonly { readonly name: string; readonly title?: string }[]): string {
  const width = Math.max(...entries.map(({ name }) => name.length));
  return `${title}:\n${entries.map((each) => `  ${each.name.padEnd(width)}  ${each.title ?? ''}`).join('\n')}`;
}

const EXAMPLES = `
${list('Designs', DESIGNS)}

${list('Programs', BUILT_IN)}

Examples:
  vfio explore --matrix
  vfio explore --explain rfc-2021 R5
  vfio explore --design linux-6.12 R6 --svg use-after-free.svg
  vfio explore --design mine.json --program two-gpus.json --test two-gpus.test.ts
  vfio explore --random 10000 --seed 7 --program storm

Without --program all programs but storm and hurricane are tried. A design file is JSON: {"name": "mine", "extends": "node-vfio",
"resume": "nothing"}. With --random, walk i uses seed + i, and the same version walks the same way again.
Exit codes: 0 nothing is broken (with --matrix: nothing of node-vfio), 1 something is, 2 wrong command line or file, or a program too large`;

export function exploreCommand(): Command {
  return new Command('explore')
    .description('try a design of device memory in every interleaving, and see which rules break')
    .argument('[property]', 'only this one: R1 to R8, deadlock, leak or progress')
    .option('--design <name>', 'a design by name, or a JSON file', 'node-vfio')
    .option('--program <name>', 'a program by name, a JSON file, or a module that exports one')
    .option(
      '--depth <steps>',
      'steps from the beginning at most; of a random walk, 2000 unless given',
      positive,
    )
    .option('--random <walks>', 'walk at random so many times instead of trying everything', positive)
    .option('--seed <number>', 'of the first random walk', natural, 1)
    .option('--shard <i/n>', 'the i-th of n parts of the searches, or of the walks', shard)
    .option('--matrix', 'all designs and all properties: what holds, and what breaks how soon')
    .option('--explain <design>', 'the shortest trace that breaks the property, in plain words')
    .option('--svg <file>', 'write a picture of the trace')
    .option('--test <file>', 'write the trace as a vitest file')
    .option('--json', 'one JSON object')
    .addHelpText('after', EXAMPLES)
    .action(async (property: string | undefined, flags: ExploreFlags, command: Command) => {
      if (flags.explain !== undefined && command.getOptionValueSource('design') === 'cli')
        throw new UsageError('--explain names the design already', 'Leave --design out.');
      const wanted = property === undefined ? null : propertyNamed(property);
      if (flags.matrix === true && wanted !== null)
        throw new UsageError('--matrix tells of every property', 'Leave the property out.');
      if (flags.matrix === true) process.exitCode = await runMatrix(flags);
      else process.exitCode = await runDesign(wanted, flags);
    });
}

async function runMatrix(flags: ExploreFlags): Promise<number> {
  for (const other of ['program', 'random', 'explain', 'svg', 'test', 'depth'] as const)
    if (flags[other] !== undefined)
      throw new UsageError(`--matrix and --${other} do not go together`, 'Leave one of them out.');
  const all = matrixJobs().map((job): SearchJob => ({ kind: 'search', ...job, options: {} }));
  const results = await withProgress(shared(all, flags.shard), 'states');
  const cells = matrixOf(results as SearchResult[]);
  if (flags.json === true) process.stdout.write(`${JSON.stringify({ version: VERSION, cells, results })}\n`);
  else {
    process.stdout.write(matrixTable(cells, process.stdout.columns ?? COLUMNS, styleFor(process.stdout)));
    const programs = flags.shard === undefined ? 'every program' : 'the programs of this part';
    process.stdout.write(
      `\nbroken N: the shortest trace has N steps. holds N: in N distinct states, every interleaving of ${programs}.\n` +
        'See a trace: vfio explore --explain DESIGN PROPERTY\n',
    );
  }
  const ours = cells.filter(({ design }) => design === 'node-vfio');
  return ours.every(({ verdict }) => verdict === 'holds') ? EXIT_OK : EXIT_FAILURE;
}

async function runDesign(property: Property | null, flags: ExploreFlags): Promise<number> {
  if (flags.explain !== undefined && property === null)
    throw new UsageError('--explain needs a property', 'For example: vfio explore --explain rfc-2021 R5');
  const design = designNamed(flags.explain ?? flags.design);
  const programs = flags.program === undefined ? PROGRAMS : [await programNamed(flags.program)];
  const jobs =
    flags.random === undefined ? searches(design, programs, flags) : walks(design, programs, flags);
  const results = await withProgress(jobs, flags.random === undefined ? 'states' : 'steps');
  const found = shortest(results, programs).filter(
    ({ finding }) => property === null || finding.property === property,
  );
  const first = found[0];
  if (first !== undefined) writeFiles(first, design, flags);
  else if (flags.svg !== undefined || flags.test !== undefined)
    process.stderr.write('vfio: nothing broke, so there is no trace to write\n');
  if (flags.json === true) process.stdout.write(`${JSON.stringify(asJson(design, results, found))}\n`);
  else if (flags.explain !== undefined && first !== undefined) process.stdout.write(explained(first, design));
  else process.stdout.write(report(design, results, found, property, flags));
  return found.length === 0 ? EXIT_OK : EXIT_FAILURE;
}

function searches(design: Design, programs: readonly Program[], flags: ExploreFlags): SearchJob[] {
  const options = flags.depth === undefined ? {} : { depth: flags.depth };
  return shared(
    programs.map((program) => ({ kind: 'search', program, design, options })),
    flags.shard,
  );
}

/** The walks of each program in as many parts as keep the processors busy. */
function walks(design: Design, programs: readonly Program[], flags: ExploreFlags): WalkJob[] {
  const total = flags.random!;
  const each = Math.max(1, Math.min(250, Math.ceil(total / 8)));
  const steps = flags.depth === undefined ? {} : { steps: flags.depth };
  const jobs = programs.flatMap((program) =>
    Array.from({ length: Math.ceil(total / each) }, (_, i): WalkJob => {
      const runs = Math.min(each, total - i * each);
      return { kind: 'walk', program, design, options: { runs, seed: flags.seed + i * each, ...steps } };
    }),
  );
  return shared(jobs, flags.shard);
}

function shared<Job>(jobs: readonly Job[], part: Shard | undefined): Job[] {
  if (part === undefined) return [...jobs];
  const own = shardOf(jobs, part.number, part.count);
  if (own.length > 0) return own;
  // To say that everything holds would be true of nothing.
  throw new UsageError(
    `part ${part.number} of ${part.count} is empty`,
    `There are ${jobs.length} parts at most.`,
  );
}

async function withProgress(
  jobs: readonly (SearchJob | WalkJob)[],
  what: string,
): Promise<(SearchResult | WalkResult)[]> {
  const progress = new ExploreProgress(process.stderr, what);
  try {
    return await runJobs(jobs, (now) => progress.show(now));
  } finally {
    progress.clear();
  }
}

/** The shortest finding of each property, the shortest of all first. */
function shortest(results: readonly (SearchResult | WalkResult)[], programs: readonly Program[]): Found[] {
  const best = new Map<Property, Found>();
  for (const result of results) {
    const program =
      'walked' in result ? result.walked : programs.find(({ name }) => name === result.program)!;
    for (const finding of result.findings) {
      const known = best.get(finding.property);
      if (known === undefined || finding.moves.length < known.finding.moves.length)
        best.set(finding.property, { program, finding });
    }
  }
  return [...best.values()].sort((a, b) => a.finding.moves.length - b.finding.moves.length);
}

function writeFiles({ program, finding }: Found, design: Design, flags: ExploreFlags): void {
  if (flags.svg !== undefined) write(flags.svg, sequencePicture(trace(program, design, finding.moves)));
  if (flags.test !== undefined) write(flags.test, testFile(program, design, finding, finding.property));
}

function write(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw new UsageError(`cannot write ${path}: ${(error as Error).message}`, 'Check the path.');
  }
}

function explained({ program, finding }: Found, design: Design): string {
  const made = trace(program, design, finding.moves);
  return `${explain(made, finding.property, design).join('\n\n')}\n`;
}

function report(
  design: Design,
  results: readonly (SearchResult | WalkResult)[],
  found: readonly Found[],
  property: Property | null,
  flags: ExploreFlags,
): string {
  const style = styleFor(process.stdout);
  const head = `${style.strong(design.name)}: ${design.title}\n${effort(results)}\n`;
  const first = found[0];
  if (first === undefined) {
    const what = property === null ? 'every property holds' : `${property} holds`;
    return `${head}  ${style.good(what)}\n`;
  }
  const table = findingsTable(
    found.map(({ program, finding }) => ({ program: program.name, finding })),
    style,
  );
  const { program, finding } = first;
  const columns = process.stdout.columns ?? COLUMNS;
  const lines = timeline(trace(program, design, finding.moves), {
    columns,
    style,
    property: finding.property,
  });
  const next = `In plain words: vfio explore --explain ${design.name} ${finding.property}`;
  const again =
    'seed' in finding
      ? `The same walk again, by vfio ${VERSION}: ${walkAgain(program, finding, flags)}\n`
      : '';
  return `${head}${table}\n${lines.join('\n')}\n\n${again}${next}\n`;
}

/** The command that makes a walk again. */
function walkAgain(program: Program, finding: Finding, flags: ExploreFlags): string {
  const { seed } = finding as WalkFinding;
  const name = flags.program ?? program.name;
  const depth = flags.depth === undefined ? '' : ` --depth ${flags.depth}`;
  const from = flags.explain ?? flags.design;
  return `vfio explore --design ${from} --program ${name} --random 1 --seed ${seed}${depth}`;
}

function asJson(
  design: Design,
  results: readonly (SearchResult | WalkResult)[],
  found: readonly Found[],
): unknown {
  return {
    version: VERSION,
    design,
    results: results.map((result) => ('walked' in result ? { ...result, walked: undefined } : result)),
    findings: found.map(({ program, finding }) => ({
      ...finding,
      program,
      trace: trace(program, design, finding.moves),
    })),
  };
}

function positive(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new InvalidArgumentError('It must be a whole number above 0.');
}

function natural(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0 && value <= 2 ** 31) return value;
  throw new InvalidArgumentError('It must be a whole number from 0 to 2147483648.');
}

function shard(text: string): Shard {
  const found = /^(\d+)\/(\d+)$/.exec(text);
  const number = Number(found?.[1]);
  const count = Number(found?.[2]);
  if (found !== null && number >= 1 && number <= count) return { number, count };
  throw new InvalidArgumentError('It must be i/n, for example 1/4 to 4/4.');
}
