/**
 * Serves devices until the process is told to stop: makes each, puts it on its socket, and tells what
 * happens.
 */
import type { EventEmitter } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { type DeviceKind, type VfioDevice, VfioError } from '../../core/index.ts';
import { Serial } from '../../devices/serial/device.ts';
import {
  type Logger,
  type ServerOptions,
  serveInWorker,
  type Trace,
  VfioUserServer,
  type WorkerServer,
} from '../../server/index.ts';
import { openSys } from '../../sys/index.ts';
import { control, type Devices } from './control.ts';
import { type DeviceArgument, isModulePath } from './device-argument.ts';
import { qemuOption, type Teller } from './events.ts';
import { limitEvents } from './limit-events.ts';
import { type DeviceOptions, makeDevice } from './make-device.ts';
import { observeDevice } from './observe.ts';
import { PtyEnd } from './pty-end.ts';
import { Reloading } from './reload.ts';
import type { WorkerDeviceOptions } from './worker-device.ts';

export interface ServeOptions {
  readonly devices: readonly DeviceArgument[];
  /** Descriptor to serve the one device over, instead of a socket path. */
  readonly fd: number | null;
  readonly deviceOptions: DeviceOptions;
  readonly busyPollUs: number;
  readonly worker: boolean;
  /** Told of every message; null: nobody is. */
  readonly trace: Trace | null;
  /** Devices of modules are made anew when the module changes. */
  readonly watch: boolean;
  readonly json: boolean;
  /** Give each serial port a pseudo terminal, and the only one a symbolic link to it; null: none. */
  readonly pty: { readonly link: string | null } | null;
  /** Control lines are read from here; null: none. */
  readonly controlInput: Readable | null;
  readonly tell: Teller;
  /** Refuse devices that clients do not take for PCI. */
  readonly onlyPci?: boolean;
  /** What is done while the devices are served; they end with it. Default: waiting to be told to stop. */
  readonly work?: () => Promise<void>;
}

/** One device being served, wherever it runs. */
interface Served {
  readonly name: string;
  readonly terminal: PtyEnd | null;
  /** What clients take it for. */
  readonly kind: DeviceKind;
  close(): Promise<void>;
}

const STOP_SIGNALS: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT'];

/** Serves until SIGTERM, SIGINT, or the end of the control input or of `work`; resolves when everything is closed. */
export async function serve(options: ServeOptions): Promise<void> {
  const devices = new Map<string, VfioDevice>();
  const served: Served[] = [];
  const stop = options.work === undefined ? stopRequest(options.controlInput) : null;
  let closeControl = (): void => {};
  try {
    for (const argument of options.devices) {
      const one = options.worker
        ? await serveInThread(argument, options)
        : await serveHere(argument, options, devices);
      served.push(one);
      tellReady(argument, one, options.tell);
    }
    if (options.controlInput !== null) {
      closeControl = readControl(options.controlInput, devices, options.tell);
    }
    await (stop ?? options.work?.());
  } finally {
    closeControl();
    for (const one of served.reverse()) {
      await one.close();
      options.tell({ event: 'stopped', device: one.name });
    }
  }
}

async function serveHere(
  argument: DeviceArgument,
  options: ServeOptions,
  devices: Map<string, VfioDevice>,
): Promise<Served> {
  const { name } = argument;
  const tell = limitEvents(name, options.tell);
  const reloading =
    options.watch && isModulePath(argument.device)
      ? new Reloading(name, argument.device, options.deviceOptions.custom ?? {}, tell)
      : null;
  const device = await (reloading?.make() ?? makeDevice(argument.device, name, options.deviceOptions));
  const server = new VfioUserServer(device, { ...serverOptions(argument, options), log: logger(name, tell) });
  tellSessions(server, name, tell);
  const terminal = plugTerminal(device, options);
  const close = async (): Promise<void> => {
    await reloading?.close();
    await server.close();
    terminal?.close();
    server.device.release();
  };
  try {
    if (options.onlyPci) checkPci(name, device);
    await server.listen();
  } catch (error) {
    await close();
    throw error;
  }
  observeDevice(name, device, tell, (next) => devices.set(name, next));
  devices.set(name, device);
  reloading?.start(server);
  return { name, terminal, kind: device.seenAs, close };
}

