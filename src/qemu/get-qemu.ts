/*
 * How to get a QEMU that has vfio-user-pci, for whoever has none.
 */
import { OLDEST_QEMU, type QemuSearch, qemuProgram } from './find-qemu.ts';

/** The command that gets a QEMU and a guest. */
export const CACHE_HINT: string =
  'anywhere with apt and dpkg: `vfio qemu --setup` fetches a QEMU and a small guest (150 MB) and installs nothing';

/** Debian's packages of the system emulators, by program. */
const DEBIAN_PACKAGES: Readonly<Record<string, string>> = {
  'qemu-system-x86_64': 'qemu-system-x86',
  'qemu-system-aarch64': 'qemu-system-arm',
};

/** What was looked at and what is missing, one line each; the first is a sentence by itself. */
export function whatIsMissing({ rejected }: QemuSearch): readonly string[] {
  if (rejected.length === 0) return [`there is no ${qemuProgram()} on PATH`];
  return [
    'no QEMU with vfio-user-pci',
    ...rejected.map(({ path, reason, source }) => `${path} (${source}) ${reason}`),
  ];
}

/**
 * Ways to get one, the best for this system first.
 * @param osRelease text of /etc/os-release; '' if there is none
 */
export function waysToGetQemu(osRelease: string): readonly string[] {
  const program = qemuProgram();
  const target = `${program.replace('qemu-system-', '')}-softmmu`;
  const ways = [
    ...distributionWay(osRelease, DEBIAN_PACKAGES[program] ?? 'qemu-system'),
    `from source, ${OLDEST_QEMU} or newer: ./configure --target-list=${target} && make (vfio-user-pci is on by default on Linux)`,
    'then put it on PATH, or name it: --qemu PATH, or VFIO_QEMU=PATH',
  ];
  return [CACHE_HINT, ...ways];
}

function distributionWay(osRelease: string, debianPackage: string): readonly string[] {
  const id = osReleaseField(osRelease, 'ID');
  const like = `${id} ${osReleaseField(osRelease, 'ID_LIKE')}`.split(' ');
  if (id === 'debian' && osReleaseField(osRelease, 'VERSION_CODENAME') === 'trixie') {
    return [`Debian 13: apt install -t trixie-backports ${debianPackage} (11.1; trixie itself has 10.0)`];
  }
  if (id === 'debian')
    return ['Debian: 13 (trixie) with trixie-backports has 11.1; 12 and its backports are too old'];
  if (like.includes('fedora')) return ['Fedora 43 or newer: dnf install qemu-system-x86 (43 has 10.1)'];
  return [`Debian 13 with trixie-backports (11.1) and Fedora 43 (10.1) have packages that are new enough`];
}

function osReleaseField(text: string, name: string): string {
  const value = new RegExp(`^${name}=(.*)$`, 'm').exec(text)?.[1] ?? '';
  return value.replace(/^(["'])(.*)\1$/, '$2');
}
