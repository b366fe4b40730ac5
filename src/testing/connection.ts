/*
 * How a test reaches its device: directly, or through a server and a socket of their own in this process.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DeviceHandle, openDevice } from '../client/index.ts';
import type { VfioDevice } from '../core/index.ts';
import { VfioUserServer } from '../server/index.ts';

export interface Connection {
  /** One client at a time. */
  open(): Promise<DeviceHandle>;
  /** After the last client has left. */
  close(): Promise<void>;
}

export async function connect(device: VfioDevice, over: 'process' | 'socket'): Promise<Connection> {
  if (over === 'process') return { open: () => openDevice(device), close: async () => {} };
  const folder = mkdtempSync(join(tmpdir(), 'vfio-testing-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  const socketPath = join(folder, 'device.sock');
  const server = new VfioUserServer(device, { socketPath, log: reportThrown });
  try {
    await server.listen();
  } catch (error) {
    remove();
    throw error;
  }
  return {
    open: () => openDevice(`unix:${socketPath}`),
    close: async () => {
      await server.close();
      remove();
    },
  };
}

/** What the device's code threw reaches the client as a bare errno; the author wants the stack. */
function reportThrown(level: string, message: string): void {
  if (level === 'error') console.error(message);
}
