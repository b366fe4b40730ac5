/**
 * `vfio qemu`: a guest with devices of ours, in one command: serves them and runs QEMU with them.
 */
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { VfioError } from '../core/index.ts';
import {
  bootsSomething,
  chosenAccelerator,
  commandLine,
  type FoundQemu,
  findCache,
  findQemu,
  kvmObstacle,
  onSearchPath,
  QemuArgumentError,
  readKvmFacts,
  type ShellGuest,
  setUpCache,
  shellGuest,
  shellLine,
  waysToGetQemu,
  whatIsMissing,
} from '../qemu/index.ts';
import { addDeviceOptions, type DeviceFlags, deviceOptions, deviceWords, size } from './device-options.ts';
import { EXIT_FAILURE, EXIT_OK } from './exit-codes.ts';
import { type GuestTeller, jsonGuestTeller, textGuestTeller } from './qemu/events.ts';
import { runGuest } from './qemu/run.ts';
import { makeSocketFolder, socketParents } from './qemu/socket-folder.ts';
import { checkWatch, type DeviceArgument, placeDevices } from './serve/device-argument.ts';
import { TraceFile } from './serve/trace-file.ts';
import { styleFor } from './terminal.ts';
import { UsageError } from './usage-error.ts';

interface QemuFlags extends DeviceFlags {
  readonly qemu?: string;
  readonly memory?: number;
  readonly setup?: boolean;
  readonly trace?: string;
  readonly print?: boolean;
  readonly verbose?: boolean;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  vfio qemu --setup
  vfio qemu edu ram
  vfio qemu edu ram -- -nographic -kernel bzImage -append console=ttyS0
  vfio qemu ./my-device.ts --option serial=42 --memory=4G -- -drive file=disk.qcow2
  vfio qemu ./my-device.ts --watch
  vfio qemu edu --print -- -cdrom debian.iso

What stands behind -- goes to QEMU and wins over what would be added: machine, accelerator, memory, console.
The guest's memory stays shared with the devices; arguments that would make it private are refused.
QEMU has stdin and stdout. What there is to say goes to stderr, with --json as one object an event, and what
QEMU writes to its stderr as events among them.

QEMU is the one of --qemu, else of the variable VFIO_QEMU, else the first on PATH that has vfio-user-pci, else
that of the cache. When the arguments boot nothing, a guest of the cache is booted to a shell. --setup fills the
cache: Debian's packages, unpacked there (XDG_CACHE_HOME or ~/.cache), nothing is installed.

Exit codes: 0 QEMU ended well or was stopped, 1 failure, 2 wrong command line`;

export function qemuCommand(): Command {
  const command = new Command('qemu')
    .description('serve devices and run QEMU with them in it')
    .usage('<device...> [options] [-- QEMU arguments]')
    .argument('[device...]', 'edu, ram, serial or the path of a module');
  return addDeviceOptions(command)
    .option('--qemu <path>', 'QEMU to run')
    .option('--memory <size>', 'RAM of the guest (default: 1G)', size)
    .option('--setup', 'fetch a QEMU and a small Linux guest into the cache, if they are not there (150 MB)')
    .option('--print', 'print the commands that do the same, and do nothing')
    .option('--trace <file>', 'write down what QEMU and the devices say to each other')
    .option('--verbose', 'tell every event of the devices')
    .option('--json', 'one JSON object an event, on stderr')
    .addHelpText('after', EXAMPLES)
    .action(async (words: string[], flags: QemuFlags) => {
      const dashes = process.argv.indexOf('--');
      const extra = dashes < 0 ? [] : process.argv.slice(dashes + 1);
      const texts = words.slice(0, words.length - extra.length);
      if (flags.setup === true) await setUp(flags);
      if (flags.setup === true && texts.length === 0) return;
      if (texts.length === 0) throw new UsageError('no device is named', 'Write vfio qemu edu, for example.');
      process.exitCode = (await run(texts, flags, extra)) ? EXIT_OK : EXIT_FAILURE;
    });
}

/** Says each step on stderr as it begins: the long ones take seconds, on a slow line minutes. */
async function setUp(flags: QemuFlags): Promise<void> {
  const tell = teller(flags);
  const cache = await setUpCache({ log: (message) => tell({ event: 'note', message }) });
  tell({ event: 'note', message: `${cache.folder} has QEMU and a guest; try \`vfio qemu edu\`` });
}

