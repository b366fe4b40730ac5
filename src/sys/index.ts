/*
 * The system: `openSys()` gives the layer that really calls it. Tests of other rooms use `FakeSys` instead.
 */
import { loadNative } from './native.ts';
import { NativeSys } from './native-sys.ts';
import type { SysLayer } from './sys-layer.ts';

export { EventfdTrigger } from './eventfd-trigger.ts';
export { FakeSys } from './fake.ts';
export type {
  Connection,
  ConnectionHandler,
  ConnectionOptions,
  FileIdentity,
  MapAccess,
  Mapping,
  PeerCredentials,
  Pty,
  Readiness,
  SysCounts,
  SysLayer,
  Watcher,
} from './sys-layer.ts';

let opened: SysLayer | null = null;

/** The system calls, one object for the process (each worker has its own). Throws ENOSYS where the addon cannot be loaded. */
export function openSys(): SysLayer {
  opened ??= new NativeSys(loadNative());
  return opened;
}
