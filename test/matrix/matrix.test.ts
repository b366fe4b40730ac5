/*
 * `vfio explore --matrix`, whole: what is broken in each design, found without being told, and nothing in ours.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { matrixTable } from '../../src/cli/explore/render.ts';
import { styleFor } from '../../src/cli/terminal.ts';
import type { MatrixCell, SearchResult } from '../../src/explore/index.ts';
import { main, root } from '../e2e/support.ts';

const start = performance.now();
const run = spawnSync(process.execPath, [main, 'explore', '--matrix', '--json'], {
  cwd: root,
  encoding: 'utf8',
  maxBuffer: 2 ** 28,
  stdio: ['ignore', 'pipe', 'inherit'],
});
const { cells, results } = JSON.parse(run.stdout) as { cells: MatrixCell[]; results: SearchResult[] };
const states = results.reduce((sum, result) => sum + result.states, 0);
console.log(`matrix: ${states} states in ${Math.round((performance.now() - start) / 1000)} s`);

const PAGE = `${root}docs/explorer.md`;
const BLOCK = /<!-- matrix -->\n```\n[\s\S]*?```/;

test('docs/explorer.md shows the matrix', () => {
  const plain = styleFor({ write: () => {} });
  const block = `<!-- matrix -->\n\`\`\`\n${matrixTable(cells, 120, plain)}\`\`\``;
  const page = readFileSync(PAGE, 'utf8');
  if (process.env['UPDATE_README'] === '1') writeFileSync(PAGE, page.replace(BLOCK, block));
  else expect(BLOCK.exec(page)?.[0]).toBe(block);
});

function broken(design: string): string[] {
  return cells
    .filter((cell) => cell.design === design && cell.verdict === 'broken')
    .map(({ property }) => property);
}

test('nothing is broken under our design, and the command says so', () => {
  expect(broken('node-vfio')).toEqual([]);
  expect(run.status).toBe(0);
});

test('the storm alone is more than ten million states, all of them tried', () => {
  const storm = results.find(({ program, design }) => program === 'storm' && design === 'node-vfio')!;
  expect(storm.complete).toBe(true);
  expect(storm.states).toBeGreaterThan(10_000_000);
});

test('every search tried everything', () => {
  expect(results.filter(({ complete }) => !complete)).toEqual([]);
});

// What each design lacks by its choices, and therefore must break; and what its choices cannot break.
test.each([
  // pfn in vm_pgoff; anybody's memory is mapped, without consent; nobody tells the IOMMU.
  ['linux-5.11', ['R1', 'R2', 'R3', 'R4', 'R6']],
  // In addition the zap looks where vm_pgoff is not.
  ['rfc-2021', ['R1', 'R2', 'R3', 'R4', 'R5', 'R6']],
  // The IOMMU hears of release only, not of decode, reset and withdrawn consent.
  ['seed-mail', ['R3', 'R4', 'R6']],
  // platform and fsl-mc devices still store the pfn.
  ['linux-6.12', ['R1', 'R2', 'R3', 'R4', 'R6']],
  // Revoked, and never given back; platform and fsl-mc devices as before.
  ['dma-buf-6.19', ['R1', 'R7']],
])('%s breaks what its choices say', (design, expected) => {
  expect(broken(design)).toEqual(expect.arrayContaining(expected));
});

test.each(['linux-5.11', 'linux-6.12', 'seed-mail', 'rfc-2021'])(
  '%s has nothing to give back, so R7 holds',
  (design) => {
    expect(broken(design)).not.toContain('R7');
  },
);

test('a lookup lets no memory of other drivers in, and region coding is kept where it is chosen', () => {
  for (const design of ['seed-mail', 'dma-buf-6.19', 'node-vfio']) expect(broken(design)).not.toContain('R2');
  for (const design of ['seed-mail', 'node-vfio']) expect(broken(design)).not.toContain('R1');
});

test('nothing is stuck, forgotten or lost in any named design', () => {
  for (const property of ['R8', 'deadlock', 'leak', 'progress'])
    expect(cells.filter((cell) => cell.property === property && cell.verdict === 'broken')).toEqual([]);
});
