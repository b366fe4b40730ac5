/*
 * Findings that somebody has looked at: a comment `vfio-audit: ignore RULE -- reason` on the line or the line above, or a
 * baseline, which is what `--json` printed at some time.
 */
import { readFileSync } from 'node:fs';
import { VfioError } from '../core/index.ts';
import type { Finding } from './rules.ts';
import type { SourceFile } from './tokens.ts';

const COMMENT = /vfio-audit:\s*ignore\s+([a-z-]+(?:\s*,\s*[a-z-]+)*)/;

/** Whether a comment of the sources takes a finding out. */
export function isIgnored(finding: Finding, sources: ReadonlyMap<string, SourceFile>): boolean {
  const file = sources.get(finding.file);
  if (file === undefined) return false;
  return [finding.line, finding.line - 1].some((line) => {
    const start = file.lineStarts[line - 1];
    if (start === undefined) return false;
    const [, list = ''] =
      COMMENT.exec(file.text.slice(start, file.lineStarts[line] ?? file.text.length)) ?? [];
    return list.split(',').some((name) => name.trim() === finding.rule);
  });
}

/** What stays the same when lines move. */
export const fingerprint = (finding: Pick<Finding, 'rule' | 'file' | 'function'>): string =>
  `${finding.rule} ${finding.file} ${finding.function}`;

/** The fingerprints of a baseline. ENOENT or EINVAL when the file is not there or is none. */
export function readBaseline(path: string): ReadonlySet<string> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new VfioError(
      'ENOENT',
      `the baseline ${path} cannot be read. Make one: vfio audit TREE --json > ${path}`,
      {
        cause: error,
      },
    );
  }
  try {
    const { findings } = JSON.parse(text) as { findings: Finding[] };
    return new Set(findings.map(fingerprint));
  } catch (error) {
    throw new VfioError('EINVAL', `${path} is no output of vfio audit --json. Make it anew`, {
      cause: error,
    });
  }
}
