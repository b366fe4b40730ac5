/**
 * `vfio audit`: the mmap handlers of VFIO drivers in a kernel tree, and what is wrong with them.
 */
import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { type Audit, audit, patchOf, RULES, toSarif } from '../audit/index.ts';
import { VfioError } from '../core/index.ts';
import { renderAudit } from './audit/render.ts';
import { EXIT_FAILURE, EXIT_OK } from './exit-codes.ts';
import { Progress, styleFor } from './terminal.ts';
import { UsageError } from './usage-error.ts';
import { VERSION } from './version.ts';

interface AuditFlags {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly sarif?: string;
  readonly since?: string;
  readonly rule?: readonly string[];
  readonly patch?: string;
  readonly baseline?: string;
}

const EXAMPLES = `
Examples:
  vfio audit ~/linux
  vfio audit ~/linux --since origin/master
  vfio audit drivers/vfio/cdx/main.c --rule pgoff-overwritten --patch fix.diff
  vfio audit ~/linux --json > known.json; vfio audit ~/linux --baseline known.json --sarif audit.sarif

Rules, each with a page in docs/audit:
${RULES.map(({ name, summary }) => `  ${name.padEnd(24)} ${summary}`).join('\n')}

A comment \`vfio-audit: ignore RULE -- reason\` on the line or the line above takes a finding out.
Exit codes: 0 no error and no warning, 1 at least one, or the audit failed, 2 wrong command line`;

export function auditCommand(): Command {
  return new Command('audit')
    .description(
      'find mmap handlers in kernel sources that break the coding of vm_pgoff, the zap or the bounds',
    )
    .argument('<tree or files...>', 'a Linux tree, or folders or files of one')
    .option('--json', 'one JSON object: handlers, consumers, findings, coverage')
    .option('--quiet', 'no output but errors; the exit code tells')
    .option('--sarif <file>', 'also write the findings as SARIF 2.1.0')
    .option('--since <revision>', 'only handlers that changed since a git revision, or in a range A..B')
    .option('--rule <name...>', 'only these rules')
    .option('--patch <file>', 'write a unified diff with the mechanical fixes')
    .option('--baseline <file>', 'do not report what an earlier --json output has')
    .addHelpText('after', EXAMPLES)
    .action(async (paths: string[], flags: AuditFlags) => {
      process.exitCode = await run(paths, flags);
    });
}

async function run(paths: readonly string[], flags: AuditFlags): Promise<number> {
  const unknown = flags.rule?.find((name) => !RULES.some((rule) => rule.name === name));
  if (unknown !== undefined) {
    throw new UsageError(
      `there is no rule ${unknown}`,
      `There are ${RULES.map(({ name }) => name).join(', ')}`,
    );
  }
  const progress = new Progress(process.stderr);
  let result: Audit;
  try {
    result = await audit({
      paths,
      progress: (text) => progress.show(text),
      ...(flags.rule === undefined ? {} : { rules: flags.rule }),
      ...(flags.since === undefined ? {} : { since: flags.since }),
      ...(flags.baseline === undefined ? {} : { baseline: flags.baseline }),
    });
  } finally {
    progress.clear();
  }
  const { report } = result;
  if (flags.sarif !== undefined) save(flags.sarif, `${JSON.stringify(toSarif(report, VERSION), null, 2)}\n`);
  if (flags.patch !== undefined) save(flags.patch, patchOf(result));
  if (flags.json === true) process.stdout.write(`${JSON.stringify(report)}\n`);
  else if (flags.quiet !== true) process.stdout.write(renderAudit(result, styleFor(process.stdout)));
  return report.findings.some(({ severity }) => severity !== 'note') ? EXIT_FAILURE : EXIT_OK;
}

function save(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw new VfioError('EIO', `${path} cannot be written: ${(error as Error).message}. Name another file`, {
      cause: error,
    });
  }
}
