/*
 * The socket a server listens on: made at a path, or inherited. What cannot be listened on is explained to whoever
 * started the server.
 */
import { VfioError } from '../core/index.ts';
import type { SysLayer } from '../sys/sys-layer.ts';
import { LISTEN_BACKLOG } from './limits.ts';

/** File type bits of st_mode, and what they are for a socket. */
const S_IFMT = 0o170000;
const S_IFSOCK = 0o140000;

/** Listens at `path`. EADDRINUSE if another server has it, ENOENT, ENOTDIR or EACCES if no socket can be made there. */
export function listenAt(sys: SysLayer, path: string): number {
  try {
    return sys.listen(path, LISTEN_BACKLOG);
  } catch (error) {
    if (!(error instanceof VfioError)) throw error;
    const help = HELP[error.code];
    if (help === undefined) throw error;
    throw new VfioError(error.code, `no socket can be made at ${path}: ${help}`, { cause: error });
  }
}

const HELP: Partial<Record<VfioError['code'], string>> = {
  EADDRINUSE: 'a server listens there, or it is a file of another kind; stop the server or use another path',
  ENOENT: 'its folder does not exist; make it, or use another path',
  ENOTDIR: 'a part of the path is no folder; use another path',
  EACCES: 'this user may not write to its folder; use another path, in /tmp for example',
  EPERM: 'its folder takes no sockets; use another path, in /tmp for example',
  EROFS: 'its file system is read-only; use another path, in /tmp for example',
};

/** Takes over an inherited socket. EBADF if it is not open, EINVAL if it is no socket; it is not closed then. */
export function inheritedSocket(sys: SysLayer, fd: number): number {
  const isSocket = (sys.identity(fd).mode & S_IFMT) === S_IFSOCK;
  if (isSocket) return fd;
  throw new VfioError('EINVAL', `fd ${fd} is no socket; hand over a UNIX socket, listening or connected`);
}
