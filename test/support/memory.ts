/*
 * What the tests of memory share: fds to give away, devices with memory, and counts of what a process holds.
 */
import { fstatSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { type Consent, VfioDevice, VfioError } from '../../src/core/index.ts';
import type { SysLayer } from '../../src/sys/sys-layer.ts';

/** A memfd of `sizeBytes`; sealed against shrinking if `sealed`. */
export function memfd(sys: SysLayer, sizeBytes: number, sealed = false): number {
  const fd = sys.memfdCreate('guest-ram', { allowSealing: true });
  sys.ftruncate(fd, sizeBytes);
  if (sealed) sys.addSeals(fd, 0x0002);
  return fd;
}

/** The same file through another open, with O_RDONLY, O_WRONLY or O_RDWR. */
export function reopened(fd: number, flags: 'r' | 'r+' | number): number {
  return openSync(`/proc/self/fd/${fd}`, flags);
}

/** Whether `fd` is open. */
export function isOpen(fd: number): boolean {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
}

/** Open fds of this process, the one that lists them included. */
export function fdCount(): number {
  return readdirSync('/proc/self/fd').length;
}

/** Mappings of this process that show `text`. */
export function mapsOf(text: string): string[] {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes(text));
}

/** A device with one mappable region of one area. */
export function deviceWithRegion(index: number, sizeBytes: number, dma: Consent = 'allow'): VfioDevice {
  const areas = [{ offset: 0, size: sizeBytes, dma }];
  return new VfioDevice({ name: 'card', kind: 'pci', regions: [{ index, sizeBytes, areas }], irqs: [] });
}

/** The code of the VfioError that `action` throws; 'none' if it throws nothing. */
export function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof VfioError) return error.code;
    throw error;
  }
  return 'none';
}

/** `sys`, except that some calls are others. */
export function withCalls(sys: SysLayer, calls: Partial<SysLayer>): SysLayer {
  return new Proxy(sys, {
    get(target, name) {
      const own = calls[name as keyof SysLayer];
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
