/*
 * serial in a guest: Linux's own 8250_pci drives it, and bytes go through a real terminal on the host.
 */
import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { KernelSeries } from '../../src/qemu/cache-folder.ts';
import { inFolder } from '../e2e/support.ts';
import { Terminal } from '../support/terminal.ts';
import { Machine } from './support/machine.ts';

const SERIAL = 0;
const READY = 'READY\n';
/** A mebibyte each way: two register reads a byte, which the guest waits for. */
const SESSION_TIMEOUT_MS = 600_000;
/** What the guest's transfer takes at the most; a byte costs it two accesses that wait. */
const TRANSFER_TIMEOUT_MS = 240_000;
/** More than the kernel keeps for a reader that has stopped (64 KiB and a bit). */
const MORE_THAN_BUFFERS_BYTES = 128 * 1024;

interface Session {
  readonly machine: Machine;
  readonly terminal: Terminal;
  /** Name of the port in the guest. */
  readonly port: string;
}

interface SessionOptions {
  readonly append?: string;
  readonly series?: KernelSeries;
  readonly trace?: string | null;
}

async function session(options: SessionOptions, work: (session: Session) => Promise<void>): Promise<void> {
  await inFolder(async (folder) => {
    const link = join(folder, 'tty');
    await Machine.run(
      { serve: ['serial'], serveArgs: [`--pty=${link}`, `--busy-poll-us=200`], ...options },
      async (machine) => {
        const terminal = await Terminal.open(link);
        const port = await machine.guest.run(
          `for t in /sys/class/tty/ttyS*; do case $(readlink -f $t/device) in *${machine.address(SERIAL)}*) basename $t;; esac; done`,
        );
        expect(port).toMatch(/^ttyS\d+$/);
        try {
          await work({ machine, terminal, port });
        } finally {
          await terminal.close();
        }
      },
    );
  });
}

/**
 * Starts a transfer of `sizeBytes` both ways at once in the guest, and resolves when it is about to begin. The guest's
 * reader is process $(cat /tmp/reader).
 */
async function startTransfer({ machine, terminal, port }: Session, sizeBytes: number): Promise<void> {
  const script = `
    head -c ${sizeBytes} /dev/urandom > /tmp/out
    exec 3<>/dev/${port}
    stty -F /dev/${port} raw -echo crtscts
    head -c ${sizeBytes} <&3 > /tmp/in &
    echo $! > /tmp/reader
    printf 'READY\\n' >&3
    cat /tmp/out >&3
    wait
    exec 3>&-
    touch /tmp/done`;
  await machine.guest.run(
    `cat > /tmp/transfer <<'END'${script}\nEND\nsh /tmp/transfer > /tmp/log 2>&1 3>&- &`,
  );
  expect(new TextDecoder().decode(await terminal.read(READY.length))).toBe(READY);
}

/** Waits for the end of a transfer; what the guest received and sent, as SHA-256. */
async function endOfTransfer({ machine }: Session): Promise<string[]> {
  const text = await machine.guest.run(
    `until [ -e /tmp/done ]; do sleep 0.2; done; cat /tmp/log; sha256sum < /tmp/in; sha256sum < /tmp/out`,
    TRANSFER_TIMEOUT_MS,
  );
  return text.split('\n').map((line) => line.slice(0, 64));
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** The port's counters and the modem lines that are up, as the driver sees them. */
const status = (port: string): string => `grep '^${port.slice(4)}:' /proc/tty/driver/*`;

/**
 * Somebody at a terminal: a prompt, an answer that is echoed, then everything that is typed comes back.
 */
async function login({ machine, terminal, port }: Session): Promise<void> {
  const script = `
    exec 3<>/dev/${port}
    stty -F /dev/${port} sane crtscts
    printf 'login: ' >&3
    read -r name <&3
    echo "hello $name" >&3
    stty -F /dev/${port} raw -echo
    echo READY >&3
    exec dd bs=4096 <&3 >&3`;
  await machine.guest.run(`cat > /tmp/login <<'END'${script}\nEND\nsh /tmp/login > /tmp/log 2>&1 3>&- &`);
  await hears(terminal, 'login: ');
  await terminal.write(new TextEncoder().encode('root\n'));
  await hears(terminal, 'root\r\nhello root\r\nREADY\n');
}

async function hears(terminal: Terminal, text: string): Promise<void> {
  expect(new TextDecoder().decode(await terminal.read(text.length))).toBe(text);
}

test.each([
  ['MSI', '', 'PCI-MSI'],
  ['INTx', 'pci=nomsi', 'IO-APIC'],
])(
  '8250_pci finds a 16550A; a session there echoes 1 MiB, with %s',
  async (_what, append, controller) => {
    await session({ append, trace: null }, async (each) => {
      const { machine, terminal, port } = each;
      expect(await machine.guest.run(`dmesg | grep '${port} at\\|: ${port} '`)).toContain('is a 16550A');
      await login(each);
      expect(await machine.guest.run(`grep ${port} /proc/interrupts`)).toContain(controller);
      const typed = randomBytes(1024 * 1024);
      const writing = terminal.write(typed);
      const echoed = await terminal.read(typed.length);
      await writing;
      expect(sha256(echoed)).toBe(sha256(typed));
      expect(await machine.guest.run(status(port))).not.toMatch(/ (fe|pe|oe|brk):/);
      expect(await machine.guest.run('dmesg')).not.toContain('too much work');
    });
  },
  SESSION_TIMEOUT_MS,
);

test('who does not read makes the other wait, and nothing is lost', async () => {
  await session({}, async (each) => {
    const { machine, terminal, port } = each;
    const { guest } = machine;
    const toGuest = randomBytes(MORE_THAN_BUFFERS_BYTES);
    await startTransfer(each, toGuest.length);
    // Nobody reads the terminal: the guest sees CTS fall.
    await guest.run(`while ${status(port)} | grep -q CTS; do sleep 0.2; done`, TRANSFER_TIMEOUT_MS);
    await guest.run('kill -STOP $(cat /tmp/reader)');
    const writing = terminal.write(toGuest);
    // Nobody reads the port: the guest takes RTS down, and receives no more from then on.
    await guest.run(`while ${status(port)} | grep -q RTS; do sleep 0.2; done`, TRANSFER_TIMEOUT_MS);
    const before = await guest.run(status(port));
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await guest.run(status(port))).toBe(before);
    await guest.run('kill -CONT $(cat /tmp/reader)');
    const fromGuest = await terminal.read(toGuest.length);
    await writing;
    expect(await endOfTransfer(each)).toEqual([sha256(toGuest), sha256(fromGuest)]);
  });
});

test.each(['6.12', '6.1'] as const)('Linux %s drives it, too', async (series) => {
  await session({ series }, async (each) => {
    const { machine, terminal, port } = each;
    const toGuest = randomBytes(8 * 1024);
    await startTransfer(each, toGuest.length);
    expect(await machine.guest.run(`grep ${port} /proc/interrupts`)).toContain('PCI-MSI');
    const writing = terminal.write(toGuest);
    const fromGuest = await terminal.read(toGuest.length);
    await writing;
    expect(await endOfTransfer(each)).toEqual([sha256(toGuest), sha256(fromGuest)]);
  });
});
