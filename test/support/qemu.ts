/*
 * QEMUs for tests: a fake that is always there, and the real one where there is one. What is said of one is held against
 * the other.
 */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findCache } from '../../src/qemu/cache-folder.ts';
import { shellWord } from '../../src/qemu/shell.ts';

const MACHINE = fileURLToPath(new URL('./fake-qemu-machine.mjs', import.meta.url));

/** The real QEMU, or null where there is none. */
export const REAL_QEMU: string | null = process.env['VFIO_QEMU'] ?? findCache()?.qemu ?? null;

/** Name of a group of tests that needs it; says how to get it run. */
export const WITH_REAL_QEMU: string =
  REAL_QEMU === null ? 'a real QEMU (skipped: set VFIO_QEMU to one with vfio-user-pci)' : 'a real QEMU';

export interface FakeQemuOptions {
  /** Default 11.1.3. */
  readonly version?: string;
  readonly hasVfioUserPci?: boolean;
  readonly hasKvm?: boolean;
  /** Shell code that runs before anything else. */
  readonly before?: string;
}

/** Writes a program that answers as QEMU does, and as a machine attaches to its devices. Returns its path. */
export function fakeQemu(folder: string, options: FakeQemuOptions = {}, name: string = 'qemu'): string {
  const path = join(folder, name);
  const { version = '11.1.3', hasVfioUserPci = true, hasKvm = true, before = '' } = options;
  const devices = ['name "edu", bus PCI', ...(hasVfioUserPci ? ['name "vfio-user-pci", bus PCI'] : [])];
  const script = `#!/bin/sh
${before}
case "$*" in
  --version) echo 'QEMU emulator version ${version} (Fake)' ;;
  '-device help') printf '%s\\n' ${devices.map(shellWord).join(' ')} ;;
  '-machine help') printf '%s\\n' 'Supported machines are:' 'microvm  microvm' 'q35      Standard PC' ;;
  '-accel help') printf '%s\\n' 'Accelerators supported in QEMU binary:' tcg${hasKvm ? ' kvm' : ''} ;;
  *) exec ${shellWord(process.execPath)} ${shellWord(MACHINE)} "$@" ;;
esac
`;
  writeFileSync(path, script);
  chmodSync(path, 0o755);
  return path;
}
