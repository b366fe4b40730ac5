/*
 * Findings as SARIF 2.1.0, which code hosts show beside a change. Source: OASIS Static Analysis Results Interchange
 * Format 2.1.0; levels are error, warning and note, columns and lines count from 1, `endColumn` is one behind the last.
 */
import type { AuditReport } from './audit.ts';
import { RULES } from './rules.ts';
import { fingerprint } from './suppress.ts';

const DOCUMENT = 'https://www.npmjs.com/package/vfio';

/** One SARIF log with one run. */
export function toSarif(report: AuditReport, version: string): object {
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'vfio audit',
            version,
            informationUri: DOCUMENT,
            rules: RULES.map(({ name, summary, severity }) => ({
              id: name,
              shortDescription: { text: summary },
              defaultConfiguration: { level: severity },
              helpUri: DOCUMENT,
            })),
          },
        },
        originalUriBaseIds: { TREE: { uri: `file://${encodeURI(report.root)}/` } },
        columnKind: 'utf16CodeUnits',
        results: report.findings.map((finding) => ({
          ruleId: finding.rule,
          ruleIndex: RULES.findIndex(({ name }) => name === finding.rule),
          level: finding.severity,
          message: { text: `${finding.function}: ${finding.message}` },
          locations: [
            {
              physicalLocation: {
                artifactLocation: { uri: encodeURI(finding.file), uriBaseId: 'TREE' },
                region: {
                  startLine: finding.line,
                  startColumn: finding.column,
                  endColumn: finding.endColumn,
                },
              },
              logicalLocations: [{ name: finding.function, kind: 'function' }],
            },
          ],
          partialFingerprints: { 'vfioAudit/v1': fingerprint(finding) },
        })),
      },
    ],
  };
}
