/*
 * The one error class of the package, and the assert that guards against mistakes of the program that embeds
 * us.
 *
 * Three kinds of mistake are kept apart. A guest's mistake is a bus value and never gets here. A client's
 * mistake is a VfioError: it has an errno, because the other side of every interface that we implement
 * (ioctl, vfio-user) speaks errno. A host's mistake (a device model with overlapping areas, a listener that
 * throws) is an assert.
 */
import { ERRNO, type ErrnoName } from '../abi/errno.ts';

/** An operation was refused or failed. `code` is the errno's name, `errno` its number (positive). */
export class VfioError extends Error {
  override readonly name: string = 'VfioError';
  readonly code: ErrnoName;
  readonly errno: number;

  /** @param message says what happened and what to do next, in one or two sentences. */
  constructor(code: ErrnoName, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.errno = ERRNO[code];
  }
}

/**
 * Throws unless `condition` holds. For mistakes of the host program only: no client or guest may reach one.
 */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`vfio: ${message}`);
}
