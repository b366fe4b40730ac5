/*
 * Runs a piece of TypeScript in a process of its own: for what may (or must) kill the process that does it.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PATIENCE_MS = 20_000;

export interface ChildResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * `source` is an ES module that may import from './src/...'. `maxOpenFiles` sets the limit of open files. A child that hangs
 * is killed with SIGKILL, which its result shows.
 */
export function runChild(source: string, maxOpenFiles?: number): Promise<ChildResult> {
  const node = [process.execPath, '--import', 'tsx', '--input-type=module', '-e', source];
  const limit = ['sh', '-c', `ulimit -n ${maxOpenFiles} && exec "$@"`, 'sh'];
  const [command, ...args] = maxOpenFiles === undefined ? node : [...limit, ...node];
  const child = spawn(command!, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (text) => {
    stdout += text;
  });
  child.stderr.on('data', (text) => {
    stderr += text;
  });
  return new Promise((resolve) => {
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, stdout, stderr });
    });
  });
}
