import { readdirSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, test } from 'vitest';
import { runChild } from '../../test/support/child.ts';
import {
  HEADER,
  message,
  type Recorder,
  record,
  sendBytes,
  turns,
  until,
} from '../../test/support/sys-streams.ts';
import { openSys } from './index.ts';

const sys = openSys();
const openFds = (): number => readdirSync('/proc/self/fd').length;
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const ECHO_WORKER = new URL('../../test/support/echo-worker.ts', import.meta.url).href;
const LOAD_TYPESCRIPT = `
  const { url } = require('node:worker_threads').workerData;
  import('tsx/esm/api').then(({ register }) => { register(); return import(url); });`;

const open: Recorder[] = [];
afterEach(async () => {
  for (const recorder of open.splice(0)) recorder.connection.close();
  await turns();
});

/** Two connections that answer each other for ever. */
function pingPong(busyPollUs = 0): { readonly count: () => number } {
  const [a, b] = sys.socketpair();
  const ends = [record(sys, a, { busyPollUs }), record(sys, b, { busyPollUs })];
  let count = 0;
  for (const end of ends) {
    end.onMessages = () => {
      count++;
      end.connection.sendingBytes.set(message(1));
      return HEADER;
    };
    open.push(end);
  }
  sendBytes(ends[0]!.connection, message(1));
  return { count: () => count };
}

describe.each([
  ['sleeping', 0],
  ['busy polling', 200],
])('while connections keep the loop busy, %s', (_, busyPollUs) => {
  test('timers fire', async () => {
    const traffic = pingPong(busyPollUs);
    for (let i = 0; i < 10; i++) await sleep(10);
    expect(traffic.count()).toBeGreaterThan(1000);
  });

  test('immediates, also unreferenced ones, and file reads come through', async () => {
    pingPong(busyPollUs);
    await turns(50);
    let ran = false;
    setImmediate(() => {
      ran = true;
    }).unref();
    await until(() => ran, 'the unreferenced immediate');
    const { readFile } = await import('node:fs/promises');
    expect(await readFile('/proc/self/comm', 'utf8')).not.toBe('');
  });

  test('handles opened meanwhile are polled at once: a TCP server and its client', async () => {
    pingPong(busyPollUs);
    const server = createServer((socket) => socket.end('hello'));
    await new Promise<void>((resolve) => server.listen(0, resolve));
    const { port } = server.address() as { port: number };
    const text = await new Promise<string>((resolve) =>
      connect(port).once('data', (data) => resolve(String(data))),
    );
    expect(text).toBe('hello');
    server.close();
  });
});

describe('inside a handler', () => {
  test('nextTicks and promises run before the next batch', async () => {
    const [a, b] = sys.socketpair();
    const left = record(sys, a);
    const right = record(sys, b);
    open.push(left, right);
    const order: string[] = [];
    right.onMessages = () => {
      order.push('message');
      process.nextTick(() => order.push('tick'));
      void Promise.resolve().then(() => order.push('promise'));
      return 0;
    };
    sendBytes(left.connection, message(1));
    await until(() => order.length === 3);
    sendBytes(left.connection, message(2));
    await until(() => order.length === 6);
    expect(order).toEqual(['message', 'tick', 'promise', 'message', 'tick', 'promise']);
  });

  test('an immediate set there runs although messages keep coming', async () => {
    pingPong();
    const [a, b] = sys.socketpair();
    const left = record(sys, a);
    const right = record(sys, b);
    open.push(left, right);
    let ran = false;
    right.onMessages = () => {
      setImmediate(() => {
        ran = true;
      });
      return 0;
    };
    sendBytes(left.connection, message(1));
    await until(() => ran);
  });

  test('a timer set from outside wakes an idle loop, and a message wakes a sleeping one', async () => {
    const [a, b] = sys.socketpair();
    const left = record(sys, a);
    const right = record(sys, b);
    open.push(left, right);
    await sleep(30);
    setTimeout(() => sendBytes(left.connection, message(1)), 30);
    await until(() => right.arrivals.length === 1);
    expect(right.ids).toEqual([1]);
  });
});

test('many connections at once, each with its own messages', async () => {
  const before = openFds();
  const pairs = Array.from({ length: 100 }, () => {
    const [a, b] = sys.socketpair();
    return { left: record(sys, a), right: record(sys, b) };
  });
  for (let round = 0; round < 20; round++) {
    for (const [i, { left }] of pairs.entries()) sendBytes(left.connection, message(i * 20 + round, 40));
    await until(() => pairs.every(({ right }) => right.arrivals.length === round + 1));
  }
  for (const [i, { right }] of pairs.entries()) {
    expect(right.ids).toEqual(Array.from({ length: 20 }, (_, round) => i * 20 + round));
  }
  for (const { left } of pairs) left.connection.close();
  await until(() => pairs.every(({ right }) => right.ends.length === 1));
  await turns();
  expect(openFds()).toBe(before);
});

