/*
 * Opens a device, wherever it is.
 */
import { VfioDevice, VfioError } from '../core/index.ts';
import { connectSocket } from './connect.ts';
import type { DeviceHandle } from './device-handle.ts';
import { InProcessDevice } from './in-process.ts';
import { type OpenOptions, socketOptions } from './options.ts';
import { SocketDevice } from './socket-device.ts';

/**
 * Opens a device object of this process, or one behind a vfio-user socket: `unix:/run/x.sock`, or just the path.
 *
 * Rejects with VfioError: ECONNREFUSED or ENOENT where nobody listens, EPROTO when the server does not keep to the
 * protocol, EBUSY when the device has a client already, ETIMEDOUT when the server does not answer.
 */
export async function openDevice(
  address: string | VfioDevice,
  options: OpenOptions = {},
): Promise<DeviceHandle> {
  if (address instanceof VfioDevice) return new InProcessDevice(address, options);
  return openSocket(address, options);
}

/** The same for a socket only, with what only a socket has. */
export async function openSocket(address: string, options: OpenOptions = {}): Promise<SocketDevice> {
  const path = socketPath(address);
  const resolved = socketOptions(options);
  const fd = await connectSocket(resolved.sys, path, resolved.connectTimeoutMs);
  return SocketDevice.open(fd, `unix:${path}`, resolved);
}

/** The same over a socket that is connected already. Owns `fd`, also when it fails. */
export async function openSocketFd(fd: number, options: OpenOptions = {}): Promise<SocketDevice> {
  return SocketDevice.open(fd, `fd:${fd}`, socketOptions(options));
}

function socketPath(address: string): string {
  const path = address.startsWith('unix:') ? address.slice('unix:'.length) : address;
  const scheme = /^([a-z][a-z0-9+-]*):/i.exec(path);
  if (path !== '' && scheme === null) return path;
  const what = path === '' ? 'an empty address' : `'${address}'`;
  throw new VfioError('EINVAL', `${what} is no device: use unix:/path/of/the.sock, or a device object`);
}
