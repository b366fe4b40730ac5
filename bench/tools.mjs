/*
 * Runs the measuring programs and reads their JSON lines.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Where compiled C programs go. */
export const TOOLS = fileURLToPath(new URL('./build/', import.meta.url));

/** The middle value; of an even count, the upper one of the two. */
export function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** Runs a program and parses every line that is a JSON object. */
export async function jsonLines(program, args) {
  const { stdout } = await run(program, args.map(String), { maxBuffer: 16 << 20 });
  return stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
}

/** One run of the load client against a server's socket. */
export async function vubench(socket, args) {
  const lines = await jsonLines(`${TOOLS}vubench`, ['-j', '-s', socket, ...args]);
  const broken = lines.find(
    (line) => line.error !== undefined || (line.status ?? 0) !== 0 || line.data === 'MISMATCH',
  );
  if (broken) throw new Error(`vubench ${args.join(' ')}: ${JSON.stringify(broken)}`);
  return lines;
}
