/**
 * What each thing about a machine means for this package: fine, worth knowing, or in the way.
 */
import { kvmObstacle, OLDEST_QEMU, waysToGetQemu, whatIsMissing } from '../../qemu/index.ts';
import { formatSize } from '../size.ts';
import type { Probe } from './probe.ts';

export interface Finding {
  /** Name of the check, one word. */
  readonly check: string;
  /** A `note` hinders nothing. */
  readonly state: 'ok' | 'note' | 'problem';
  readonly message: string;
  /** What to do about it; several are alternatives. */
  readonly nextSteps: readonly string[];
}

const OLDEST_NODE: readonly [number, number] = [20, 19];

/** Below this, loading the command already fails on some machines (measured: 96 is enough, 80 is not). */
const FEWEST_OPEN_FILES = 256;
/** What server/limits.ts reckons with. Half of the limit is for the clients' memory and interrupts. */
const USUAL_OPEN_FILES = 1024;

/** The windows of one device's DMA (memory/dma-engine.ts: 1024) and the process itself (measured: 170). */
const FEWEST_MAPS = 2048;
/** Linux's default, of which memory/client-files.ts takes half. */
const USUAL_MAPS = 65_530;

export const CHECKS: readonly ((probe: Probe) => Finding)[] = [
  checkNode,
  checkAddon,
  checkMemory,
  checkOpenFiles,
  checkMaps,
  checkLockedMemory,
  checkSockets,
  checkQemu,
  checkKvm,
  checkGuest,
  checkKernelVfio,
];

function ok(check: string, message: string): Finding {
  return { check, state: 'ok', message, nextSteps: [] };
}

function note(check: string, message: string, ...nextSteps: readonly string[]): Finding {
  return { check, state: 'note', message, nextSteps };
}

function problem(check: string, message: string, ...nextSteps: readonly string[]): Finding {
  return { check, state: 'problem', message, nextSteps };
}

function checkNode({ nodeVersion }: Probe): Finding {
  const [major = 0, minor = 0] = nodeVersion.split('.').map(Number);
  const [oldestMajor, oldestMinor] = OLDEST_NODE;
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return ok('node', nodeVersion);
  return problem('node', `${nodeVersion} is too old`, `Install Node ${OLDEST_NODE.join('.')} or newer.`);
}

function checkAddon({ addonError }: Probe): Finding {
  if (addonError === null) return ok('addon', 'loads');
  return problem(
    'addon',
    addonError,
    'Install g++, make and python3, then run npx node-gyp rebuild in native/.',
  );
}

function checkMemory({ memory, memfdNoexec }: Probe): Finding {
  const sysctl = 'Set sysctl vm.memfd_noexec=0.';
  const why = (memfdNoexec ?? 0) > 0 ? ` (vm.memfd_noexec is ${memfdNoexec})` : '';
  if (memory === null) return note('memory', 'not tried without the addon');
  if (memory.error !== null) {
    const container = 'In a container, allow memfd_create and fcntl in its seccomp profile.';
    return problem('memory', `${memory.error}${why}`, why === '' ? container : sysctl);
  }
  if (!memory.sealHolds) {
    return problem(
      'memory',
      'a sealed memfd can be cut all the same',
      'Use a kernel of Linux itself; see uname -a.',
    );
  }
  if (!memory.refusesSeals) {
    const risk = 'a client can seal the memory of a device, which then cannot be taken away from it';
    return problem('memory', `${risk}${why}`, sysctl);
  }
  return ok('memory', 'memfds are shared, seals hold');
}

function checkOpenFiles({ maxOpenFiles }: Probe): Finding {
  if (maxOpenFiles === null) return note('open-files', '/proc/self/limits cannot be read');
  if (maxOpenFiles >= USUAL_OPEN_FILES) return ok('open-files', `${maxOpenFiles}, half of them for clients`);
  const text = `${maxOpenFiles}: clients get ${Math.floor(maxOpenFiles / 2)} for their memory and interrupts`;
  const step = `Raise the hard limit, ulimit -Hn, to ${USUAL_OPEN_FILES} or more.`;
  return maxOpenFiles < FEWEST_OPEN_FILES
    ? problem('open-files', text, step)
    : note('open-files', text, step);
}

