/*
 * Runs the built command as a user would: dist/cli/main.js in a process of its own.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LineChild } from '../../src/cli/demo/child.ts';

export const root: string = fileURLToPath(new URL('../..', import.meta.url));
export const main: string = join(root, 'dist/cli/main.js');

/** Longer than any command takes on a busy machine. */
const TIMEOUT_MS = 60_000;

export interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. */
export function vfio(args: readonly string[], environment: NodeJS.ProcessEnv = {}): Result {
  const result = spawnSync(process.execPath, [main, ...args], {
    cwd: root,
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    env: { ...process.env, ...environment },
  });
  return { code: result.status, stdout: result.stdout, stderr: result.stderr };
}

/** Runs a command of ours, or another, on a terminal of its own and returns what the terminal was sent. */
export function onTerminal(
  args: readonly string[],
  environment: NodeJS.ProcessEnv = {},
  program: readonly string[] = [process.execPath, main],
): string {
  const script = 'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)';
  const result = spawnSync('python3', ['-c', script, ...program, ...args], {
    cwd: root,
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    env: { ...process.env, TERM: 'xterm', NO_COLOR: '', ...environment },
  });
  return result.stdout;
}

/** A running `vfio serve`. */
export class Serving {
  readonly child: LineChild;

  constructor(args: readonly string[], fds: readonly number[] = []) {
    this.child = new LineChild({ args: [main, 'serve', ...args], fds });
  }

  /** The next event of this kind, with --json; of those that have these `fields`, where some are given. */
  async event(name: string, fields: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const wanted = Object.entries({ ...fields, event: name });
    const line = await this.child.line((candidate) => {
      const event = JSON.parse(candidate) as Record<string, unknown>;
      return wanted.every(([key, value]) => event[key] === value);
    });
    if (line === null) throw new Error(`vfio serve ended before it said '${name}'`);
    return JSON.parse(line) as Record<string, unknown>;
  }
}

/** A folder for sockets that is gone after `work`. */
export async function inFolder(work: (folder: string) => Promise<void> | void): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vfio-e2e-'));
  try {
    await work(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
