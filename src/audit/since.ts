/*
 * Which lines a range of commits has changed, asked of git.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { VfioError } from '../core/index.ts';

const MAX_OUTPUT_BYTES = 1 << 30;
const FILE = /^\+\+\+ (?:b\/(.*)|\/dev\/null)$/;
const HUNK = /^@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@/;

/** For each file the changed ranges of lines, both ends included. */
export type LineRanges = ReadonlyMap<string, readonly (readonly [number, number])[]>;

/**
 * What changed since a revision, up to what is in the tree now; or between the two of a range `A..B`, whose end should be
 * what is checked out. EINVAL when git does not know it.
 */
export async function changedLines(root: string, since: string): Promise<LineRanges> {
  if (since.startsWith('-'))
    throw new VfioError('EINVAL', `${since} is no revision. Give one, or a range A..B`);
  try {
    const args = [
      '-C',
      root,
      'diff',
      '--unified=0',
      '--no-color',
      '--no-ext-diff',
      '--relative',
      '--src-prefix=a/',
      '--dst-prefix=b/',
      since,
      '--',
    ];
    const { stdout } = await promisify(execFile)('git', args, { maxBuffer: MAX_OUTPUT_BYTES });
    return parseDiff(stdout);
  } catch (error) {
    const told =
      String((error as { stderr?: string }).stderr ?? '')
        .trim()
        .split('\n')[0] ?? '';
    throw new VfioError(
      'EINVAL',
      `git cannot compare ${root} with ${since}: ${told}. Name a revision of that tree`,
      {
        cause: error,
      },
    );
  }
}

/** The changed lines of the new side of a diff without context. Where lines only went, the line that follows counts. */
function parseDiff(text: string): LineRanges {
  const ranges = new Map<string, [number, number][]>();
  let current: [number, number][] | null = null;
  for (const line of text.split('\n')) {
    const file = FILE.exec(line);
    if (file !== null) {
      current = file[1] === undefined ? null : [];
      if (current !== null) ranges.set(file[1]!, current);
      continue;
    }
    const hunk = HUNK.exec(line);
    if (hunk === null || current === null) continue;
    const start = Number(hunk[1]);
    const count = hunk[2] === undefined ? 1 : Number(hunk[2]);
    current.push(count === 0 ? [start, start + 1] : [start, start + count - 1]);
  }
  return ranges;
}

export function touches(
  ranges: LineRanges,
  span: { readonly file: string; readonly line: number; readonly endLine: number },
): boolean {
  return (ranges.get(span.file) ?? []).some(([start, end]) => start <= span.endLine && end >= span.line);
}
