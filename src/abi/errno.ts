/*
 * Linux errno values (asm-generic, the same on x86-64 and arm64) under their names. The vfio-user header carries
 * the number, an error in JavaScript carries the name; both directions of that translation are here.
 */

/** errno name to number, as in `<errno.h>`. `ENOTSUP` and `EOPNOTSUPP` are one number on Linux. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EMLINK: 31,
  EPIPE: 32,
  ERANGE: 34,
  EDEADLK: 35,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  ETIME: 62,
  EPROTO: 71,
  EBADMSG: 74,
  EOVERFLOW: 75,
  EBADFD: 77,
  ENOTSOCK: 88,
  EMSGSIZE: 90,
  EPROTOTYPE: 91,
  EPROTONOSUPPORT: 93,
  EOPNOTSUPP: 95,
  ENOTSUP: 95,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENOBUFS: 105,
  EISCONN: 106,
  ENOTCONN: 107,
  ESHUTDOWN: 108,
  ETOOMANYREFS: 109,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTDOWN: 112,
  EALREADY: 114,
  EINPROGRESS: 115,
  ESTALE: 116,
  ECANCELED: 125,
} as const;

/** A name in `ERRNO`. */
export type ErrnoName = keyof typeof ERRNO;

const nameByNumber = new Map<number, ErrnoName>();
for (const name of Object.keys(ERRNO) as ErrnoName[]) {
  if (!nameByNumber.has(ERRNO[name])) nameByNumber.set(ERRNO[name], name);
}

/** The name of a positive errno (`22` is `'EINVAL'`), or `E` and the number for one that is not in `ERRNO`. */
export function errnoName(errno: number): ErrnoName | `E${number}` {
  return nameByNumber.get(errno) ?? `E${errno}`;
}
