/**
 * Where the sockets of `vfio qemu` are: a folder that only this user can look into, gone when the command ends.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VfioError } from '../../core/index.ts';
import type { Environment } from '../../qemu/index.ts';

/** Room that the path of a socket leaves for its folder: 107 bytes, less a name of usual length. */
const MAX_PARENT_BYTES = 60;

/** Folders that may hold sockets, the best first. */
export function socketParents(environment: Environment): readonly string[] {
  const runtime = environment['XDG_RUNTIME_DIR'] ?? '';
  const parents = [...(runtime === '' ? [] : [runtime]), tmpdir(), '/tmp'];
  return [...new Set(parents)].filter((path) => Buffer.byteLength(path) <= MAX_PARENT_BYTES);
}

export interface SocketFolder {
  readonly path: string;
  /** Also in a hurry: a call does not wait, a second one does nothing. */
  remove(): void;
}

/** Makes one. Throws EACCES if no folder takes any. */
export function makeSocketFolder(environment: Environment): SocketFolder {
  const parents = socketParents(environment);
  for (const parent of parents) {
    try {
      const path = mkdtempSync(join(parent, 'vfio-'));
      return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
    } catch {
      // The next one may do.
    }
  }
  throw new VfioError(
    'EACCES',
    `no folder for sockets can be made in ${parents.join(' or ')}. Set TMPDIR to a folder that you may write to.`,
  );
}
