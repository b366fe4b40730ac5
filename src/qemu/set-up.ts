/*
 * Fills the cache: a QEMU that has vfio-user-pci (Debian's backports), busybox, and guest kernels. What is there already
 * is not fetched again, so this may be called each time.
 */
import { chmodSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { VfioError } from '../core/index.ts';
import {
  COMPLETE,
  cacheFolder,
  findCache,
  type KernelSeries,
  kernelFolder,
  type QemuCache,
} from './cache-folder.ts';
import { DebianPackages } from './debian-packages.ts';

/** What to fetch, and where to say how far it is. */
export interface SetUpOptions {
  /** Default: the user's cache folder. */
  readonly folder?: string;
  /** Default: the newest alone. */
  readonly kernels?: readonly KernelSeries[];
  /** Told one line a step. */
  readonly log?: (line: string) => void;
}

const QEMU_SUITE = 'trixie-backports';
const KERNEL_SUITE: Readonly<Record<KernelSeries, string>> = {
  '7.3': QEMU_SUITE,
  '6.12': 'trixie',
  '6.1': 'bookworm',
};
const KERNEL_PACKAGE = 'linux-image-amd64';
const IMAGE_PREFIX = 'linux-image-';
/** Of these the image package is empty: kernel and modules are packages of their own. */
const SPLIT_IMAGE: ReadonlySet<KernelSeries> = new Set(['7.3']);

/** Fetches what is missing and returns the whole. Rejects with ENOENT or EIO, and what to do about it. */
export async function setUpCache(options: SetUpOptions = {}): Promise<QemuCache> {
  const folder = options.folder ?? cacheFolder();
  const kernels = options.kernels ?? ['7.3'];
  const log = options.log ?? (() => {});
  const present = findCache(folder);
  const missing = kernels.filter((series) => !present?.kernels.has(series));
  if (present !== null && missing.length === 0) return present;
  if (process.arch !== 'x64') {
    throw new VfioError(
      'ENOSYS',
      `QEMU and guests are fetched for x64 only, this is ${process.arch}. Install QEMU`,
    );
  }

  const scratch = join(folder, `fetching-${process.pid}`);
  mkdirSync(scratch, { recursive: true });
  try {
    const suites = new Set([QEMU_SUITE, 'trixie', ...missing.map((series) => KERNEL_SUITE[series])]);
    const packages = new DebianPackages(scratch, [...suites]);
    log(`reading the package lists (everything goes to ${folder})`);
    await packages.update();
    if (present === null) {
      log('fetching QEMU, 40 MB');
      await fetchQemu(packages, folder, scratch);
    }
    for (const series of missing) {
      log(`fetching Linux ${series}, about 100 MB`);
      await fetchKernel(packages, folder, scratch, series);
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  const cache = findCache(folder);
  if (cache === null) throw new VfioError('EIO', `${folder} is incomplete. Remove it and try again`);
  log('ready');
  return cache;
}

async function fetchQemu(packages: DebianPackages, folder: string, scratch: string): Promise<void> {
  const tree = join(scratch, 'qemu');
  await packages.unpackWithDependencies('qemu-system-x86', QEMU_SUITE, tree);
  const busybox = join(scratch, 'busybox');
  await packages.unpack(['busybox-static'], busybox);
  replace(tree, join(folder, 'qemu'));
  replace(findFile(busybox, /(^|\/)bin\/busybox$/), join(folder, 'busybox'));
  writeFileSync(join(folder, 'qemu-system-x86_64'), QEMU_WRAPPER);
  chmodSync(join(folder, 'qemu-system-x86_64'), 0o755);
  writeFileSync(join(folder, COMPLETE), '');
}

/** Runs the unpacked QEMU with the loader and the libraries that came with it, whatever the machine's are. */
const QEMU_WRAPPER = `#!/bin/sh
tree=$(dirname "$(readlink -f "$0")")/qemu
libraries=$tree/usr/lib/x86_64-linux-gnu
exec "$libraries/ld-linux-x86-64.so.2" --argv0 qemu-system-x86_64 --library-path "$libraries" \\
  "$tree/usr/bin/qemu-system-x86_64" -L "$tree/usr/share/qemu" -L "$tree/usr/share/seabios" "$@"
`;

async function fetchKernel(
  packages: DebianPackages,
  folder: string,
  scratch: string,
  series: KernelSeries,
): Promise<void> {
  const image = await packages.dependency(KERNEL_PACKAGE, KERNEL_SUITE[series], IMAGE_PREFIX);
  const version = image.slice(IMAGE_PREFIX.length);
  const names = SPLIT_IMAGE.has(series) ? [`linux-binary-${version}`, `linux-modules-${version}`] : [image];
  const tree = join(scratch, image);
  await packages.unpack(names, tree);
  const own = join(scratch, `linux-${series}`);
  mkdirSync(own);
  renameSync(findFile(tree, /(^|\/)vmlinuz(-[^/]*)?$/), join(own, 'vmlinuz'));
  renameSync(findFile(tree, /(^|\/)lib\/modules\/[^/]+\/kernel$/), join(own, 'modules'));
  writeFileSync(join(own, COMPLETE), 'vmlinuz');
  replace(own, kernelFolder(folder, series));
}

/** Puts `from` in the place of `to`. Somebody else may be doing the same: the last one wins, and both are whole. */
function replace(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  renameSync(from, to);
}

function findFile(folder: string, name: RegExp): string {
  const found = readdirSync(folder, { recursive: true, encoding: 'utf8' }).find((path) => name.test(path));
  if (found !== undefined) return join(folder, found);
  throw new VfioError('ENOENT', `no ${name.source} was in the packages. The mirror has another layout`);
}