/** QEMU's client refuses others when its guest is set up, in words that say nothing about the device. */
function checkPci(name: string, device: VfioDevice): void {
  if (device.seenAs === 'pci') return;
  throw new VfioError(
    'ENODEV',
    `${name} is a ${device.kind} device; QEMU's vfio-user client attaches PCI devices only. ` +
      'Serve it with `vfio serve`, and drive it with openDevice.',
  );
}

function plugTerminal(device: VfioDevice, { pty }: ServeOptions): PtyEnd | null {
  return pty !== null && device instanceof Serial ? new PtyEnd(openSys(), device.line, pty.link) : null;
}

async function serveInThread(argument: DeviceArgument, options: ServeOptions): Promise<Served> {
  const { json } = options;
  const { device, name } = argument;
  const tell = limitEvents(name, options.tell);
  const deviceOptions: WorkerDeviceOptions = { device, name, options: options.deviceOptions, json };
  const server = await serveInWorker(new URL('./worker-device.js', import.meta.url), {
    ...serverOptions(argument, options),
    deviceOptions,
    log: logger(name, tell),
  });
  tellSessions(server, name, tell);
  return { name, terminal: null, kind: server.kind, close: () => server.close() };
}

/** Who only connected, to see whether somebody listens for example, was never attached and does not detach. */
function tellSessions(server: VfioUserServer | WorkerServer, name: string, tell: Teller): void {
  const events: Pick<EventEmitter, 'on'> = server;
  let attached = false;
  events.on('session', () => {
    attached = true;
    tell({ event: 'session', device: name, state: 'attached' });
  });
  events.on('close', () => {
    if (attached) tell({ event: 'session', device: name, state: 'detached' });
    attached = false;
  });
}

function serverOptions(argument: DeviceArgument, { fd, busyPollUs, trace }: ServeOptions): ServerOptions {
  return {
    ...(argument.socketPath === null ? { fd: fd! } : { socketPath: argument.socketPath }),
    busyPollUs,
    // Under the name that all other events have.
    ...(trace === null ? {} : { trace: (message) => trace({ ...message, device: argument.name }) }),
  };
}

/** Sessions coming and going are events of their own; what is left to say is what went wrong. */
function logger(name: string, tell: Teller): Logger {
  return (level, message) => {
    if (level === 'warn' || level === 'error') tell({ event: 'log', device: name, level, message });
  };
}

function tellReady({ name, socketPath }: DeviceArgument, { terminal, kind }: Served, tell: Teller): void {
  const qemu = socketPath === null || kind !== 'pci' ? null : qemuOption(socketPath);
  const pty = terminal?.path ?? null;
  const ptyLink = terminal?.link ?? null;
  tell({ event: 'ready', device: name, kind, socket: socketPath, qemu, pty, ptyLink, pid: process.pid });
}

/**
 * Control lines run one after the other, in the order in which they came. Call what is returned at the end: input
 * that is still open would keep the process alive.
 */
function readControl(input: Readable, devices: Devices, tell: Teller): () => void {
  let before: Promise<void> = Promise.resolve();
  const lines = createInterface({ input }).on('line', (line) => {
    before = before.then(async () => {
      const answer = await control(devices, line);
      tell({ event: 'control', command: line, ...answer });
    });
  });
  return () => lines.close();
}

/** Resolves when the process is told to stop, when whoever controls it is gone, or when nothing is left to serve. */
function stopRequest(controlInput: Readable | null): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of STOP_SIGNALS) process.once(signal, () => resolve());
    controlInput?.once('close', resolve);
    // An inherited connection serves one client; when that has left, nothing keeps the process alive.
    process.once('beforeExit', () => resolve());
  });
}