test('1000 connections come and go without a trace', async () => {
  const before = openFds();
  for (let i = 0; i < 1000; i++) {
    const [a, b] = sys.socketpair();
    const left = record(sys, a);
    const right = record(sys, b);
    sendBytes(left.connection, message(i));
    if (i % 3 === 0) await until(() => right.arrivals.length === 1);
    left.connection.close();
    if (i % 2 === 0) await until(() => right.ends.length === 1);
    right.connection.close();
  }
  await turns();
  expect(openFds()).toBe(before);
});

describe.each([
  ['a worker', false],
  ['a worker dedicated to its connection', true],
])('%s', (_, dedicated) => {
  async function start(
    busyPollUs = 0,
  ): Promise<{ worker: Worker; peer: Recorder; order: (text: string) => Promise<void> }> {
    const [a, b] = sys.socketpair();
    const worker = new Worker(LOAD_TYPESCRIPT, {
      eval: true,
      workerData: { url: ECHO_WORKER, fd: a, busyPollUs, dedicated },
    });
    const heard: string[] = [];
    worker.on('message', (text: string) => heard.push(text));
    await until(() => heard.includes('ready'), 'the worker');
    const peer = record(sys, b);
    open.push(peer);
    const order = async (text: string): Promise<void> => {
      worker.postMessage(text);
      await until(() => heard.includes(text), `the answer to ${text}`);
    };
    return { worker, peer, order };
  }

  test('serves, and hears messages of its parent meanwhile', async () => {
    const { worker, peer, order } = await start();
    for (let i = 0; i < 50; i++) {
      sendBytes(peer.connection, message(i, 100));
      await until(() => peer.arrivals.length === i + 1);
    }
    await order('hello');
    expect(peer.ids).toEqual(Array.from({ length: 50 }, (_, i) => i));
    await worker.terminate();
  });

  test('hears its parent while messages never stop coming', async () => {
    const { worker, peer, order } = await start();
    let answers = 0;
    peer.reply = () => {
      answers++;
      peer.arrivals.length = 0;
      peer.connection.sendingBytes.set(message(1));
      return HEADER;
    };
    sendBytes(peer.connection, message(1));
    for (let i = 0; i < 20; i++) await order(`order ${i}`);
    await until(() => answers > 1000, 'traffic');
    await worker.terminate();
  });

  test.each([
    ['asleep', 0, false],
    ['answering', 0, true],
    ['answering and busy polling', 500, true],
  ])('is terminated while %s, and its fds are closed', async (_, busyPollUs, busy) => {
    const before = openFds();
    const { worker, peer } = await start(busyPollUs);
    if (busy) {
      peer.reply = () => {
        peer.arrivals.length = 0;
        peer.connection.sendingBytes.set(message(1));
        return HEADER;
      };
      sendBytes(peer.connection, message(1));
      await sleep(50);
    }
    expect(await worker.terminate()).toBe(1);
    await until(() => peer.ends.length === 1, 'the end of the connection');
    await turns(20);
    await until(() => openFds() === before, 'as many fds as before');
  });

  test('is terminated inside a handler that never returns', async () => {
    const { worker, peer, order } = await start();
    await order('hang');
    sendBytes(peer.connection, message(1));
    await sleep(50);
    expect(await worker.terminate()).toBe(1);
    await until(() => peer.ends.length === 1, 'the end of the connection');
  });

  test('that throws reports its error and ends', async () => {
    const { worker, peer } = await start();
    const error = new Promise((resolve) => worker.on('error', resolve));
    worker.postMessage('throw');
    expect(await error).toMatchObject({ message: 'thrown in the worker' });
    await until(() => peer.ends.length === 1, 'the end of the connection');
  });

  test('ends by itself when its connection does', async () => {
    const { worker, peer } = await start();
    const exit = new Promise((resolve) => worker.on('exit', resolve));
    peer.connection.close();
    expect(await exit).toBe(0);
  });
});

const PRELUDE = `
  import { openSys } from './src/sys/index.ts';
  const sys = openSys();
  const [a, b] = sys.socketpair();
  const limits = { maxMessageBytes: 4096, maxMessageFds: 8 };
  const calls = [];
  function open(fd, onMessages) {
    return sys.connection(fd, limits, {
      onMessages, onOversized: () => 0, onClose: (reason, errno) => calls.push('close ' + errno),
    });
  }
  function send(connection, fds) {
    connection.sending.setUint32(4, 16, true);
    connection.send(16, fds);
  }`;

