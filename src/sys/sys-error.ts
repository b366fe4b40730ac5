/*
 * How a failed system call becomes a VfioError: what was tried, what the kernel said, and what helps where something does.
 */

import { ERRNO, type ErrnoName, errnoName } from '../abi/errno.ts';
import { VfioError } from '../core/error.ts';

const HELP: Partial<Record<ErrnoName, string>> = {
  EBADF: 'the file descriptor is not open',
  EMFILE: 'this process has no free file descriptors: raise `ulimit -n`',
  ENFILE: 'the system has no free file descriptors',
  ENOMEM: 'no memory, or too many mappings (see vm.max_map_count)',
  EACCES: 'the file does not permit that access',
  EPERM: 'a seal or a permission forbids it',
  ENODEV: 'this kind of file cannot be mapped',
  EFAULT: 'the memory behind the buffer is gone',
  ECONNREFUSED: 'nobody listens there',
  EEXIST: 'there is such a file already: remove it, or take another name',
  ENOENT: 'there is no such file',
  EAGAIN: 'the other side is busy: try again',
};

/** The error for a call that gave `errno` (positive). */
export function sysError(errno: number, what: string): VfioError {
  const name = errnoName(errno);
  const known = name in ERRNO;
  const code: ErrnoName = known ? (name as ErrnoName) : 'EIO';
  const help = HELP[code];
  return new VfioError(code, `${what}: ${name}${known && help !== undefined ? `, ${help}` : ''}`);
}

/** Passes a result on, or throws what a negative one says. */
export function checked(result: number, what: string): number {
  if (result < 0) throw sysError(-result, what);
  return result;
}
