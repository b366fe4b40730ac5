/*
 * A device from a module of its user: the module exports a class derived from VfioDevice, a function that makes a
 * device, or a device.
 */
import { VfioDevice } from '../core/index.ts';
import { DeviceSetupError } from './device-setup-error.ts';
import { loadModule, type ModuleExports } from './load-module.ts';

/** Names a device in a module. */
export interface DeviceModule {
  /** URL or path. */
  readonly module: string | URL;
  /** Default: the default export. */
  readonly exportName?: string;
  /** What the class or function is called with. */
  readonly options?: unknown;
}

/** Imports the module and makes its device. DeviceSetupError if it does not load, or exports nothing that makes one. */
export async function loadDevice(device: DeviceModule): Promise<VfioDevice> {
  return deviceFrom(await loadModule(device.module), device);
}

/** Makes the device of a module that was imported. DeviceSetupError if it exports nothing that makes one. */
export async function deviceFrom(
  exports: ModuleExports,
  { module, exportName = 'default', options }: DeviceModule,
): Promise<VfioDevice> {
  const made: unknown = await instance(exports[exportName], options);
  if (made instanceof VfioDevice) return made;
  const what = exportName === 'default' ? 'the default export' : `the export '${exportName}'`;
  throw new DeviceSetupError(
    `${what} of ${module} is no device of this package. ` +
      'Export a class that extends PciDevice, PlatformDevice, FslMcDevice or MdevDevice, an instance of one, or a function ' +
      'that returns one; ' +
      'if it does, there are two copies of vfio: install it once.',
  );
}

function instance(exported: unknown, options: unknown): unknown {
  if (typeof exported !== 'function') return exported;
  const isClass = /^class\b/.test(Function.prototype.toString.call(exported));
  return isClass
    ? Reflect.construct(exported, [options])
    : (exported as (options: unknown) => unknown)(options);
}