/** The TypeScript loader closes fds of its own a moment after it started us: tests that count wait for that. */
const SETTLED = 'await new Promise((resolve) => setTimeout(resolve, 150));';

describe('the process', () => {
  test('lives as long as a connection is open and referenced', async () => {
    const result = await runChild(`${PRELUDE}
      const left = open(a, () => 0);
      const right = open(b, () => { setTimeout(() => { left.close(); right.close(); console.log('closed'); }, 100).unref(); return 0; });
      send(left);
      process.on('exit', (code) => console.log('exit', code));`);
    expect(result).toMatchObject({ code: 0, stdout: 'closed\nexit 0\n' });
  });

  test('does not wait for connections that are not referenced, and ends cleanly with them open', async () => {
    const result = await runChild(`${PRELUDE}
      const left = open(a, () => 0), right = open(b, () => 16);
      left.unref(); right.unref(); right.unref(); right.ref(); right.unref();
      sys.watch(sys.eventfd(), () => {}).unref();
      setTimeout(() => { send(left); console.log('timer'); }, 50);`);
    expect(result).toMatchObject({ code: 0, signal: null, stdout: 'timer\n', stderr: '' });
  });

  test('can exit from inside a handler', async () => {
    const result = await runChild(`${PRELUDE}
      const left = open(a, () => 0), right = open(b, () => process.exit(7));
      send(left);`);
    expect(result).toMatchObject({ code: 7, signal: null });
  });

  test('dies of a handler that throws, with its stack', async () => {
    const result = await runChild(`${PRELUDE}
      const left = open(a, () => 0), right = open(b, () => { throw new Error('in a handler'); });
      send(left);`);
    expect(result).toMatchObject({ code: 1, signal: null, stderr: expect.stringContaining('in a handler') });
  });

  test('that catches uncaught exceptions goes on: fds closed, later messages delivered', async () => {
    const result = await runChild(`${PRELUDE}
      import { readdirSync } from 'node:fs';
      ${SETTLED}
      process.on('uncaughtException', (error) => calls.push(error.message));
      const file = sys.memfdCreate('x');
      let count = 0;
      const left = open(a, () => 0);
      const right = open(b, () => { count++; if (count <= 2) throw new Error('throw ' + count); calls.push('ok'); return 0; });
      const fds = readdirSync('/proc/self/fd').length;
      send(left, [file, file]);
      setTimeout(() => send(left, [file]), 20);
      setTimeout(() => send(left), 40);
      setTimeout(() => { console.log(calls.join(), readdirSync('/proc/self/fd').length - fds); process.exit(0); }, 80);`);
    expect(result).toMatchObject({ code: 0, stdout: 'throw 1,throw 2,ok 0\n' });
  });

  test('a rejected promise of a handler is an unhandled rejection as anywhere', async () => {
    const result = await runChild(`${PRELUDE}
      process.on('unhandledRejection', (error) => { console.log(error.message); process.exit(3); });
      const left = open(a, () => 0), right = open(b, () => { void (async () => { throw new Error('late'); })(); return 0; });
      send(left);`);
    expect(result).toMatchObject({ code: 3, stdout: 'late\n' });
  });

  test('without free fds loses no fd silently: the connection ends with EMFILE', async () => {
    const result = await runChild(
      `${PRELUDE}
      import { openSync, closeSync, readdirSync } from 'node:fs';
      ${SETTLED}
      const left = open(a, () => 0), right = open(b, () => { calls.push('message'); return 0; });
      const files = [];
      try { for (;;) files.push(openSync('/dev/null')); } catch (error) { calls.push(error.code); }
      closeSync(files.pop()); closeSync(files.pop());
      send(left, [files[0], files[0], files[0], files[0]]);
      setTimeout(() => {
        for (const fd of files) closeSync(fd);
        calls.push(readdirSync('/proc/self/fd').filter((fd) => fd > 2).length < 60);
        console.log(calls.join());
        process.exit(0);
      }, 50);`,
      120,
    );
    expect(result.stdout).toBe('EMFILE,close 24,close 0,true\n');
  });

  test('without free fds turns clients away instead of hearing of them for ever', async () => {
    const result = await runChild(
      `${PRELUDE}
      import { openSync, mkdtempSync } from 'node:fs';
      ${SETTLED}
      const path = mkdtempSync('/tmp/vfio-full-') + '/s';
      const listener = sys.listen(path, 8);
      let told = 0;
      const client = sys.connect(path);
      const files = [];
      try { for (;;) files.push(openSync('/dev/null')); } catch {}
      sys.watch(listener, () => { told++; try { sys.accept(listener); } catch (error) { calls.push(error.code); } });
      setTimeout(() => { console.log(told, calls.join()); process.exit(0); }, 100);`,
      120,
    );
    expect(result.stdout).toBe('1 EMFILE\n');
  });
});
