/**
 * What `vfio doctor` knows of a machine, all looked up before anything is judged.
 */
import type { KvmFacts, QemuSearch } from '../../qemu/index.ts';

export interface Probe {
  /** Without the leading v. */
  readonly nodeVersion: string;
  /** Why the addon does not load; null if it does. */
  readonly addonError: string | null;
  /** null where it could not be tried. */
  readonly memory: MemoryProbe | null;
  /** vm.memfd_noexec: 0 to 2; null where the kernel has none. */
  readonly memfdNoexec: number | null;
  /** RLIMIT_NOFILE of this process; null where nobody says. */
  readonly maxOpenFiles: number | null;
  /** RLIMIT_MEMLOCK in bytes, Infinity without one; null where nobody says. */
  readonly maxLockedBytes: number | null;
  /** vm.max_map_count; null where nobody says. */
  readonly maxMapCount: number | null;
  readonly sockets: SocketProbe;
  readonly qemu: QemuSearch;
  readonly kvm: KvmFacts;
  /** Whether a guest is in the cache. */
  readonly hasCachedGuest: boolean;
  /** Whether /dev/vfio/vfio or /dev/iommu is there. */
  readonly hasKernelVfio: boolean;
  /** /etc/os-release; '' if there is none. */
  readonly osRelease: string;
}

/** Shared memory, as the server makes it and as QEMU does. */
export interface MemoryProbe {
  /** Why memory could not be made, written through one window and read through another; null if it could. */
  readonly error: string | null;
  /** Memory that was sealed against shrinking cannot shrink. */
  readonly sealHolds: boolean;
  /** Memory of a device cannot be sealed by whoever has its descriptor. */
  readonly refusesSeals: boolean;
}

export interface SocketProbe {
  /** What XDG_RUNTIME_DIR says; null if it says nothing. */
  readonly runtimeFolder: string | null;
  /** Folder that sockets were made in; null if none could be. */
  readonly folder: string | null;
  /** Why not; null if one could. */
  readonly error: string | null;
}
