/**
 * `vfio demo`: the rules of device memory, shown on real processes.
 */
import { readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { runDemo } from './demo/run.ts';
import { MAX_FILE_BYTES } from './demo/scene.ts';
import { EXIT_FAILURE, EXIT_OK } from './exit-codes.ts';
import { formatSize } from './size.ts';
import { UsageError } from './usage-error.ts';

interface DemoFlags {
  readonly json?: boolean;
  readonly file?: string;
  readonly twoServers?: boolean;
}

/** The package's own package.json: a file that is there whoever runs the demo. */
const DEFAULT_FILE = fileURLToPath(new URL('../../package.json', import.meta.url));

const EXAMPLES = `
Examples:
  vfio demo
  vfio demo --two-servers --file=/usr/share/misc/pci.ids
  vfio demo --json | jq -c 'select(.ok | not)'

Exit codes: 0 every step went as it must, 1 one did not, 2 wrong command line`;

export function demoCommand(): Command {
  return new Command('demo')
    .description('move a file by peer-to-peer DMA, then take the memory away and give it back')
    .option('--file <path>', `file to move (at most ${formatSize(MAX_FILE_BYTES)})`, DEFAULT_FILE)
    .option('--two-servers', 'edu and ram in a process each')
    .option('--json', 'one JSON object a step')
    .addHelpText('after', EXAMPLES)
    .action(async (flags: DemoFlags) => {
      process.exitCode = await demo(flags);
    });
}

async function demo(flags: DemoFlags): Promise<number> {
  const path = flags.file ?? DEFAULT_FILE;
  const ok = await runDemo({
    file: readInput(path),
    fileName: basename(path),
    twoServers: flags.twoServers ?? false,
    json: flags.json ?? false,
    output: process.stdout,
    errorOutput: process.stderr,
  });
  return ok ? EXIT_OK : EXIT_FAILURE;
}

function readInput(path: string): Uint8Array {
  const info = statSync(path, { throwIfNoEntry: false });
  if (info === undefined) throw new UsageError(`there is no file ${path}`, 'Give --file another path.');
  if (!info.isFile()) throw new UsageError(`${path} is not a regular file`, 'Give --file another path.');
  if (info.size > MAX_FILE_BYTES) {
    const limit = formatSize(MAX_FILE_BYTES);
    throw new UsageError(
      `${path} has ${info.size} bytes`,
      `The demo moves at most ${limit}; take a smaller file.`,
    );
  }
  if (info.size === 0) throw new UsageError(`${path} is empty`, 'Take a file with something in it.');
  return readFileSync(path);
}
