/**
 * Looks at this machine for `vfio doctor`. Memory and sockets are really made; everything is gone afterwards.
 */
import { accessSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { findCache, findQemu, readKvmFacts } from '../../qemu/index.ts';
import { openSys } from '../../sys/index.ts';
import type { SysLayer } from '../../sys/sys-layer.ts';
import { makeSocketFolder } from '../qemu/socket-folder.ts';
import type { MemoryProbe, Probe, SocketProbe } from './probe.ts';

const F_SEAL_SHRINK = 2;
const PAGE_BYTES = 4096;

/** @param asked what --qemu says; null: nothing */
export async function look(asked: string | null): Promise<Probe> {
  const { sys, error } = openedSys();
  const cache = findCache();
  return {
    nodeVersion: process.versions.node,
    addonError: error,
    memory: sys === null ? null : tryMemory(sys),
    memfdNoexec: numberIn('/proc/sys/vm/memfd_noexec'),
    maxOpenFiles: limit('Max open files'),
    maxLockedBytes: limit('Max locked memory'),
    maxMapCount: numberIn('/proc/sys/vm/max_map_count'),
    sockets: trySockets(sys),
    qemu: await findQemu({ asked, environment: process.env, cached: cache?.qemu ?? null }),
    kvm: readKvmFacts(),
    hasCachedGuest: (cache?.kernels.size ?? 0) > 0,
    hasKernelVfio: exists('/dev/vfio/vfio') || exists('/dev/iommu'),
    osRelease: textIn('/etc/os-release') ?? '',
  };
}

function openedSys(): { readonly sys: SysLayer | null; readonly error: string | null } {
  try {
    return { sys: openSys(), error: null };
  } catch (error) {
    return { sys: null, error: (error as Error).message };
  }
}

/** Makes memory as the server does, and memory as QEMU does. */
export function tryMemory(sys: SysLayer): MemoryProbe {
  const fds: number[] = [];
  const make = (allowSealing: boolean): number => {
    const fd = sys.memfdCreate('vfio-doctor', { allowSealing });
    fds.push(fd);
    sys.ftruncate(fd, PAGE_BYTES);
    return fd;
  };
  try {
    const sealed = make(true);
    shareOnePage(sys, sealed);
    sys.addSeals(sealed, F_SEAL_SHRINK);
    const ours = make(false);
    return {
      error: null,
      sealHolds: fails(() => sys.ftruncate(sealed, 0)),
      refusesSeals: fails(() => sys.addSeals(ours, F_SEAL_SHRINK)),
    };
  } catch (error) {
    return { error: (error as Error).message, sealHolds: false, refusesSeals: false };
  } finally {
    for (const fd of fds) sys.close(fd);
  }
}

function shareOnePage(sys: SysLayer, fd: number): void {
  const [here, there] = [sys.map(fd, 0, PAGE_BYTES, 'rw'), sys.map(fd, 0, PAGE_BYTES, 'rw')];
  here.bytes[0] = 1;
  const arrived = there.bytes[0] === 1;
  here.unmap();
  there.unmap();
  if (!arrived) throw new Error('two mappings of one file do not show the same bytes');
}

function fails(work: () => void): boolean {
  try {
    work();
    return false;
  } catch {
    return true;
  }
}

function trySockets(sys: SysLayer | null): SocketProbe {
  const said = process.env['XDG_RUNTIME_DIR'] ?? '';
  const runtimeFolder = said === '' ? null : resolve(said);
  try {
    const folder = makeSocketFolder(process.env);
    try {
      if (sys !== null) sys.close(sys.listen(join(folder.path, 'doctor.sock'), 1));
    } finally {
      folder.remove();
    }
    return { runtimeFolder, folder: dirname(folder.path), error: null };
  } catch (error) {
    return { runtimeFolder, folder: null, error: (error as Error).message };
  }
}

/** The soft limit of this process. Node raises that of open files to the hard one when it starts. */
function limit(name: string): number | null {
  const line = new RegExp(`^${name} +(\\S+)`, 'm').exec(textIn('/proc/self/limits') ?? '')?.[1];
  if (line === undefined) return null;
  return line === 'unlimited' ? Number.POSITIVE_INFINITY : Number(line);
}

function numberIn(path: string): number | null {
  const text = textIn(path);
  return text === null ? null : Number(text);
}

function textIn(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function exists(path: string): boolean {
  try {
    accessSync(path);
    return true;
  } catch {
    return false;
  }
}
