/*
 * A guest that is ready to boot, and the QEMU that belongs to it, in the user's cache folder.
 */

export interface CachedGuest {
  /** Path of a script that runs QEMU. */
  readonly qemu: string;
  readonly kernel: string;
  readonly initramfs: string;
  /** The kernel's command line. */
  readonly append: string;
}

/** How a user gets one, one sentence; null as long as there is no command for it. */
export const CACHE_HINT: string | null = null;

/** The guest in the cache, or null: nothing makes one yet. */
export function findCachedGuest(): CachedGuest | null {
  return null;
}
