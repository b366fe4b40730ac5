/*
 * A guest's first and only file system: busybox, the modules that it wants, files of the caller, and an /init that brings
 * the system up and then does what the caller says.
 */
import { readFileSync } from 'node:fs';
import type { CachedKernel, QemuCache } from './cache-folder.ts';
import { type ArchiveEntry, cpioArchive } from './cpio.ts';
import { moduleClosure } from './kernel-modules.ts';

/** What a guest's file system holds besides busybox. */
export interface InitramfsOptions {
  /** Loaded in this order, after what they need. What is built into the kernel may stand here too. */
  readonly modules?: readonly string[];
  /** Programs and other files by their path in the guest, without the leading slash. */
  readonly files?: Readonly<Record<string, Uint8Array>>;
  /** Shell script that runs as process 1, once the modules are loaded. When it ends, the machine is switched off. */
  readonly script: string;
}

/** The archive for QEMU's -initrd, not compressed: a guest without KVM would take seconds to decompress it. */
export function buildInitramfs(
  { busybox }: Pick<QemuCache, 'busybox'>,
  kernel: CachedKernel,
  { modules = [], files = {}, script }: InitramfsOptions,
): Uint8Array {
  const loaded = moduleClosure(kernel.modules, modules, busybox);
  const entries: ArchiveEntry[] = [
    ...['dev', 'proc', 'sys', 'tmp', 'etc', 'root'].map((path): ArchiveEntry => ({ type: 'folder', path })),
    { type: 'file', path: 'bin/busybox', data: readFileSync(busybox) },
    { type: 'link', path: 'bin/sh', target: 'busybox' },
    { type: 'file', path: 'init', data: new TextEncoder().encode(initScript(script)) },
    ...loaded.map(({ name, data }): ArchiveEntry => ({ type: 'file', path: `lib/modules/${name}.ko`, data })),
    {
      type: 'file',
      path: 'lib/modules/order',
      data: new TextEncoder().encode(loaded.map(({ name }) => `${name}\n`).join('')),
    },
    ...Object.entries(files).map(([path, data]): ArchiveEntry => ({ type: 'file', path, data })),
  ];
  return cpioArchive(entries);
}

function initScript(script: string): string {
  return `#!/bin/sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do
  insmod "/lib/modules/$module.ko" || echo "module $module did not load"
done < /lib/modules/order
${script}
poweroff -f
`;
}
