/**
 * An audit for people: drivers with their handlers and what was found, each finding with its line and a caret, and at
 * the end how much was read.
 */
import { dirname } from 'node:path/posix';
import type { Audit, Finding, HandlerReport } from '../../audit/index.ts';
import type { Style } from '../terminal.ts';

const TAB_COLUMNS = 8;

export function renderAudit({ report, texts, fixes }: Audit, style: Style): string {
  const out: string[] = [];
  const folders = new Map<string, { handlers: HandlerReport[]; findings: Finding[] }>();
  const group = (folder: string): { handlers: HandlerReport[]; findings: Finding[] } => {
    const known = folders.get(folder) ?? { handlers: [], findings: [] };
    folders.set(folder, known);
    return known;
  };
  for (const handler of report.handlers) group(dirname(handler.file)).handlers.push(handler);
  for (const finding of report.findings) group(dirname(finding.file)).findings.push(finding);

  for (const [folder, { handlers, findings }] of [...folders].sort(([a], [b]) => a.localeCompare(b))) {
    out.push(style.strong(folder));
    for (const handler of handlers) out.push(`  ${describeHandler(handler)}`);
    for (const finding of findings) {
      const paint = finding.severity === 'note' ? style.faint : style.bad;
      out.push(
        '',
        `  ${finding.file}:${finding.line}:${finding.column}: ${paint(finding.severity)}: ${finding.message} [${finding.rule}]`,
        ...quote(finding, texts.get(finding.file) ?? ''),
      );
    }
    out.push('');
  }
  for (const fix of fixes) {
    if (fix.edits.length > 0) continue;
    out.push(
      `${fix.place.file}:${fix.place.line}: --patch has no mechanical fix for ${fix.handler}: ${fix.reason}`,
    );
  }
  const { coverage, files } = report;
  for (const failed of coverage.failed) {
    out.push(style.faint(`${failed.file}:${failed.line}: ${failed.function} is partly beyond the C grammar`));
  }
  const share = coverage.functions === 0 ? 100 : (100 * coverage.parsed) / coverage.functions;
  const counts = ['error', 'warning', 'note'].map((severity) => {
    const count = report.findings.filter((finding) => finding.severity === severity).length;
    return `${count} ${severity}${count === 1 ? '' : 's'}`;
  });
  const suppressed = report.suppressed > 0 ? ` (${report.suppressed} suppressed)` : '';
  out.push(
    `${report.handlers.length} handler${report.handlers.length === 1 ? '' : 's'}: ${counts.join(', ')}${suppressed}`,
    `searched ${files.searched} files, read ${files.read}; parsed ${coverage.parsed} of ${coverage.functions} functions of interest (${share.toFixed(1)} %)`,
  );
  return `${out.join('\n')}\n`;
}

function describeHandler(handler: HandlerReport): string {
  const { bounds } = handler;
  const bounded = [bounds.size ? 'size' : null, bounds.shared ? 'VM_SHARED' : null].filter(
    (name) => name !== null,
  );
  const fault = handler.faultFrom === null ? '' : ` from ${handler.faultFrom}`;
  return [
    `${handler.function} (${handler.file}:${handler.line}, ${handler.role})`,
    `coding ${handler.coding}`,
    `decode ${handler.decode}`,
    `mapping ${handler.mapping}${fault}`,
    `zap ${handler.zap}`,
    `checks ${bounded.length === 0 ? 'nothing' : bounded.join(' and ')}`,
    ...(handler.complete ? [] : ['could not be followed to the end']),
  ].join('; ');
}

/** The line of a finding and a caret line below it; tabs become spaces, so that both have the same columns. */
function quote(finding: Finding, text: string): string[] {
  const line = text.split('\n')[finding.line - 1];
  if (line === undefined) return [];
  const number = String(finding.line).padStart(6);
  const before = expandTabs(line.slice(0, finding.column - 1)).length;
  const marked = expandTabs(line.slice(0, finding.endColumn - 1)).length - before;
  return [
    `  ${number} | ${expandTabs(line)}`,
    `  ${' '.repeat(number.length)} | ${' '.repeat(before)}${'^'.repeat(Math.max(1, marked))}`,
  ];
}

function expandTabs(text: string): string {
  let out = '';
  for (const char of text) out += char === '\t' ? ' '.repeat(TAB_COLUMNS - (out.length % TAB_COLUMNS)) : char;
  return out;
}
