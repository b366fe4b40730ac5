/*
 * Asks a QEMU binary what it can do, by running it for its version and its lists. Each run has a time limit: the path may
 * be anything.
 */
import { execFile } from 'node:child_process';

/** A QEMU answers within milliseconds; a busy machine may need some more. */
const ANSWER_TIMEOUT_MS = 20_000;
/** The list of devices has some 20 KiB. */
const ANSWER_MAX_BYTES: number = 4 << 20;

/** Machines to put devices in, the best first. */
const MACHINES: readonly string[] = ['q35', 'virt'];

export interface QemuAbilities {
  /** '11.1.3', for example. */
  readonly version: string;
  readonly hasVfioUserPci: boolean;
  /** Type of machine to use; null: neither q35 nor virt is there. */
  readonly machine: string | null;
  readonly hasKvm: boolean;
}

/** The answer of one binary: what it can do, or why it did not say so. */
export type QemuAnswer = { readonly abilities: QemuAbilities } | { readonly failure: string };

/** Runs the binary at `path`, each time for `timeoutMs` at most. Never rejects. */
export async function askQemu(path: string, timeoutMs: number = ANSWER_TIMEOUT_MS): Promise<QemuAnswer> {
  const answer = (words: readonly string[]): Promise<string> => run(path, words, timeoutMs);
  try {
    const version = /^QEMU emulator version (\S+)/m.exec(await answer(['--version']))?.[1];
    if (version === undefined) return { failure: 'is no QEMU: its --version says something else' };
    const [devices, machines, accelerators] = await Promise.all([
      answer(['-device', 'help']),
      answer(['-machine', 'help']),
      answer(['-accel', 'help']),
    ]);
    return {
      abilities: {
        version,
        hasVfioUserPci: /^name "vfio-user-pci"/m.test(devices),
        machine: MACHINES.find((name) => new RegExp(`^${name}\\s`, 'm').test(machines)) ?? null,
        hasKvm: /^kvm$/m.test(accelerators),
      },
    };
  } catch (error) {
    return { failure: (error as Error).message };
  }
}

function run(path: string, words: readonly string[], timeoutMs: number): Promise<string> {
  const limits = { timeout: timeoutMs, maxBuffer: ANSWER_MAX_BYTES, killSignal: 'SIGKILL' as const };
  return new Promise((resolve, reject) => {
    const child = execFile(path, words, limits, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(describe(error, words, timeoutMs, stderr)));
    });
    child.stdin?.end();
  });
}

function describe(
  error: Error & { code?: unknown; killed?: boolean },
  words: readonly string[],
  timeoutMs: number,
  stderr: string,
): string {
  if (error.code === 'ENOENT') return 'does not exist';
  if (error.code === 'EACCES') return 'is not executable';
  if (error.killed === true) return `did not answer to ${words.join(' ')} within ${timeoutMs / 1000} s`;
  const said = stderr.trim().split('\n').at(-1)!.slice(0, 200);
  return `failed at ${words.join(' ')}${said === '' ? '' : `: ${said}`}`;
}
