/*
 * The ways to open a device, for tests that must see no difference between them.
 */
import { type DeviceHandle, type OpenOptions, openDevice } from '../../src/client/index.ts';
import type { VfioDevice } from '../../src/core/index.ts';
import { VfioUserServer } from '../../src/server/index.ts';
import { FakeSys } from '../../src/sys/fake.ts';
import { openSys, type SysLayer } from '../../src/sys/index.ts';
import { socketPath } from './served-device.ts';

/** One world of opened devices. `close` ends what was opened in it, servers and devices included. */
export interface World {
  readonly sys: SysLayer;
  open(device: VfioDevice, options?: OpenOptions): Promise<DeviceHandle>;
  close(): Promise<void>;
}

interface Place {
  readonly address: string | VfioDevice;
  readonly server: VfioUserServer | null;
  readonly remove: () => void;
}

function makeWorld(
  sys: SysLayer,
  place: (device: VfioDevice) => Promise<Place>,
  fixed: OpenOptions = {},
): World {
  const places = new Map<VfioDevice, Place>();
  const handles: DeviceHandle[] = [];
  return {
    sys,
    async open(device, options = {}) {
      const known = places.get(device) ?? (await place(device));
      places.set(device, known);
      const handle = await openDevice(known.address, { sys, ...fixed, ...options });
      handles.push(handle);
      return handle;
    },
    async close() {
      for (const handle of handles) await handle.close();
      for (const [device, { server, remove }] of places) {
        await server?.close();
        device.release();
        remove();
      }
    },
  };
}

function inProcess(sys: SysLayer): World {
  return makeWorld(sys, async (device) => ({ address: device, server: null, remove: () => undefined }));
}

function behindSockets(sys: SysLayer, fixed: OpenOptions): World {
  const place = async (device: VfioDevice): Promise<Place> => {
    const { path, remove } = socketPath();
    const server = new VfioUserServer(device, { socketPath: path, sys });
    await server.listen();
    return { address: `unix:${path}`, server, remove };
  };
  return makeWorld(sys, place, fixed);
}

/** Every way, by name. */
export const BACKINGS: readonly (readonly [name: string, make: () => World])[] = [
  ['in process', () => inProcess(openSys())],
  ['in process, over the fake system', () => inProcess(new FakeSys())],
  ['behind a socket', () => behindSockets(openSys(), {})],
  ['behind a socket with a twin', () => behindSockets(openSys(), { twinSocket: true })],
  ['behind a socket, over the fake system', () => behindSockets(new FakeSys(), {})],
];

/** One device in this process and one behind a socket, both ways round. */
export const MIXED: readonly (readonly [name: string, first: () => World, second: () => World])[] = [
  ['in process to behind a socket', () => inProcess(openSys()), () => behindSockets(openSys(), {})],
  ['behind a socket to in process', () => behindSockets(openSys(), {}), () => inProcess(openSys())],
];
