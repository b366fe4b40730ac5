/*
 * Edits as a unified diff that `patch -p1` and `git apply` take.
 */
import type { Audit } from './audit.ts';
import { applyEdits, type Edit } from './fix.ts';
import { lineAt, type SourceFile, sourceFile } from './tokens.ts';

const CONTEXT_LINES = 3;

/** Lines of a file that become others. */
interface Change {
  /** The first old line that goes, or before which others come; from 1. */
  readonly first: number;
  readonly removed: readonly string[];
  readonly added: readonly string[];
}

/** The diff of one file, with names a/… and b/… as git writes them. Empty without edits. */
function unifiedDiff(file: SourceFile, edits: readonly Edit[]): string {
  const lines = file.text.split('\n');
  // A text that ends with a line feed has no line after it.
  if (lines.at(-1) === '') lines.pop();
  const changes = changesOf(file, lines, edits);
  const hunks: string[] = [];
  let shift = 0;
  for (let index = 0; index < changes.length; ) {
    let next = index + 1;
    while (next < changes.length && changes[next]!.first - endOf(changes[next - 1]!) <= 2 * CONTEXT_LINES)
      next++;
    const group = changes.slice(index, next);
    const start = Math.max(1, group[0]!.first - CONTEXT_LINES);
    const end = Math.min(lines.length, endOf(group.at(-1)!) - 1 + CONTEXT_LINES);
    const body: string[] = [];
    let line = start;
    let growth = 0;
    for (const { first, removed, added } of group) {
      for (; line < first; line++) body.push(` ${lines[line - 1]}`);
      body.push(...removed.map((text) => `-${text}`), ...added.map((text) => `+${text}`));
      line += removed.length;
      growth += added.length - removed.length;
    }
    for (; line <= end; line++) body.push(` ${lines[line - 1]}`);
    const count = end - start + 1;
    hunks.push(`@@ -${start},${count} +${start + shift},${count + growth} @@`, ...body);
    shift += growth;
    index = next;
  }
  return hunks.length === 0 ? '' : `--- a/${file.path}\n+++ b/${file.path}\n${hunks.join('\n')}\n`;
}

/** The first old line after a change. */
const endOf = ({ first, removed }: Change): number => first + removed.length;

function changesOf(file: SourceFile, lines: readonly string[], edits: readonly Edit[]): Change[] {
  const groups: { first: number; last: number; edits: Edit[] }[] = [];
  for (const edit of [...edits].sort((a, b) => a.start - b.start)) {
    const first = lineAt(file, edit.start);
    const last = lineAt(file, Math.max(edit.start, edit.end - 1));
    const before = groups.at(-1);
    if (before !== undefined && first <= before.last) {
      before.last = Math.max(before.last, last);
      before.edits.push(edit);
    } else groups.push({ first, last, edits: [edit] });
  }
  return groups.map((group) => {
    const offset = file.lineStarts[group.first - 1]!;
    const old = lines.slice(group.first - 1, group.last);
    const moved = group.edits.map((edit) => ({
      ...edit,
      start: edit.start - offset,
      end: edit.end - offset,
    }));
    const made = applyEdits(old.join('\n'), moved).split('\n');
    // Lines that begin or end both sides stay as they are.
    const head = commonLength(old, made);
    const tail = commonLength(old.slice(head).reverse(), made.slice(head).reverse());
    return {
      first: group.first + head,
      removed: old.slice(head, old.length - tail),
      added: made.slice(head, made.length - tail),
    };
  });
}

function commonLength(a: readonly string[], b: readonly string[]): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}

/** The diff of all fixes of an audit, file by file. Empty when nothing can be fixed mechanically. */
export function patchOf(audit: Audit): string {
  const edits = new Map<string, Edit[]>();
  for (const fix of audit.fixes) {
    if (fix.edits.length > 0) edits.set(fix.place.file, [...(edits.get(fix.place.file) ?? []), ...fix.edits]);
  }
  return [...edits]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([path, list]) => unifiedDiff(sourceFile(path, audit.texts.get(path) ?? ''), list))
    .join('');
}