async function run(texts: readonly string[], flags: QemuFlags, extra: readonly string[]): Promise<boolean> {
  // Before anything is looked for or made: the arguments may be wrong.
  const named = placeDevices(texts, '/tmp');
  if (flags.watch === true) checkWatch(named);
  const start = {
    memoryBytes: flags.memory ?? null,
    machine: null,
    accelerator: 'tcg',
    guest: null,
    extra,
  } as const;
  checked(() => commandLine({ ...start, qemu: 'qemu', sockets: [] }));
  const qemu = await foundQemu(flags.qemu ?? null);
  const accelerator = qemu.hasKvm && kvmObstacle(readKvmFacts()) === null ? 'kvm' : 'tcg';
  const guest = guestFor(qemu, extra);
  const command = (devices: readonly DeviceArgument[]): readonly string[] => {
    const sockets = devices.map((device) => device.socketPath!);
    return commandLine({ ...start, qemu: qemu.path, sockets, machine: qemu.machine, accelerator, guest });
  };
  if (flags.print === true) {
    print(placeDevices(texts, socketParents(process.env)[0] ?? '/tmp'), command, guest, flags);
    return true;
  }
  const tell = teller(flags);
  const onTraceEnd = (reason: string): void =>
    tell({ event: 'note', message: `the trace has ended: ${reason}` });
  const trace = flags.trace === undefined ? null : TraceFile.open(flags.trace, { onEnd: onTraceEnd });
  if (guest === null && !bootsSomething(extra)) tell({ event: 'note', message: NOTHING_TO_BOOT });
  const folder = makeSocketFolder(process.env);
  const leaveNothing = (): void => {
    folder.remove();
    guest?.remove();
  };
  try {
    const devices = placeDevices(texts, folder.path);
    return await runGuest({
      devices,
      deviceOptions: deviceOptions(flags),
      busyPollUs: flags.busyPollUs ?? 0,
      trace: trace?.add ?? null,
      watch: flags.watch ?? false,
      leaveNothing,
      command: command(devices),
      version: qemu.version,
      accelerator: chosenAccelerator(extra) ?? accelerator,
      json: flags.json ?? false,
      tell,
    });
  } finally {
    leaveNothing();
    await trace?.close();
  }
}

const NOTHING_TO_BOOT =
  'the guest has nothing to boot. `vfio qemu --setup` fetches a small one; or name a kernel or a disk behind --: ' +
  '-kernel bzImage -initrd initrd.img, or -drive file=disk.qcow2';

/** The guest of the cache is an x86-64 one. It is made only when it is booted. */
function guestFor(qemu: FoundQemu, extra: readonly string[]): ShellGuest | null {
  return qemu.machine === 'q35' && !bootsSomething(extra) ? shellGuest() : null;
}

/** QEMU's arguments are part of our command line. */
function checked<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof QemuArgumentError) throw new UsageError(error.message, error.nextStep);
    throw error;
  }
}

async function foundQemu(asked: string | null): Promise<FoundQemu> {
  const search = await findQemu({ asked, environment: process.env, cached: findCache()?.qemu ?? null });
  if (search.found !== null) return search.found;
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  const missing = whatIsMissing(search).join('\n  ');
  throw new VfioError('ENOENT', `${missing}\nHow to get one:\n  ${waysToGetQemu(release).join('\n  ')}`);
}

function teller(flags: QemuFlags): GuestTeller {
  const output = process.stderr;
  if (flags.json === true) return jsonGuestTeller(output);
  return textGuestTeller(output, styleFor(output), flags.verbose ?? false);
}

function print(
  devices: readonly DeviceArgument[],
  command: (devices: readonly DeviceArgument[]) => readonly string[],
  guest: ShellGuest | null,
  flags: QemuFlags,
): void {
  const served = devices.map(({ device, socketPath }) => `${device}:${socketPath}`);
  const serve = [...ownCommand(), 'serve', ...served, ...deviceWords(flags)];
  const qemu = command(devices);
  if (flags.json === true) {
    process.stdout.write(`${JSON.stringify({ serve, qemu })}\n`);
    return;
  }
  const lines = [
    '# the devices',
    shellLine(serve),
    '# when they are ready, in another terminal',
    shellLine(qemu),
  ];
  if (guest !== null) lines.push('# in the end', shellLine(['rm', guest.initramfs]));
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** How this very command is called: `vfio` if the shell finds it so. */
function ownCommand(): readonly string[] {
  const main = fileURLToPath(new URL('./main.js', import.meta.url));
  const [installed] = onSearchPath('vfio', process.env);
  const isOurs = installed !== undefined && realpathSync(installed) === realpathSync(main);
  return isOurs ? ['vfio'] : [process.execPath, main];
}
