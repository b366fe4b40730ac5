/*
 * A server on a socket of its own for one test, and what it told.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ServerOptions, VfioUserServer } from '../../src/server/index.ts';
import { RawClient } from './raw-client.ts';
import { TestDevice } from './test-device.ts';

/** A served device. Call `close` at the end of the test. */
export interface Served<Device> {
  readonly device: Device;
  readonly server: VfioUserServer;
  readonly path: string;
  /** Names of events with what matters of them, in order. */
  readonly told: string[];
  readonly log: string[];
  /** Connects and agrees on the version. */
  open(json?: string): Promise<RawClient>;
  close(): Promise<void>;
}

/** A fresh path for a socket in a folder of its own, and how to remove both. */
export function socketPath(): { path: string; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'vfio-test-'));
  return { path: join(folder, 's'), remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Serves `device`, a TestDevice unless said otherwise. */
export async function serve(options: Partial<ServerOptions> = {}): Promise<Served<TestDevice>> {
  return serveDevice(new TestDevice(), options);
}

/** As `serve`, for any device. */
export async function serveDevice<Device extends VfioUserServer['device']>(
  device: Device,
  options: Partial<ServerOptions> = {},
): Promise<Served<Device>> {
  const { path, remove } = socketPath();
  const told: string[] = [];
  const log: string[] = [];
  const clients: RawClient[] = [];
  const server = new VfioUserServer(device, {
    socketPath: path,
    log: (level, text) => log.push(`${level}: ${text}`),
    ...options,
  });
  server.on('session', () => told.push('session'));
  server.on('close', (reason) => told.push(`close: ${reason}`));
  server.on('refused', (reason) => told.push(`refused: ${reason}`));
  server.on('protocol-error', ({ command, errno }) => told.push(`protocol-error: ${command} ${errno}`));
  server.on('handler-error', ({ during }) => told.push(`handler-error: ${during}`));
  server.on('dropped', ({ regionIndex, offset, errno }) =>
    told.push(`dropped: ${regionIndex} ${offset} ${errno}`),
  );
  await server.listen();
  return {
    device,
    server,
    path,
    told,
    log,
    async open(json) {
      const client = await RawClient.open(path, json);
      clients.push(client);
      return client;
    },
    async close() {
      for (const client of clients) client.close();
      await server.close();
      device.release();
      remove();
    },
  };
}
