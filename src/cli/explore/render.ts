/**
 * What the explorer found, for people: the matrix, and the findings of one design.
 */
import type { Finding, MatrixCell, SearchResult, WalkResult } from '../../explore/index.ts';
import { RULES } from '../../explore/index.ts';
import { PROPERTIES } from '../../sim/index.ts';
import type { Style } from '../terminal.ts';
import { count } from './progress.ts';

const FIRST_COLUMN = 17;
const COLUMN = 14;

/** Designs beside each other, as many as fit. */
export function matrixTable(cells: readonly MatrixCell[], columns: number, style: Style): string {
  const designs = [...new Set(cells.map(({ design }) => design))];
  const fit = Math.max(1, Math.floor((columns - FIRST_COLUMN) / COLUMN));
  const blocks: string[] = [];
  for (let first = 0; first < designs.length; first += fit)
    blocks.push(block(cells, designs.slice(first, first + fit), style));
  return blocks.join('\n');
}

function block(cells: readonly MatrixCell[], designs: readonly string[], style: Style): string {
  const head = ''.padEnd(FIRST_COLUMN) + designs.map((name) => style.strong(name.padEnd(COLUMN))).join('');
  const rows = PROPERTIES.map((property) => {
    const { id, name } = RULES[property];
    const title = id === name ? id : `${id} ${name}`;
    const row = designs.map((design) => {
      const cell = cells.find((each) => each.design === design && each.property === property)!;
      return cellText(cell, style);
    });
    return title.padEnd(FIRST_COLUMN) + row.join('');
  });
  return [head, ...rows, ''].map((line) => line.trimEnd()).join('\n');
}

function cellText({ verdict, length, states, complete }: MatrixCell, style: Style): string {
  if (verdict === 'broken') return style.bad(`broken ${length}`.padEnd(COLUMN));
  return style.good(`holds ${count(states)}${complete ? '' : '+'}`.padEnd(COLUMN));
}

/** One line for what was tried. */
export function effort(results: readonly (SearchResult | WalkResult)[]): string {
  const names = [...new Set(results.map(({ program }) => program))];
  const programs = names.length === 1 ? names[0] : `${names.length} programs`;
  const walks = results.filter((result) => 'runs' in result);
  if (walks.length > 0) {
    const runs = walks.reduce((sum, result) => sum + result.runs, 0);
    const steps = walks.reduce((sum, result) => sum + result.steps, 0);
    return `${programs}: ${runs} random ${runs === 1 ? 'walk' : 'walks'}, ${count(steps)} steps`;
  }
  const searches = results.filter((result) => 'states' in result);
  const states = searches.reduce((sum, result) => sum + result.states, 0);
  const whole = searches.every(({ complete }) => complete)
    ? 'every interleaving'
    : 'not all: a limit was reached';
  return `${programs}: ${count(states)} distinct states, ${whole}`;
}

/** One line for each property that broke, the shortest trace first. */
export function findingsTable(
  findings: readonly { readonly program: string; readonly finding: Finding }[],
  style: Style,
): string {
  return findings
    .map(({ program, finding }) => {
      const { id, name } = RULES[finding.property];
      const title = id === name ? id : `${id} ${name}`;
      return `  ${style.bad('broken')} ${title.padEnd(FIRST_COLUMN)} in ${finding.moves.length} steps of ${program}\n`;
    })
    .join('');
}
