/*
 * A guest: QEMU with a Debian kernel and a small initramfs, and a shell in it that takes commands from the test.
 *
 * Commands do not go over the console, where the kernel may write at any time, but over a second serial port. Each has a
 * time limit, and whatever fails says what the guest and QEMU had to say last.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { findCache, type KernelSeries } from '../../../src/qemu/cache-folder.ts';
import { buildInitramfs } from '../../../src/qemu/initramfs.ts';
import { connectPatiently, Qmp } from '../../../src/qemu/qmp.ts';

export interface GuestOptions {
  /** Default: the newest. */
  readonly series?: KernelSeries;
  /** Default 256. */
  readonly memoryMiB?: number;
  /** What guest RAM is: a shared memfd, a private one, or no file at all, which leaves DMA to messages. Default shared. */
  readonly memory?: 'shared' | 'private' | 'anonymous';
  /** Default 1. */
  readonly cpus?: number;
  readonly modules?: readonly string[];
  readonly files?: Readonly<Record<string, Uint8Array>>;
  /** Added to the kernel's command line. */
  readonly append?: string;
  /** QEMU arguments in front of all devices: a virtual IOMMU has to come first. */
  readonly before?: readonly string[];
  /** Values of -device, in this order. */
  readonly devices?: readonly string[];
  /** Which of QEMU's events are traced; null: none. Default: all of vfio-user, and every message in the servers. */
  readonly trace?: string | null;
  /** Whether a reboot of the guest is one; otherwise it ends QEMU. Default false. */
  readonly reboots?: boolean;
}

/** How QEMU ended. */
export interface QemuEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** On a busy machine a kernel was seen to take its timer for broken, and to panic. */
const KERNEL_COMMAND_LINE = 'console=ttyS0 quiet panic=-1 no_timer_check';
const BOOT_TIMEOUT_MS = 90_000;
const COMMAND_TIMEOUT_MS = 60_000;
const TAIL_LINES = 40;
const MAX_CONSOLE_CHARS = 4 << 20;

/**
 * Says that it is there, then takes commands from the second serial port, a line each: a number, and the command in base64,
 * so that it may have any form. Each runs in a shell of its own. It is not process 1, which is told of the end of every
 * orphan: lines were seen to lose their beginning there.
 */
const COMMAND_LOOP = `
stty -F /dev/ttyS1 raw -echo
exec < /dev/ttyS1 > /dev/ttyS1
echo "@ready"
while read -r number command; do
  sh -c "$(echo "$command" | base64 -d)" < /dev/null 2>&1
  echo "@end$number $?"
done
`;

export class Guest {
  readonly qmp: Qmp;
  /** Resolves when QEMU has ended. */
  readonly ended: Promise<QemuEnd>;
  readonly pid: number;
  /** What QEMU itself traced, vfio_user_* events: see Machine.qemuTrace. */
  readonly tracePath: string;

  readonly #process: ChildProcess;
  readonly #commands: Socket;
  readonly #output: { console: string; qemu: string };
  #received = '';
  #wake: () => void = () => {};
  #sequence = 0;
  #over = false;

  /** Starts QEMU and waits until the guest takes commands. Sockets and files go to `folder`. */
  static async boot(folder: string, options: GuestOptions = {}): Promise<Guest> {
    const child = spawn(...commandLine(folder, options), { stdio: ['ignore', 'pipe', 'pipe'] });
    const output = { console: '', qemu: '' };
    child.stdout.on('data', (text) => {
      output.console = (output.console + text).slice(-MAX_CONSOLE_CHARS);
    });
    child.stderr.on('data', (text) => {
      output.qemu = (output.qemu + text).slice(-MAX_CONSOLE_CHARS);
    });
    const ended = new Promise<QemuEnd>((resolve) => {
      child.once('close', (code, signal) => resolve({ code, signal }));
    });
    try {
      const commands = await connectPatiently(join(folder, 'commands.sock'));
      const qmp = await Qmp.open(join(folder, 'qmp.sock'));
      const guest = new Guest(child, commands, qmp, ended, output, join(folder, 'qemu.trace'));
      await guest.ready();
      return guest;
    } catch (error) {
      child.kill('SIGKILL');
      await ended;
      throw new Error(`${(error as Error).message}\nQEMU said: ${output.qemu}\n${tail(output.console)}`);
    }
  }

  private constructor(
    child: ChildProcess,
    commands: Socket,
    qmp: Qmp,
    ended: Promise<QemuEnd>,
    output: { console: string; qemu: string },
    tracePath: string,
  ) {
    this.#process = child;
    this.#commands = commands;
    this.#output = output;
    this.pid = child.pid!;
    this.qmp = qmp;
    this.ended = ended;
    this.tracePath = tracePath;
    commands.on('error', () => {});
    commands.on('data', (text) => {
      this.#received += text;
      this.#wake();
    });
    void ended.then(() => {
      this.#over = true;
      this.#wake();
    });
  }

  /** What the kernel and the init script wrote. */
  get console(): string {
    return this.#output.console;
  }

  /** What QEMU complained about. */
  get complaints(): string {
    return this.#output.qemu;
  }

