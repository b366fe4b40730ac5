import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Qmp } from './qmp.ts';

/** Answers as QEMU does, https://www.qemu.org/docs/master/interop/qmp-spec.html; test/vm has the real one. */
const GREETING = { QMP: { version: {}, capabilities: [] } };

let folder = '';
let server: Server;
let path = '';
let qemu: Socket;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vfio-qmp-'));
  path = join(folder, 'qmp.sock');
  server = createServer((socket) => {
    qemu = socket;
    say(GREETING);
    socket.on('data', (text) => {
      for (const line of String(text).trim().split('\n')) answer(JSON.parse(line).execute);
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
});

afterEach(() => {
  qemu?.destroy();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

function say(...messages: readonly unknown[]): void {
  for (const message of messages) qemu.write(`${JSON.stringify(message)}\n`);
}

function answer(command: string): void {
  if (command === 'bad') say({ error: { class: 'GenericError', desc: 'no such thing' } });
  else if (command === 'stop') say({ event: 'STOP' }, { return: {} });
  else if (command === 'die') qemu.destroy();
  else say({ return: { did: command } });
}

test('commands are answered in order, a refusal with the words of QEMU', async () => {
  const qmp = await Qmp.open(path);
  const [first, second, third] = await Promise.allSettled([
    qmp.execute('one'),
    qmp.execute('bad'),
    qmp.execute('two'),
  ]);
  expect(first).toMatchObject({ value: { did: 'one' } });
  expect(second).toMatchObject({ reason: { code: 'EIO', message: 'bad: no such thing' } });
  expect(third).toMatchObject({ value: { did: 'two' } });
  qmp.close();
});

test('an event is kept for who asks later, and wakes who asked before', async () => {
  const qmp = await Qmp.open(path);
  await qmp.execute('stop');
  expect(await qmp.event(({ event }) => event === 'STOP')).toEqual({ event: 'STOP' });
  const later = qmp.event(({ event }) => event === 'RESUME');
  say({ event: 'OTHER' }, { event: 'RESUME', data: { n: 1 } });
  expect(await later).toEqual({ event: 'RESUME', data: { n: 1 } });
  qmp.close();
});

test('the end of QEMU answers whoever waits', async () => {
  const qmp = await Qmp.open(path);
  const event = qmp.event(() => true);
  await expect(qmp.execute('die')).rejects.toMatchObject({ code: 'EPIPE' });
  expect(await event).toBeNull();
  await expect(qmp.execute('more')).rejects.toMatchObject({ code: 'EPIPE' });
});
