/*
 * What the package knows about QEMU: where one is, what it can do, and how it is told about devices.
 */
export { QemuArgumentError } from './arguments.ts';
export { findCache } from './cache-folder.ts';
export {
  bootsSomething,
  chosenAccelerator,
  commandLine,
  deviceValue,
  type QemuStart,
} from './command-line.ts';
export { type FoundQemu, findQemu, OLDEST_QEMU, type QemuSearch, type RejectedQemu } from './find-qemu.ts';
export { CACHE_HINT, waysToGetQemu, whatIsMissing } from './get-qemu.ts';
export { type KvmFacts, type KvmObstacle, kvmObstacle, readKvmFacts } from './kvm.ts';
export { type Environment, onSearchPath } from './search-path.ts';
export { type SetUpOptions, setUpCache } from './set-up.ts';
export { shellLine, shellWord } from './shell.ts';
export { type ShellGuest, shellGuest } from './shell-guest.ts';
