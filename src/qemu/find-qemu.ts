/*
 * Finds a QEMU that has vfio-user-pci. Whoever names one gets that one or an error; nobody is given another program than
 * the one he asked for.
 */
import { askQemu, type QemuAbilities } from './ask-qemu.ts';
import { type Environment, onSearchPath } from './search-path.ts';

/** The first release whose own sources have vfio-user-pci. */
export const OLDEST_QEMU = '10.1';

/** How a path came up. */
export type QemuSource = '--qemu' | 'VFIO_QEMU' | 'PATH' | 'cache';

export interface FoundQemu extends QemuAbilities {
  readonly path: string;
  readonly source: QemuSource;
}

/** A program that was looked at in vain. */
export interface RejectedQemu {
  readonly path: string;
  readonly source: QemuSource;
  /** What is wrong with it, to be read behind its path: 'is QEMU 7.2.22, ...'. */
  readonly reason: string;
}

export interface QemuSearch {
  readonly found: FoundQemu | null;
  /** Looked at before `found`, in order. */
  readonly rejected: readonly RejectedQemu[];
}

export interface WhereToLook {
  /** What --qemu says; null: nothing. */
  readonly asked: string | null;
  /** For PATH and VFIO_QEMU. */
  readonly environment: Environment;
  /** The QEMU in the cache; null: there is none. */
  readonly cached: string | null;
}

/** Names that QEMU's system emulators have, by process.arch: of a guest like the host, so that KVM can run it. */
const PROGRAMS: Readonly<Record<string, string>> = {
  x64: 'qemu-system-x86_64',
  arm64: 'qemu-system-aarch64',
  riscv64: 'qemu-system-riscv64',
  loong64: 'qemu-system-loongarch64',
  ppc64: 'qemu-system-ppc64',
  s390x: 'qemu-system-s390x',
};

/** The program that this host's guests need, by name. */
export function qemuProgram(): string {
  return PROGRAMS[process.arch] ?? PROGRAMS['x64']!;
}

/** Looks at one program after the other until one will do. Never rejects. */
export async function findQemu(where: WhereToLook): Promise<QemuSearch> {
  const rejected: RejectedQemu[] = [];
  for (const { path, source } of candidates(where)) {
    const answer = await askQemu(path);
    if ('failure' in answer) {
      rejected.push({ path, source, reason: answer.failure });
    } else if (!answer.abilities.hasVfioUserPci) {
      rejected.push({ path, source, reason: lacking(answer.abilities.version) });
    } else {
      return { found: { path, source, ...answer.abilities }, rejected };
    }
  }
  return { found: null, rejected };
}

function lacking(version: string): string {
  const why = isOld(version)
    ? `vfio-user-pci came with ${OLDEST_QEMU}`
    : 'it was built without vfio-user-pci';
  return `is QEMU ${version}: ${why}`;
}

function isOld(version: string): boolean {
  const [major, minor] = version.split('.').map((part) => Number.parseInt(part, 10));
  const [oldestMajor, oldestMinor] = OLDEST_QEMU.split('.').map(Number);
  return major! < oldestMajor! || (major === oldestMajor && minor! < oldestMinor!);
}

function candidates({ asked, environment, cached }: WhereToLook): { path: string; source: QemuSource }[] {
  const named = environment['VFIO_QEMU'] ?? '';
  if (asked !== null) return [{ path: located(asked, environment), source: '--qemu' }];
  if (named !== '') return [{ path: located(named, environment), source: 'VFIO_QEMU' }];
  const onPath = onSearchPath(qemuProgram(), environment).map((path) => ({ path, source: 'PATH' as const }));
  return cached === null ? onPath : [...onPath, { path: cached, source: 'cache' }];
}

/** A name without a folder means the program on PATH, as in a shell. */
function located(program: string, environment: Environment): string {
  return program.includes('/') ? program : (onSearchPath(program, environment)[0] ?? program);
}
