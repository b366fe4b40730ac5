/*
 * serveInWorker: the device runs in another thread, and the parent hears of it.
 */
import { describe, expect, test } from 'vitest';
import { read } from '../../test/support/bytes.ts';
import { access, RawClient } from '../../test/support/raw-client.ts';
import { socketPath } from '../../test/support/served-device.ts';
import { serveInWorker } from './worker.ts';

const MODULE = new URL('../../test/support/worker-device.ts', import.meta.url);

describe('serveInWorker', () => {
  test.each([
    ['a class', {}],
    ['a function', { exportName: 'make' }],
  ])('serves the device that %s makes, in another thread', async (_name, options) => {
    const { path, remove } = socketPath();
    const told: string[] = [];
    const log: string[] = [];
    const server = await serveInWorker(MODULE, {
      socketPath: path,
      deviceOptions: { name: 'far' },
      log: (_level, message) => log.push(message),
      ...options,
    });
    server.on('session', (pid) => told.push(`session ${pid === process.pid}`));
    server.on('close', (reason) => told.push(`close: ${reason}`));
    server.on('exit', (error) => told.push(`exit: ${error}`));
    const client = await RawClient.open(path);
    const reply = await client.request(9, access(0, 0, 4));
    expect(read(reply.body, 16, 4)).toBeGreaterThan(0);
    client.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
    await server.close();
    expect(told).toEqual(['session true', 'close: the peer closed the connection', 'exit: null']);
    expect(log[0]).toMatch(/far: listening/);
    remove();
  });

  test('rejects with what went wrong, and no worker stays', async () => {
    const { path, remove } = socketPath();
    const options = { socketPath: path };
    await expect(serveInWorker(MODULE, { ...options, exportName: 'nobody' })).rejects.toMatchObject({
      code: 'EINVAL',
    });
    await expect(serveInWorker(MODULE, { ...options, exportName: 'makeNothing' })).rejects.toThrow(
      /is no device of this package/,
    );
    await expect(serveInWorker('/nowhere/device.js', options)).rejects.toThrow(/nowhere/);
    await expect(serveInWorker(MODULE, { socketPath: '/nowhere/s' })).rejects.toMatchObject({
      code: 'ENOENT',
    });
    remove();
  });

  test('closing a server with a client cuts the client off', async () => {
    const { path, remove } = socketPath();
    const server = await serveInWorker(MODULE, { socketPath: path });
    const client = await RawClient.open(path);
    await server.close();
    await client.closed;
    remove();
  });
});
