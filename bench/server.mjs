/*
 * Starts `vfio serve` with the bench device, pinned to one CPU, for the length of one measurement.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const cli = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const device = fileURLToPath(new URL('./device.ts', import.meta.url));

/** Runs `measure(socketPath)` against a fresh server on CPU `cpu`. */
export async function withServer(args, cpu, measure) {
  const folder = mkdtempSync(join(tmpdir(), 'vfio-bench-'));
  const socket = join(folder, 'bench.sock');
  const command = [process.execPath, cli, 'serve', device, `--socket-path=${socket}`, '--json', ...args];
  const server = spawn('taskset', ['-c', String(cpu), ...command], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    for await (const line of createInterface({ input: server.stdout })) {
      if (JSON.parse(line).event === 'ready') break;
    }
    server.stdout.resume();
    return await measure(socket);
  } finally {
    server.kill('SIGTERM');
    if (server.exitCode === null) await once(server, 'exit');
    rmSync(folder, { recursive: true, force: true });
  }
}
