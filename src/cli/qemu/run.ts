/**
 * Serves devices and runs QEMU with them, as long as QEMU runs.
 */
import type { Trace } from '../../server/index.ts';
import type { DeviceArgument } from '../serve/device-argument.ts';
import type { DeviceOptions } from '../serve/make-device.ts';
import { serve } from '../serve/run.ts';
import type { GuestTeller } from './events.ts';
import { Machine } from './machine.ts';
import { type Verdict, verdictOf } from './verdict.ts';

export interface GuestOptions {
  /** Each with its socket. */
  readonly devices: readonly DeviceArgument[];
  readonly deviceOptions: DeviceOptions;
  readonly busyPollUs: number;
  /** Sees every message; null: nobody does. */
  readonly trace: Trace | null;
  /** Devices of modules are made anew when the module changes. */
  readonly watch: boolean;
  /** Removes what was made for this run. Called also where this process ends by an error that nobody catches. */
  readonly leaveNothing: () => void;
  /** QEMU's program and arguments. */
  readonly command: readonly string[];
  readonly version: string;
  readonly accelerator: string;
  /** Whether what QEMU writes to stderr becomes events. */
  readonly json: boolean;
  readonly tell: GuestTeller;
}

/** A terminal that is closed takes its guest with it. */
const STOP_SIGNALS: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP'];

/** Resolves when QEMU and the servers have ended; true if QEMU ended well. Throws what keeps a device from being served. */
export async function runGuest(options: GuestOptions): Promise<boolean> {
  const { tell } = options;
  let machine: Machine | null = null;
  let asked = false;
  let verdict: Verdict = { ok: true, message: '' };
  const stop = (): void => {
    asked = true;
    machine?.stop();
  };
  // Also when a device throws where nobody catches it, which ends this process: QEMU does not outlive its devices.
  const endAll = (): void => {
    machine?.endNow();
    options.leaveNothing();
  };
  for (const signal of STOP_SIGNALS) process.on(signal, stop);
  process.on('exit', endAll);
  try {
    await serve({
      ...options,
      fd: null,
      worker: false,
      onlyPci: true,
      controlInput: null,
      pty: { link: null },
      work: async () => {
        if (asked) return;
        machine = start(options);
        const end = await machine.ended;
        verdict = verdictOf(end, asked);
        const { code, signal } = end;
        tell({ event: 'qemu', state: 'ended', ok: verdict.ok, code, signal, message: verdict.message });
      },
    });
    return verdict.ok;
  } finally {
    for (const signal of STOP_SIGNALS) process.off(signal, stop);
    process.off('exit', endAll);
    endAll();
  }
}

function start({ command, version, accelerator, json, tell }: GuestOptions): Machine {
  const machine = new Machine(command, json ? (line) => tell({ event: 'qemu-output', line }) : null);
  tell({ event: 'qemu', state: 'started', pid: machine.pid, version, accelerator, command });
  return machine;
}
