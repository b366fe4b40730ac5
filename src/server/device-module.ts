/*
 * A device from a module of its user: the module exports a class derived from VfioDevice, or a function that makes a
 * device.
 */
import { pathToFileURL } from 'node:url';
import { VfioDevice, VfioError } from '../core/index.ts';

/** Names a device in a module. */
export interface DeviceModule {
  /** URL or path. */
  readonly module: string | URL;
  /** Default: the default export. */
  readonly exportName?: string;
  /** What the class or function is called with. */
  readonly options?: unknown;
}

/** The URL of a module that is given as a URL or as a path. */
export function moduleUrl(module: string | URL): string {
  const text = String(module);
  return /^[a-z]+:/.test(text) ? text : pathToFileURL(text).href;
}

/** Imports the module and makes its device. EINVAL if it exports nothing that makes one. */
export async function makeDevice({
  module,
  exportName = 'default',
  options,
}: DeviceModule): Promise<VfioDevice> {
  const url = moduleUrl(module);
  const exported = ((await import(url)) as Record<string, unknown>)[exportName];
  if (typeof exported !== 'function') {
    throw new VfioError(
      'EINVAL',
      `${url} has no export '${exportName}' that is a device class or a function`,
    );
  }
  const device: unknown = /^class\b/.test(Function.prototype.toString.call(exported))
    ? Reflect.construct(exported, [options])
    : await (exported as (options: unknown) => unknown)(options);
  if (device instanceof VfioDevice) return device;
  throw new VfioError('EINVAL', `export '${exportName}' of ${url} made something that is no VfioDevice`);
}
