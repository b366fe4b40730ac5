/**
 * What `vfio serve` is asked to serve: `edu`, `ram`, `serial`, `./my-device.ts`, each optionally followed by
 * `:SOCKET-PATH`.
 */
import { UsageError } from '../usage-error.ts';

export interface DeviceArgument {
  /** What to serve: a built-in device's name, or the path of a module. */
  readonly device: string;
  /** Name that events and control commands use: `edu`, `my-device`. */
  readonly name: string;
  readonly socketPath: string | null;
}

/** Longest path that fits sockaddr_un.sun_path with its final NUL. */
const MAX_SOCKET_PATH_BYTES = 107;

/** Whether a device is a module to load and not the name of a built-in device. */
export function isModulePath(device: string): boolean {
  return /[/\\]/.test(device) || /\.[cm]?[jt]s$/.test(device);
}

/** Splits one argument. The socket's path starts behind the last colon. */
export function parseDeviceArgument(text: string): DeviceArgument {
  const colon = text.lastIndexOf(':');
  const device = colon < 0 ? text : text.slice(0, colon);
  const socketPath = colon < 0 ? null : text.slice(colon + 1);
  if (device === '')
    throw new UsageError(`'${text}' names no device`, 'Write edu, ram, serial or the path of a module.');
  if (socketPath !== null) checkSocketPath(socketPath);
  return { device, name: nameOf(device), socketPath };
}

/**
 * Gives every device its socket: its own, the common `--socket-path`, or none when it is served over `--fd`.
 * Two devices with one name get numbers behind it, so that control commands can tell them apart.
 */
export function resolveDevices(
  texts: readonly string[],
  common: { readonly socketPath: string | null; readonly fd: number | null },
): readonly DeviceArgument[] {
  const parsed = texts.map(parseDeviceArgument);
  const alone = parsed.length === 1;
  if (common.socketPath !== null) checkSocketPath(common.socketPath);
  if (!alone && (common.socketPath !== null || common.fd !== null)) {
    throw new UsageError(
      '--socket-path and --fd serve one device',
      'Give each device its own socket: vfio serve edu:/tmp/edu.sock ram:/tmp/ram.sock',
    );
  }
  const devices = parsed.map((argument) => ({
    ...argument,
    socketPath: argument.socketPath ?? common.socketPath,
  }));
  if (common.fd !== null && devices[0]!.socketPath !== null) {
    throw new UsageError('--fd and a socket path exclude each other', 'Leave one of them out.');
  }
  const homeless = devices.find((argument) => argument.socketPath === null && common.fd === null);
  if (homeless !== undefined) {
    throw new UsageError(
      `${homeless.name} has no socket`,
      `Add --socket-path=/tmp/${homeless.name}.sock, or write ${homeless.device}:/tmp/${homeless.name}.sock.`,
    );
  }
  checkDistinct(devices);
  return withDistinctNames(devices);
}

/**
 * Gives every device that has no socket of its own one in `folder`, by its name. Names are distinct as in
 * `resolveDevices`.
 */
export function placeDevices(texts: readonly string[], folder: string): readonly DeviceArgument[] {
  const devices = withDistinctNames(texts.map(parseDeviceArgument)).map((argument) => ({
    ...argument,
    socketPath: argument.socketPath ?? `${folder}/${argument.name}.sock`,
  }));
  for (const { socketPath } of devices) checkSocketPath(socketPath);
  checkDistinct(devices);
  return devices;
}

function checkSocketPath(path: string): void {
  if (path === '') throw new UsageError('the path of the socket is empty', 'Write DEVICE:/tmp/device.sock.');
  const bytes = Buffer.byteLength(path);
  if (bytes <= MAX_SOCKET_PATH_BYTES) return;
  throw new UsageError(
    `the socket path '${path}' has ${bytes} bytes, Linux takes ${MAX_SOCKET_PATH_BYTES}`,
    'Use a shorter path, in /tmp for example.',
  );
}

function checkDistinct(devices: readonly DeviceArgument[]): void {
  const paths = new Set<string>();
  for (const { socketPath } of devices) {
    if (socketPath === null) continue;
    if (paths.has(socketPath)) {
      throw new UsageError(`two devices have the socket ${socketPath}`, 'Give each its own.');
    }
    paths.add(socketPath);
  }
}

function withDistinctNames(devices: readonly DeviceArgument[]): readonly DeviceArgument[] {
  const seen = new Map<string, number>();
  return devices.map((argument) => {
    const count = (seen.get(argument.name) ?? 0) + 1;
    seen.set(argument.name, count);
    return count === 1 ? argument : { ...argument, name: `${argument.name}-${count}` };
  });
}

function nameOf(device: string): string {
  if (!isModulePath(device)) return device;
  const base = device.split(/[/\\]/).at(-1)!;
  return base.replace(/\.[cm]?[jt]s$/, '');
}

/** Throws if none of the devices can change. */
export function checkWatch(devices: readonly DeviceArgument[]): void {
  if (devices.some(({ device }) => isModulePath(device))) return;
  throw new UsageError(
    '--watch is for devices of modules, and the built-in ones are none',
    'Leave --watch out, or name a module: ./my-device.ts.',
  );
}
