/**
 * `vfio serve`: puts devices on vfio-user sockets, for QEMU, for our own client, for any other.
 *
 * It follows the conventions for such programs: --socket-path and --fd, no daemon, an orderly end on SIGTERM.
 */
import { Command } from 'commander';
import { addDeviceOptions, type DeviceFlags, deviceOptions, wholeNumber } from './device-options.ts';
import { EXIT_OK } from './exit-codes.ts';
import { checkWatch, type DeviceArgument, resolveDevices } from './serve/device-argument.ts';
import { jsonTeller, textTeller } from './serve/events.ts';
import { type ServeOptions, serve } from './serve/run.ts';
import { TraceFile } from './serve/trace-file.ts';
import { styleFor } from './terminal.ts';
import { UsageError } from './usage-error.ts';

interface ServeFlags extends DeviceFlags {
  readonly socketPath?: string;
  readonly fd?: number;
  readonly json?: boolean;
  readonly control?: boolean;
  readonly worker?: boolean;
  readonly trace?: string;
  /** True, or the path of the link. */
  readonly pty?: string | true;
}

const EXAMPLES = `
Examples:
  vfio serve edu --socket-path=/tmp/edu.sock
  vfio serve edu:/tmp/edu.sock ram:/tmp/ram.sock --size=64G
  vfio serve serial --socket-path=/tmp/serial.sock --pty=/tmp/tty-guest
  vfio serve ./my-device.ts --socket-path=/tmp/my.sock --option serial=42
  vfio serve ./my-device.ts --socket-path=/tmp/my.sock --trace talk.txt
  vfio serve ./my-device.ts --socket-path=/tmp/my.sock --watch

QEMU 10.1 or newer attaches with the -device option that is printed; its memory must be shared:
  -object memory-backend-memfd,id=mem,size=1G,share=on -machine q35,memory-backend=mem

With --trace, every message is a line: ms since the start, device, > to the device or < to
the client, id, command, ok or the errno, and what is in it. The file ends at 256 MiB.

With --watch, saving a module, or a file that it imports by path, puts a new device in the place of
the old one while the guest runs on. The guest sees a reset, or nothing if the class carries its state
over (saveState). A device with other ids, regions or interrupts is refused, and the old one goes on.

With --control, lines on stdin act on devices: list, reset NAME, release NAME,
consent NAME REGION AREA allow|deny. The server stops when stdin ends.

Exit codes: 0 stopped by SIGTERM or SIGINT, 1 failure, 2 wrong command line`;

export function serveCommand(): Command {
  const command = new Command('serve')
    .description('serve devices on vfio-user sockets until SIGTERM')
    .argument(
      '<device...>',
      'edu, ram, serial or the path of a module, each with :SOCKET behind it if it has its own',
    )
    .option('--socket-path <path>', 'socket of the one device')
    .option('--fd <number>', 'inherited UNIX socket of the one device, listening or connected', wholeNumber);
  return addDeviceOptions(command)
    .option(
      '--pty [link]',
      'serial: connect a pseudo terminal, with a symbolic link to it if you write --pty=PATH',
    )
    .option('--worker', 'run each device in a thread of its own')
    .option('--trace <file>', 'write down what clients and devices say to each other; - is stderr')
    .option('--control', 'read commands from stdin')
    .option('--json', 'one JSON object an event')
    .addHelpText('after', EXAMPLES)
    .action(async (texts: string[], flags: ServeFlags) => {
      process.exitCode = await run(texts, flags);
    });
}

async function run(texts: readonly string[], flags: ServeFlags): Promise<number> {
  const fd = flags.fd ?? null;
  const devices = resolveDevices(texts, { socketPath: flags.socketPath ?? null, fd });
  if (flags.worker === true && flags.control === true) {
    throw new UsageError(
      '--control does not reach devices in other threads',
      'Leave --worker or --control out.',
    );
  }
  const pty = terminalOf(flags, devices);
  if (flags.watch === true && flags.worker === true) {
    throw new UsageError('--watch does not reach devices in other threads', 'Leave --worker or --watch out.');
  }
  if (flags.watch === true) checkWatch(devices);
  const trace = flags.trace === undefined ? null : TraceFile.open(flags.trace, { onEnd: tellTraceEnd });
  const output = process.stdout;
  const json = flags.json ?? false;
  await serve({
    devices,
    fd,
    deviceOptions: deviceOptions(flags),
    busyPollUs: flags.busyPollUs ?? 0,
    worker: flags.worker ?? false,
    trace: trace?.add ?? null,
    watch: flags.watch ?? false,
    json,
    pty,
    controlInput: flags.control === true ? process.stdin : null,
    tell: json ? jsonTeller(output) : textTeller(output, styleFor(output)),
  }).finally(() => trace?.close());
  return EXIT_OK;
}

function tellTraceEnd(reason: string): void {
  process.stderr.write(`vfio serve: the trace has ended: ${reason}\n`);
}

/** What --pty asks for, or null without it. */
function terminalOf({ pty, worker }: ServeFlags, devices: readonly DeviceArgument[]): ServeOptions['pty'] {
  if (pty === undefined) return null;
  const ports = devices.filter(({ device }) => device === 'serial').length;
  if (ports === 0) {
    throw new UsageError(
      `--pty is the other end of a serial port, and ${devices[0]!.name} is none`,
      'Serve serial, or leave --pty out.',
    );
  }
  if (worker === true) {
    throw new UsageError('--pty does not reach devices in other threads', 'Leave --worker or --pty out.');
  }
  if (pty === '') throw new UsageError('the link of --pty is empty', 'Write --pty, or --pty=PATH.');
  if (pty !== true && ports > 1) {
    throw new UsageError(
      `${ports} serial ports cannot have the one link ${pty}`,
      'Write --pty without a path; each port tells the path of its terminal.',
    );
  }
  return { link: pty === true ? null : pty };
}