function checkMaps({ maxMapCount }: Probe): Finding {
  if (maxMapCount === null) return note('mappings', '/proc/sys/vm/max_map_count cannot be read');
  if (maxMapCount >= USUAL_MAPS) return ok('mappings', `vm.max_map_count is ${maxMapCount}`);
  const text = `vm.max_map_count is ${maxMapCount}: guests with much scattered memory will have DMA faults`;
  const step = `Set sysctl vm.max_map_count=${USUAL_MAPS}.`;
  return maxMapCount < FEWEST_MAPS ? problem('mappings', text, step) : note('mappings', text, step);
}

/** Only kernel VFIO pins memory. */
function checkLockedMemory({ maxLockedBytes, hasKernelVfio }: Probe): Finding {
  if (maxLockedBytes === null) return note('locked-memory', '/proc/self/limits cannot be read');
  const limit = maxLockedBytes === Number.POSITIVE_INFINITY ? 'unlimited' : formatSize(maxLockedBytes);
  if (!hasKernelVfio || maxLockedBytes === Number.POSITIVE_INFINITY) {
    return ok('locked-memory', `${limit}; vfio-user locks none`);
  }
  return note(
    'locked-memory',
    `${limit}; vfio-user locks none, a guest with hardware from /dev/vfio locks all of its memory`,
    "For that, raise ulimit -l above the guest's memory.",
  );
}

function checkSockets({ sockets }: Probe): Finding {
  const { runtimeFolder, folder, error } = sockets;
  if (folder === null) {
    return problem(
      'sockets',
      error ?? 'no folder takes any',
      'Set TMPDIR to a folder that you may write to.',
    );
  }
  if (runtimeFolder !== null && runtimeFolder !== folder) {
    return note(
      'sockets',
      `XDG_RUNTIME_DIR is ${runtimeFolder}, which takes none or is too long; they go to ${folder}`,
      'Log in anew, or unset XDG_RUNTIME_DIR.',
    );
  }
  return ok('sockets', `can be made in ${folder}`);
}

function checkQemu({ qemu, osRelease }: Probe): Finding {
  if (qemu.found !== null) {
    const { version, path, source } = qemu.found;
    return ok('qemu', `${version} with vfio-user-pci: ${path} (${source})`);
  }
  return problem(
    'qemu',
    `${whatIsMissing(qemu).join('; ')}; ${OLDEST_QEMU} or newer is needed`,
    ...waysToGetQemu(osRelease),
  );
}

function checkKvm({ kvm, qemu }: Probe): Finding {
  const obstacle = kvmObstacle(kvm);
  if (obstacle !== null)
    return note('kvm', `${obstacle.reason}: guests are emulated (TCG)`, `${obstacle.nextStep}.`);
  if (qemu.found !== null && !qemu.found.hasKvm) {
    return note('kvm', 'this QEMU was built without it: guests are emulated (TCG)', 'Use a QEMU with KVM.');
  }
  return ok('kvm', '/dev/kvm can be used');
}

function checkGuest({ hasCachedGuest }: Probe): Finding {
  if (hasCachedGuest) return ok('guest', 'one is in the cache');
  const next = 'Run `vfio qemu --setup`, or bring a kernel: vfio qemu edu -- -kernel bzImage.';
  return note('guest', 'none is in the cache', next);
}

function checkKernelVfio({ hasKernelVfio }: Probe): Finding {
  if (hasKernelVfio) return ok('kernel-vfio', 'is there; vfio-user does not need it');
  return note('kernel-vfio', 'there is no /dev/vfio; only hardware would need it');
}
