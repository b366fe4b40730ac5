/*
 * Where the devices of a live world are: behind sockets of this process, behind sockets of another one, or no sockets at
 * all. Edu is always in this process, because its faults are asked of the device itself.
 */
import { fileURLToPath } from 'node:url';
import type { VfioDevice } from '../../src/core/index.ts';
import { Answerer } from '../support/holder.ts';
import { type Served, serveDevice } from '../support/served-device.ts';
import { PROBED_RANGES } from './core-world.ts';
import { makeDevice } from './devices.ts';
import type { DeviceName } from './world.ts';

export interface Host {
  /** A new device; what `openDevice` takes to open it. */
  place(name: DeviceName): Promise<string | VfioDevice>;
  /** The device goes away for good. */
  release(name: DeviceName): Promise<void>;
  /** Everything that is left goes away. */
  end(): Promise<void>;
}

/** Told why a transfer of edu came to nothing. */
type FaultListener = (reason: string) => void;

/** A new device; of edu, `told` hears the faults. */
function make(name: DeviceName, told: FaultListener): VfioDevice {
  if (name !== 'edu') return makeDevice(name);
  const edu = makeDevice(name);
  edu.on('fault', ({ reason }) => told(reason));
  return edu;
}

/** A server for each device, in this process. */
export class LocalServers implements Host {
  readonly #served: Map<DeviceName, Served<VfioDevice>> = new Map();
  readonly #told: FaultListener;

  constructor(told: FaultListener) {
    this.#told = told;
  }

  async place(name: DeviceName): Promise<string> {
    const served = await serveDevice<VfioDevice>(make(name, this.#told), { container: PROBED_RANGES });
    this.#served.set(name, served);
    return `unix:${served.path}`;
  }

  async release(name: DeviceName): Promise<void> {
    await this.#served.get(name)?.close();
    this.#served.delete(name);
  }

  async end(): Promise<void> {
    for (const name of [...this.#served.keys()]) await this.release(name);
  }
}

/** The devices themselves, opened without a socket. */
export class NoServers implements Host {
  readonly #devices: Map<DeviceName, VfioDevice> = new Map();
  readonly #told: FaultListener;

  constructor(told: FaultListener) {
    this.#told = told;
  }

  async place(name: DeviceName): Promise<VfioDevice> {
    const device = make(name, this.#told);
    this.#devices.set(name, device);
    return device;
  }

  async release(name: DeviceName): Promise<void> {
    this.#devices.get(name)?.release();
    this.#devices.delete(name);
  }

  async end(): Promise<void> {
    for (const name of [...this.#devices.keys()]) await this.release(name);
  }
}

/** Edu is served here, the devices whose memory it reaches by host-main.ts in another process. */
export class OtherProcess implements Host {
  readonly #here: LocalServers;
  readonly #there: Answerer;

  constructor(told: FaultListener) {
    this.#here = new LocalServers(told);
    const main = fileURLToPath(new URL('host-main.ts', import.meta.url));
    this.#there = new Answerer(process.execPath, ['--import', 'tsx', main], 2);
  }

  place(name: DeviceName): Promise<string> {
    return name === 'edu' ? this.#here.place(name) : this.#there.ask(`serve ${name}`);
  }

  async release(name: DeviceName): Promise<void> {
    if (name === 'edu') await this.#here.release(name);
    else await this.#there.ask(`release ${name}`);
  }

  async end(): Promise<void> {
    await this.#here.end();
    await this.#there.stop();
  }
}
