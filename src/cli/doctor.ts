/**
 * `vfio doctor`: what this machine has and lacks for serving devices to QEMU, and what to do about it.
 */
import { Command } from 'commander';
import { ADVICE } from './doctor/advice.ts';
import { CHECKS } from './doctor/checks.ts';
import { look } from './doctor/look.ts';
import { renderFindings } from './doctor/render.ts';
import { EXIT_FAILURE, EXIT_OK } from './exit-codes.ts';
import { styleFor } from './terminal.ts';

interface DoctorFlags {
  readonly qemu?: string;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  vfio doctor
  vfio doctor --qemu=/opt/qemu/bin/qemu-system-x86_64
  vfio doctor --json | jq '.checks[] | select(.state == "problem")'

A note hinders nothing.

Exit codes: 0 nothing is in the way, 1 something is, 2 wrong command line`;

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('check what this machine has and lacks, and say what to do')
    .option('--qemu <path>', 'QEMU to look at')
    .option('--json', 'one JSON object')
    .addHelpText('after', EXAMPLES)
    .action(async (flags: DoctorFlags) => {
      process.exitCode = await run(flags);
    });
}

async function run(flags: DoctorFlags): Promise<number> {
  const probe = await look(flags.qemu ?? null);
  const checks = CHECKS.map((check) => check(probe));
  const ok = checks.every((finding) => finding.state !== 'problem');
  const output = process.stdout;
  output.write(
    flags.json === true
      ? `${JSON.stringify({ ok, checks, advice: ADVICE })}\n`
      : renderFindings(checks, styleFor(output)),
  );
  return ok ? EXIT_OK : EXIT_FAILURE;
}
