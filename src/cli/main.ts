#!/usr/bin/env node
/**
 * The command `vfio`. Each subcommand has its own file; here they are put together, and what went wrong
 * becomes a message that names cause and next step, and an exit code.
 */
import { Command, CommanderError } from 'commander';
import { VfioError } from '../core/index.ts';
import { DeviceSetupError } from '../server/index.ts';
import { auditCommand } from './audit.ts';
import { demoCommand } from './demo.ts';
import { doctorCommand } from './doctor.ts';
import { EXIT_FAILURE, EXIT_OK, EXIT_USAGE } from './exit-codes.ts';
import { exploreCommand } from './explore.ts';
import { inspectCommand } from './inspect.ts';
import { qemuCommand } from './qemu.ts';
import { serveCommand } from './serve.ts';
import { UsageError } from './usage-error.ts';
import { VERSION } from './version.ts';

const EXAMPLES = `
Examples:
  vfio doctor
  vfio demo
  vfio serve edu --socket-path=/tmp/edu.sock
  vfio qemu edu ram -- -nographic -kernel bzImage -append console=ttyS0
  vfio inspect /tmp/edu.sock
  vfio explore --matrix
  vfio audit ~/linux
  vfio help serve

Exit codes: 0 ok, 1 a finding or a failure, 2 wrong command line`;

function program(): Command {
  const command = new Command('vfio')
    .description('VFIO in user space: serve PCI devices, look at them, and see the rules of their memory')
    .version(VERSION)
    .showHelpAfterError('(add --help for what there is)')
    .addHelpText('after', EXAMPLES);
  for (const subcommand of [
    serveCommand(),
    qemuCommand(),
    inspectCommand(),
    demoCommand(),
    doctorCommand(),
    exploreCommand(),
    auditCommand(),
  ]) {
    subcommand.copyInheritedSettings(command).exitOverride();
    command.addCommand(subcommand);
  }
  return command.exitOverride();
}

/** What to print and how to exit after `error`. Errors that nobody foresaw keep their stack. */
function explain(error: unknown): { readonly message: string; readonly code: number } {
  if (error instanceof CommanderError) {
    // Commander has printed it already; help and version are no mistakes.
    return { message: '', code: error.exitCode === 0 ? EXIT_OK : EXIT_USAGE };
  }
  if (error instanceof UsageError) {
    return { message: `vfio: ${error.message}. ${error.nextStep}\n`, code: EXIT_USAGE };
  }
  if (error instanceof DeviceSetupError) return { message: `vfio: ${error.message}\n`, code: EXIT_USAGE };
  if (error instanceof VfioError) {
    const code = error.message.includes(error.code) ? '' : `${error.code}: `;
    return { message: `vfio: ${code}${error.message}\n`, code: EXIT_FAILURE };
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { message: `vfio: ${text}\n`, code: EXIT_FAILURE };
}

// Whoever read the output may be gone (`vfio demo | head`): there is nobody to tell, and the command still ends well.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});

try {
  await program().parseAsync();
} catch (error) {
  const { message, code } = explain(error);
  process.stderr.write(message);
  process.exitCode = code;
}
