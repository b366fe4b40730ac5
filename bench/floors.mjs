/*
 * The floors: the same work done by C programs that do nothing else, built here.
 */
import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { jsonLines, TOOLS } from './tools.mjs';

const run = promisify(execFile);

/** Compiles vubench, pingpong and memcpy with the system's C compiler. */
export async function buildTools() {
  mkdirSync(TOOLS, { recursive: true });
  const sources = ['vubench', 'pingpong', 'memcpy'];
  await Promise.all(
    sources.map((name) =>
      run('cc', ['-O2', '-o', TOOLS + name, fileURLToPath(new URL(`./${name}.c`, import.meta.url))]),
    ),
  );
}

/** Round trips of a C client and a C server over AF_UNIX. Returns the results by test name. */
export async function pingpong({ operations, clientCpu, serverCpu, spin }) {
  const lines = await jsonLines(`${TOOLS}pingpong`, [
    '-n',
    operations,
    '-c',
    clientCpu,
    '-d',
    serverCpu,
    ...(spin ? ['-p'] : []),
  ]);
  return Object.fromEntries(lines.map((line) => [line.test, line]));
}

/** memcpy between a buffer and a mapped memfd, walked as the bench device walks it. */
export async function memcpyFloor(cpu) {
  return await jsonLines(`${TOOLS}memcpy`, ['-c', cpu]);
}
