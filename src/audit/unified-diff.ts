/*
 * Edits as a unified diff that `patch -p1` and `git apply` take.
 */
import type { Audit } from './audit.ts';
import { applyEdits, type Edit } from './fix.ts';
import { lineAt, type SourceFile, sourceFile } from './tokens.ts';

const CONTEXT_LINES = 3;

interface Change {
  /** First and last line of the old text, from 1. */
  readonly first: number;
  last: number;
  readonly edits: Edit[];
}

/** The diff of one file, with names a/… and b/… as git writes them. Empty without edits. */
export function unifiedDiff(file: SourceFile, edits: readonly Edit[]): string {
  const changes: Change[] = [];
  for (const edit of [...edits].sort((a, b) => a.start - b.start)) {
    const first = lineAt(file, edit.start);
    const last = lineAt(file, Math.max(edit.start, edit.end - 1));
    const before = changes.at(-1);
    if (before !== undefined && first <= before.last) {
      before.last = Math.max(before.last, last);
      before.edits.push(edit);
    } else changes.push({ first, last, edits: [edit] });
  }
  if (changes.length === 0) return '';
  const lines = file.text.split('\n');
  // A text that ends with a line feed has no line after it.
  if (lines.at(-1) === '') lines.pop();
  const hunks: string[] = [];
  let shift = 0;
  for (let index = 0; index < changes.length; ) {
    let next = index + 1;
    while (next < changes.length && changes[next]!.first - changes[next - 1]!.last <= 2 * CONTEXT_LINES)
      next++;
    const group = changes.slice(index, next);
    const start = Math.max(1, group[0]!.first - CONTEXT_LINES);
    const end = Math.min(lines.length, group.at(-1)!.last + CONTEXT_LINES);
    const body: string[] = [];
    let added = 0;
    let line = start;
    for (const change of group) {
      for (; line < change.first; line++) body.push(` ${lines[line - 1]}`);
      const offset = file.lineStarts[change.first - 1]!;
      const old = lines.slice(change.first - 1, change.last);
      const moved = change.edits.map((edit) => ({
        ...edit,
        start: edit.start - offset,
        end: edit.end - offset,
      }));
      const made = applyEdits(old.join('\n'), moved).split('\n');
      body.push(...changedLines(old, made));
      added += made.length - old.length;
      line = change.last + 1;
    }
    for (; line <= end; line++) body.push(` ${lines[line - 1]}`);
    const count = end - start + 1;
    hunks.push(`@@ -${start},${count} +${start + shift},${count + added} @@`, ...body);
    shift += added;
    index = next;
  }
  return `--- a/${file.path}\n+++ b/${file.path}\n${hunks.join('\n')}\n`;
}

/** Lines that begin or end both sides stay as they are. */
function changedLines(old: readonly string[], made: readonly string[]): string[] {
  let head = 0;
  while (head < old.length && head < made.length && old[head] === made[head]) head++;
  let tail = 0;
  while (
    tail < old.length - head &&
    tail < made.length - head &&
    old[old.length - 1 - tail] === made[made.length - 1 - tail]
  ) {
    tail++;
  }
  return [
    ...old.slice(0, head).map((line) => ` ${line}`),
    ...old.slice(head, old.length - tail).map((line) => `-${line}`),
    ...made.slice(head, made.length - tail).map((line) => `+${line}`),
    ...old.slice(old.length - tail).map((line) => ` ${line}`),
  ];
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
