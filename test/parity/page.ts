/*
 * docs/linux-differences.md: what is between its two marks is made from the lists and the records.
 */
import { matches } from './check.ts';
import { DIFFERENCES } from './differences.ts';
import { golden } from './golden.ts';
import { reduced } from './scope.ts';

const BEGIN = '<!-- made from test/parity/differences.ts -->';
const END = '<!-- end -->';

/** The page with the part between the marks as it must be. */
export function withDifferences(page: string): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin)
    throw new Error(`the page needs the marks ${BEGIN} and ${END}, in this order`);
  return `${page.slice(0, begin + BEGIN.length)}\n\n${matters()}\n\n${records()}\n\n${page.slice(end)}`;
}

function matters(): string {
  const rows = DIFFERENCES.map(({ matter, linux, ours, why, rule }) => [matter, linux, ours, why, rule]);
  return `## Matters\n\n${table(['matter', 'Linux 7.3', 'node-vfio', 'why', 'rule'], rows)}`;
}

/** Every record that differs, with both answers. */
function records(): string {
  const rows = DIFFERENCES.flatMap(({ records: listed, matter }) =>
    listed.flatMap((record) =>
      golden()
        .filter(({ id }) => matches(record, id))
        .map(({ id, answer }) => {
          const worlds = record.worlds?.join(', ') ?? 'all';
          return [code(id), code(reduced(id, answer)), code(record.ours), worlds, matter];
        }),
    ),
  );
  return `## Records\n\n${table(['record', 'Linux 7.3', 'node-vfio', 'worlds', 'matter'], rows)}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
    .join('\n');
}

function code(text: string): string {
  return `\`${text}\``;
}
