/*
 * Programs for the guest, compiled on the host from test/vm/guest: static, so that they need nothing in the guest.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCES = fileURLToPath(new URL('../guest', import.meta.url));
const compiled = new Map<string, Uint8Array>();

/** The guest program `name` as a file for the initramfs: bin/NAME. */
export function guestProgram(name: string): Readonly<Record<string, Uint8Array>> {
  const known = compiled.get(name) ?? compile(name);
  compiled.set(name, known);
  return { [`bin/${name}`]: known };
}

function compile(name: string): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'vfio-guest-'));
  try {
    const out = join(folder, name);
    const flags = ['-O2', '-static', '-Wall', '-Wextra', '-Werror', '-D_GNU_SOURCE'];
    execFileSync('cc', [...flags, '-o', out, join(SOURCES, `${name}.c`)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return readFileSync(out);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
