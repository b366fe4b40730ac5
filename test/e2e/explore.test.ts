/*
 * `vfio explore` as a user runs it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { inFolder, onTerminal, vfio } from './support.ts';

interface Report {
  readonly design: { readonly name: string };
  readonly results: readonly { readonly program: string; readonly states?: number; readonly runs?: number }[];
  readonly findings: readonly {
    readonly property: string;
    readonly moves: readonly number[];
    readonly seed?: number;
    readonly trace: {
      readonly steps: readonly { readonly violations: readonly { readonly property: string }[] }[];
    };
  }[];
}

function json(args: readonly string[]): { readonly code: number | null; readonly report: Report } {
  const { code, stdout, stderr } = vfio(['explore', ...args, '--json']);
  expect(stderr).toBe('');
  return { code, report: JSON.parse(stdout) as Report };
}

const properties = (report: Report): string[] => report.findings.map(({ property }) => property).toSorted();

test('our design is not broken: exit code 0', () => {
  const { code, report } = json(['--program', 'decode']);
  expect(code).toBe(0);
  expect(report.findings).toEqual([]);
  expect(report.design.name).toBe('node-vfio');
  expect(report.results).toMatchObject([{ program: 'decode', complete: true }]);
});

test('a design that is broken: exit code 1, and a trace whose last step breaks the property', () => {
  const { code, report } = json(['--design', 'linux-6.12', '--program', 'decode']);
  expect(code).toBe(1);
  expect(properties(report)).toEqual(['R4', 'R6']);
  for (const { property, moves, trace } of report.findings) {
    expect(trace.steps.length).toBe(moves.length);
    expect(trace.steps.at(-1)!.violations.map((each) => each.property)).toContain(property);
  }
});

test('one property alone decides the exit code', () => {
  expect(json(['R7', '--design', 'linux-6.12', '--program', 'decode']).code).toBe(0);
  const { code, report } = json(['r6', '--design', 'linux-6.12', '--program', 'decode']);
  expect(code).toBe(1);
  expect(properties(report)).toEqual(['R6']);
});

test('people see the trace, and what to do next', () => {
  const { code, stdout } = vfio(['explore', '--design', 'dma-buf-6.19', '--program', 'decode']);
  expect(code).toBe(1);
  expect(stdout).toMatch(/broken R7 return +in \d+ steps of decode/);
  expect(stdout).toContain('clears memory decode of gpu');
  expect(stdout).toContain('In plain words: vfio explore --explain dma-buf-6.19 R7');
});

test('--explain tells the bug that the mail points out in plain words, with its reason', () => {
  const { code, stdout } = vfio(['explore', '--explain', 'rfc-2021', 'R5']);
  expect(code).toBe(1);
  expect(stdout).toContain('BAR2 of gpu was taken away, but window is still in a page table');
  expect(stdout).toContain('its vm_pgoff is the physical page');
});

test('a picture and a test file are written, and the test fails until the design is mended', async () => {
  await inFolder(async (folder) => {
    const svg = join(folder, 'trace.svg');
    const file = join(folder, 'trace.test.ts');
    const { code } = vfio([
      'explore',
      'R4',
      '--design',
      'linux-6.12',
      '--program',
      'decode',
      '--svg',
      svg,
      '--test',
      file,
    ]);
    expect(code).toBe(1);
    expect(readFileSync(svg, 'utf8')).toMatch(/^<svg[\s\S]*<\/svg>\s*$/);
    expect(readFileSync(file, 'utf8')).toContain("from 'vfio/sim'");
  });
});

test('a design and a program from files', async () => {
  await inFolder(async (folder) => {
    const design = join(folder, 'mine.json');
    const program = join(folder, 'mine-program.json');
    writeFileSync(design, '{"name": "mine", "extends": "node-vfio", "resume": "nothing"}');
    const device = { kind: 'pci', regions: [{ index: 2 }] };
    writeFileSync(
      program,
      JSON.stringify({
        name: 'small',
        devices: { gpu: device },
        processes: ['vmm'],
        containers: ['nics'],
        setup: [
          { op: 'open', process: 'vmm', device: 'gpu' },
          { op: 'mmap', process: 'vmm', device: 'gpu', region: 2, as: 'window' },
          { op: 'mapDma', container: 'nics', vma: 'window', as: 'peer' },
        ],
        threads: {
          host: [
            { op: 'disable', device: 'gpu' },
            { op: 'enable', device: 'gpu' },
          ],
        },
      }),
    );
    const { code, report } = json(['--design', design, '--program', program]);
    expect(code).toBe(1);
    expect(properties(report)).toEqual(['R7']);
    writeFileSync(program, '{"name": "small"}');
    const wrong = vfio(['explore', '--program', program]);
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain('"devices" is an object');
  });
});

test('a random walk is made again by its seed', () => {
  const { code, report } = json([
    '--design',
    'linux-6.12',
    '--program',
    'storm',
    '--random',
    '20',
    '--seed',
    '3',
    '--depth',
    '300',
  ]);
  expect(code).toBe(1);
  expect(properties(report)).toContain('R6');
  const found = report.findings.find(({ property }) => property === 'R6')!;
  const again = json([
    'R6',
    '--design',
    'linux-6.12',
    '--program',
    'storm',
    '--random',
    '1',
    '--seed',
    String(found.seed),
    '--depth',
    '300',
  ]);
  expect(again.report.findings[0]!.moves).toEqual(found.moves);
});

test('people are told how to make a walk again', () => {
  const args = ['R6', '--design', 'linux-6.12', '--program', 'storm', '--random', '4', '--depth', '300'];
  const { stdout } = vfio(['explore', ...args]);
  const command = /The same walk again, by vfio \S+: vfio (explore .*)/.exec(stdout)![1]!;
  const again = vfio(command.split(' '));
  expect(again.code).toBe(1);
  expect(again.stdout).toContain('broken R6');
  expect(again.stdout).toContain('storm: 1 random walk,');
});

test('shards share the work: together they do all of it once', () => {
  const whole = json([]).report.results.map(({ program }) => program);
  const parts = ['1/3', '2/3', '3/3'].flatMap((part) =>
    json(['--shard', part]).report.results.map(({ program }) => program),
  );
  expect(parts.toSorted()).toEqual(whole.toSorted());
});

test.each([
  [['--design', 'linux-2.4'], 'no design is named'],
  [['--program', 'tempest'], 'no program is named'],
  [['--program', '/nowhere/mine.json'], 'cannot read /nowhere/mine.json'],
  [['R11'], 'no property is named'],
  [['--explain', 'rfc-2021'], '--explain needs a property'],
  [['--explain', 'rfc-2021', 'R5', '--design', 'linux-6.12'], '--explain names the design already'],
  [['--matrix', '--random', '5'], '--matrix and --random do not go together'],
  [['--matrix', 'R5'], '--matrix tells of every property'],
  [['--shard', '3/2'], 'It must be i/n'],
  [['--program', 'decode', '--shard', '2/2'], 'part 2 of 2 is empty'],
  [['--random', '0'], 'above 0'],
])('%j is a wrong command line', (args, message) => {
  const { code, stderr } = vfio(['explore', ...args]);
  expect(stderr).toContain(message);
  expect(code).toBe(2);
});

test.each([
  ['not JSON', '{', 'JSON'],
  ['no program', 'null', 'a program is an object'],
  ['a name that nothing has', { op: 'read', vma: 'other' }, "no VMA is named 'other'"],
  ['a page beyond its VMA', { op: 'write', vma: 'window', page: 7 }, 'window has 1 pages, so no page 7'],
  ['more choices than a state can count', { any: [], times: 1e9 }, '1 to 65535 are possible'],
])('a program file with %s is refused, and says why', async (_, given, message) => {
  const gpu = { kind: 'pci', regions: [{ index: 0 }] };
  const setup = [{ op: 'mmap', process: 'vmm', device: 'gpu', region: 0, as: 'window' }];
  const machine = { name: 'mine', devices: { gpu }, processes: ['vmm'], containers: [], setup };
  const text = typeof given === 'string' ? given : JSON.stringify({ ...machine, threads: { cpu: [given] } });
  await inFolder((folder) => {
    const path = join(folder, 'mine.json');
    writeFileSync(path, text);
    isRefused(['--program', path], message);
  });
});

test('a file that cannot be written, and a module that cannot be loaded, are told without a stack', async () => {
  const decode = ['--design', 'linux-6.12', '--program', 'decode'];
  isRefused([...decode, '--svg', '/nowhere/trace.svg'], 'cannot write /nowhere/trace.svg');
  isRefused([...decode, '--test', '/nowhere/trace.test.ts'], 'cannot write /nowhere/trace.test.ts');
  await inFolder((folder) => {
    const path = join(folder, 'mine.mjs');
    writeFileSync(path, 'export default {');
    isRefused(['--program', path], `cannot load ${path}`);
  });
});

function isRefused(args: readonly string[], message: string): void {
  const { code, stderr } = vfio(['explore', ...args]);
  expect(stderr).toContain(message);
  expect(stderr).not.toContain('    at ');
  expect(code).toBe(2);
}

test('the help has examples, and tells designs and programs', () => {
  const { code, stdout } = vfio(['explore', '--help']);
  expect(code).toBe(0);
  expect(stdout).toContain('all programs but storm and hurricane are tried');
  for (const text of ['vfio explore --matrix', 'dma-buf-6.19', 'storm', 'Exit codes'])
    expect(stdout).toContain(text);
});

test('a terminal sees how far it is', () => {
  expect(onTerminal(['explore', '--program', 'storm', '--random', '200'])).toMatch(
    /\d+ of \d+ parts, .* steps/,
  );
});
