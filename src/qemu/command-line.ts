/*
 * The command line of a QEMU with our devices in it. What the caller's own arguments say wins: they come last, and what
 * they say already is left out before them.
 */
import { QemuArgumentError, type QemuOption, readArguments, readList, valuesOf } from './arguments.ts';
import { guestMemory } from './guest-memory.ts';
import type { ShellGuest } from './shell-guest.ts';

export interface QemuStart {
  /** Path or name of the program. */
  readonly qemu: string;
  /** Sockets of the devices, one `-device` each, in this order. */
  readonly sockets: readonly string[];
  /** What --memory says, in bytes; null: nothing. */
  readonly memoryBytes: number | null;
  /** Type of the machine if the arguments name none; null: QEMU's own default. */
  readonly machine: string | null;
  /** Used if the arguments name none. */
  readonly accelerator: 'kvm' | 'tcg';
  /** Booted if the arguments boot nothing; null: there is none. */
  readonly guest: Pick<ShellGuest, 'kernel' | 'initramfs' | 'append'> | null;
  /** The caller's own arguments. */
  readonly extra: readonly string[];
}

/** Options that boot something, or say what to boot. */
const BOOT_OPTIONS: ReadonlySet<string> = new Set(
  '|kernel|drive|blockdev|hda|hdb|hdc|hdd|fda|fdb|cdrom|sd|mtdblock|pflash|bios|boot|incoming|loadvm'.split(
    '|',
  ),
);

/** Options that decide about the console. With one of them, -nographic could claim stdio a second time. */
const CONSOLE_OPTIONS: ReadonlySet<string> = new Set(
  'nographic|display|vnc|spice|serial|monitor|qmp|qmp-pretty|chardev|nodefaults|daemonize'.split('|'),
);

/** Whether the arguments say what the guest boots. Throws as `readArguments` does. */
export function bootsSomething(extra: readonly string[]): boolean {
  return readArguments(extra).some((option) => BOOT_OPTIONS.has(option.name));
}

/** The accelerator that the arguments name, as QEMU understands them; null if none. */
export function chosenAccelerator(extra: readonly string[]): string | null {
  const options = readArguments(extra);
  if (options.some((option) => option.name === 'enable-kvm')) return 'kvm';
  const accelerator = valuesOf(options, 'accel').map((text) => readList(text, 'accel').get('accel'));
  const machine = valuesOf(options, 'machine').map((text) => readList(text, 'type').get('accel'));
  return [...accelerator, ...machine].find((name) => name !== undefined) ?? null;
}

/** The value of `-device` that attaches a vfio-user server, as QEMU's documentation writes it. */
export function deviceValue(socketPath: string): string {
  return JSON.stringify({ driver: 'vfio-user-pci', socket: { path: socketPath, type: 'unix' } });
}

/**
 * Program and arguments of one QEMU.
 * @throws QemuArgumentError when the arguments cannot go together with devices of this process
 */
export function commandLine(start: QemuStart): readonly string[] {
  const options = readArguments(start.extra);
  if (options.some((option) => option.name === 'daemonize')) {
    throw new QemuArgumentError(
      'with -daemonize QEMU outlives the servers of its devices',
      'Leave it out, or start `vfio serve` and QEMU by hand.',
    );
  }
  const memory = guestMemory(options, start.memoryBytes);
  const words = [start.qemu];
  const machine = [hasMachineType(options) ? null : start.machine, memory.machineProperty].filter(
    (part) => part !== null,
  );
  if (machine.length > 0) words.push('-machine', machine.join(','));
  if (chosenAccelerator(start.extra) === null) words.push('-accel', start.accelerator);
  words.push(...memory.words);
  for (const socket of start.sockets) words.push('-device', deviceValue(socket));
  if (start.guest !== null && !options.some((option) => BOOT_OPTIONS.has(option.name))) {
    words.push(...bootWords(start.guest, options));
  }
  return [...words, ...start.extra];
}

function hasMachineType(options: readonly QemuOption[]): boolean {
  return valuesOf(options, 'machine').some((text) => readList(text, 'type').has('type'));
}

/** Of -append and -initrd the last one counts: those of the arguments come after these. */
function bootWords(
  guest: NonNullable<QemuStart['guest']>,
  options: readonly QemuOption[],
): readonly string[] {
  const words = ['-kernel', guest.kernel, '-initrd', guest.initramfs, '-append', guest.append];
  // Without QEMU's own display and network card the guest's lspci shows little else than our devices.
  if (!options.some((option) => CONSOLE_OPTIONS.has(option.name))) {
    words.push('-nodefaults', '-display', 'none', '-serial', 'mon:stdio');
  }
  return [...words, '-no-reboot'];
}
