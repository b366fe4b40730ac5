/**
 * Makes the device that an argument of `vfio serve` names: a built-in one from the command line's options, or
 * what a user's module exports by default.
 */
import type { Consent, VfioDevice } from '../../core/index.ts';
import { Edu } from '../../devices/edu/device.ts';
import { Ram } from '../../devices/ram/device.ts';
import { Serial } from '../../devices/serial/device.ts';
import { DeviceSetupError, loadDevice } from '../../server/index.ts';
import { isModulePath } from './device-argument.ts';

/** What the command line says about devices. Can be sent to a worker. */
export interface DeviceOptions {
  /** ram: size of BAR2 in bytes. */
  readonly sizeBytes?: number;
  /** ram: whether BAR2 is a DMA target. */
  readonly dma?: Consent;
  /** edu: address bits of its DMA engine. */
  readonly dmaMaskBits?: number;
  /** serial: bytes reach the guest while it has RTS down, too. */
  readonly ignoreRts?: boolean;
  /** Modules: `--option key=value`, handed to the class or factory as they are. */
  readonly custom?: Readonly<Record<string, string>>;
}

const BUILT_IN: Readonly<Record<string, (name: string, options: DeviceOptions) => VfioDevice>> = {
  edu: (name, { dmaMaskBits }) => new Edu({ name, ...(dmaMaskBits === undefined ? {} : { dmaMaskBits }) }),
  ram: (name, { sizeBytes, dma }) =>
    new Ram({
      name,
      ...(sizeBytes === undefined ? {} : { sizeBytes }),
      ...(dma === undefined ? {} : { dma }),
    }),
  serial: (name, { ignoreRts }) => new Serial({ name, hardwareFlowControl: ignoreRts !== true }),
};

/** Makes `device` under `name`. DeviceSetupError when nothing can be made of it. */
export async function makeDevice(device: string, name: string, options: DeviceOptions): Promise<VfioDevice> {
  if (isModulePath(device)) return loadDevice({ module: device, options: options.custom ?? {} });
  const make = Object.hasOwn(BUILT_IN, device) ? BUILT_IN[device] : undefined;
  if (make === undefined) {
    throw new DeviceSetupError(
      `there is no device '${device}'. ` +
        `There are ${Object.keys(BUILT_IN).join(', ')}; a module is a path, ./${device}.ts for example.`,
    );
  }
  try {
    return make(name, options);
  } catch (error) {
    throw new DeviceSetupError(
      `${device} cannot be made so: ${(error as Error).message}. Change its options.`,
    );
  }
}