  /** Waits until the guest (again) takes commands: after the start, or after it rebooted. */
  async ready(): Promise<void> {
    await this.#until('@ready\n', 'the guest did not boot', BOOT_TIMEOUT_MS);
  }

  /** Runs a shell command in the guest and resolves to what it wrote. Rejects if it fails or takes too long. */
  async run(command: string, timeoutMs: number = COMMAND_TIMEOUT_MS): Promise<string> {
    const { output, code } = await this.attempt(command, timeoutMs);
    if (code === 0) return output;
    throw this.#failure(`\`${command}\` ended with ${code} in the guest:\n${output}`);
  }

  /** The same for a command that may fail. */
  async attempt(
    command: string,
    timeoutMs: number = COMMAND_TIMEOUT_MS,
  ): Promise<{ readonly output: string; readonly code: number }> {
    this.send(command);
    const output = await this.#until(
      `@end${this.#sequence} `,
      `\`${command}\` did not end in the guest`,
      timeoutMs,
    );
    const code = await this.#until('\n', `\`${command}\` did not end in the guest`, timeoutMs);
    return { output: output.trimEnd(), code: Number(code) };
  }

  /** Starts a command whose end nobody waits for, as a reboot. */
  send(command: string): void {
    this.#sequence += 1;
    this.#commands.write(`${this.#sequence} ${Buffer.from(command).toString('base64')}\n`);
  }

  /** Switches the machine off as the guest does, and waits for QEMU's end. */
  async powerOff(): Promise<QemuEnd> {
    this.send('poweroff -f');
    return this.#end();
  }

  /** Kills QEMU as nothing inside it can prevent. */
  async kill(): Promise<QemuEnd> {
    this.#process.kill('SIGKILL');
    return this.#end();
  }

  async #end(): Promise<QemuEnd> {
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), COMMAND_TIMEOUT_MS);
    const end = await this.ended;
    clearTimeout(timer);
    this.qmp.close();
    this.#commands.destroy();
    return end;
  }

  /** What was received before `text`, which is taken out too. */
  async #until(text: string, otherwise: string, timeoutMs: number): Promise<string> {
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      const at = this.#received.indexOf(text);
      if (at >= 0) {
        const before = this.#received.slice(0, at);
        this.#received = this.#received.slice(at + text.length);
        return before;
      }
      const leftMs = deadlineMs - performance.now();
      if (this.#over) throw this.#failure(`${otherwise}: QEMU ended`);
      if (leftMs <= 0) throw this.#failure(`${otherwise} within ${timeoutMs} ms; so far: ${this.#received}`);
      await this.#more(leftMs);
    }
  }

  #more(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #failure(what: string): Error {
    const qemu = this.complaints === '' ? '' : `\nQEMU said: ${this.complaints}`;
    return new Error(`${what}${qemu}\nThe console's last lines:\n${tail(this.console)}`);
  }
}

function tail(text: string): string {
  return text.split('\n').slice(-TAIL_LINES).join('\n');
}

function commandLine(folder: string, options: GuestOptions): [string, string[]] {
  const cache = findCache();
  const kernel = cache?.kernels.get(options.series ?? '7.3');
  if (cache === null || kernel === undefined) {
    throw new Error('no QEMU or no such kernel in the cache: run `npm run test:vm` once, it fetches them');
  }
  const { modules = [], memoryMiB = 256, trace = 'vfio_user_*' } = options;
  const initramfs = join(folder, 'initramfs');
  const files = { ...options.files, 'bin/take-commands': new TextEncoder().encode(COMMAND_LOOP) };
  writeFileSync(
    initramfs,
    buildInitramfs(cache, kernel, { modules, files, script: 'sh /bin/take-commands' }),
  );
  const commands = `socket,id=commands,path=${join(folder, 'commands.sock')},server=on,wait=off`;
  return [
    cache.qemu,
    [
      ...[
        '-run-with',
        'exit-with-parent=on',
        '-nodefaults',
        '-display',
        'none',
        '-accel',
        'tcg,thread=multi',
        '-cpu',
        'max',
      ],
      ...['-m', `${memoryMiB}M`, '-smp', String(options.cpus ?? 1)],
      ...memoryArguments(memoryMiB, options.memory ?? 'shared'),
      ...['-kernel', kernel.image, '-initrd', initramfs],
      ...['-append', `${KERNEL_COMMAND_LINE} ${options.append ?? ''}`],
      ...['-serial', 'stdio', '-chardev', commands, '-serial', 'chardev:commands'],
      ...['-qmp', `unix:${join(folder, 'qmp.sock')},server=on,wait=off`],
      ...(trace === null ? [] : ['-trace', trace, '-D', join(folder, 'qemu.trace')]),
      ...(options.reboots === true ? [] : ['-no-reboot']),
      ...(options.before ?? []),
      ...(options.devices ?? []).flatMap((device) => ['-device', device]),
    ],
  ];
}

function memoryArguments(sizeMiB: number, memory: 'shared' | 'private' | 'anonymous'): string[] {
  if (memory === 'anonymous') return ['-machine', 'q35'];
  const share = memory === 'shared' ? 'on' : 'off';
  const backend = `memory-backend-memfd,id=mem,size=${sizeMiB}M,share=${share}`;
  return ['-object', backend, '-machine', 'q35,memory-backend=mem'];
}
