/**
 * `vfio inspect`: what a device is and what its memory allows, read over its socket.
 */
import { Command } from 'commander';
import { openDevice } from '../client/index.ts';
import { VfioError } from '../core/index.ts';
import { EXIT_OK } from './exit-codes.ts';
import { lspciDump } from './inspect/lspci-dump.ts';
import { systemPciNames } from './inspect/pci-ids.ts';
import { render } from './inspect/render.ts';
import { inspect, readConfig } from './inspect/report.ts';
import { styleFor } from './terminal.ts';

interface InspectFlags {
  readonly json?: boolean;
  readonly hex?: boolean;
}

const EXAMPLES = `
Examples:
  vfio inspect /tmp/edu.sock
  vfio inspect unix:/run/ram.sock --json
  vfio inspect /tmp/edu.sock --hex > edu.txt && lspci -F edu.txt -vv

A server has one client at a time: a device that is attached to QEMU cannot be inspected.
Exit codes: 0 ok, 1 the device cannot be reached, 2 wrong command line`;

export function inspectCommand(): Command {
  return new Command('inspect')
    .description('show identity, capabilities, regions and interrupts of a device')
    .argument('<address>', 'path of a vfio-user socket, or unix:PATH')
    .option('--json', 'one JSON object')
    .option(
      '--hex',
      'config space of a PCI device as hexadecimal digits, in the format that `lspci -F` reads',
    )
    .addHelpText('after', EXAMPLES)
    .action(async (address: string, flags: InspectFlags) => {
      process.stdout.write(await run(address, flags));
      process.exitCode = EXIT_OK;
    });
}

async function run(address: string, flags: InspectFlags): Promise<string> {
  const handle = await openDevice(address);
  try {
    if (flags.hex === true) {
      const { kind } = handle.info;
      if (kind !== 'pci') {
        const what = kind === 'unknown' ? 'it is no PCI device' : `it is a ${kind} device`;
        throw new VfioError('EINVAL', `${address} has no config space, ${what}; inspect it without --hex`);
      }
      const regions = [await handle.regionInfo(7)];
      return lspciDump(await readConfig(handle, regions));
    }
    const report = await inspect(handle, systemPciNames());
    if (flags.json === true) return `${JSON.stringify(report)}\n`;
    return render(report, styleFor(process.stdout));
  } finally {
    await handle.close();
  }
}
