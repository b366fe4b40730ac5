/* Public names of the server room: any VfioDevice, served to a vfio-user client. */

export type { WriteRange } from './background.ts';
export { type DeviceModule, deviceFrom, loadDevice } from './device-module.ts';
export { DeviceSetupError } from './device-setup-error.ts';
export { FreshModule } from './fresh-module.ts';
export type { IoEventfd, IoEventfdDevice } from './io-fds.ts';
export type { ModuleExports } from './load-module.ts';
export { type Logger, type LogLevel, silent } from './logger.ts';
export { type PeerMemory, PeerRegistry } from './peers.ts';
export { LayoutError, type ReplacedState } from './replacement.ts';
export type { SessionReport } from './report.ts';
export { type ServerEvents, type ServerOptions, VfioUserServer } from './server.ts';
export type { Session } from './session.ts';
export type {
  DroppedEvent,
  HandlerErrorEvent,
  ProtocolErrorEvent,
  StallEvent,
} from './session-context.ts';
export type { Trace, TracedMessage } from './trace.ts';
export { traceLine } from './trace-line.ts';
export { serveInWorker, type WorkerOptions, WorkerServer } from './worker.ts';
