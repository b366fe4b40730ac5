/**
 * What the end of QEMU means, in a sentence.
 */
import type { MachineEnd } from './machine.ts';

export interface Verdict {
  readonly ok: boolean;
  readonly message: string;
}

/** What each signal that ends QEMU has meant so far. */
const SIGNAL_HINTS: Partial<Record<NodeJS.Signals, string>> = {
  SIGABRT: 'QEMU 11.1.3 does so at device_del of a device with MSI-X; docs/qemu.md has what else is known',
  SIGBUS:
    'a guest CPU touched a mapped BAR that could not be reached, such as during a reset; see docs/compatibility.md',
  SIGSEGV: 'that is a bug of QEMU; try another version',
  SIGKILL: 'somebody killed it, or the system ran out of memory; look at dmesg',
};

/** @param asked whether we told QEMU to end */
export function verdictOf({ code, signal, startError }: MachineEnd, asked: boolean): Verdict {
  if (startError !== null) return { ok: false, message: `QEMU could not be started: ${startError}` };
  if (asked && signal === 'SIGKILL') {
    return { ok: false, message: 'QEMU did not end when it was told to, and was killed' };
  }
  if (code === 0 || (asked && signal !== null)) return { ok: true, message: 'QEMU ended' };
  if (signal !== null) {
    const hint = SIGNAL_HINTS[signal];
    return { ok: false, message: `QEMU died of ${signal}${hint === undefined ? '' : `: ${hint}`}` };
  }
  return {
    ok: false,
    message: `QEMU ended with exit code ${code}; its own message says why. --print shows its command line`,
  };
}
