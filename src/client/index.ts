/* Public names of the client room: open a device, and what an open device is. */
export type { Reply, RequestOptions } from './channel.ts';
export * from './device-handle.ts';
export type { DmaServerCounts } from './dma-server.ts';
export { InProcessDevice } from './in-process.ts';
export type { Agreement } from './negotiate.ts';
export { openDevice, openSocket, openSocketFd } from './open-device.ts';
export type { OpenOptions } from './options.ts';
export type { PeerPlace, PeerSource } from './peer-memory.ts';
export { SocketDevice } from './socket-device.ts';
