/*
 * `vfio serve`: sockets, signals, descriptors, control lines, modules of users.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openDevice, openSocketFd } from '../../src/client/index.ts';
import { EduDriver } from '../../src/drivers/edu.ts';
import { openSys } from '../../src/sys/index.ts';
import { inFolder, root, Serving, vfio } from './support.ts';

describe('vfio serve', () => {
  test.each<NodeJS.Signals>(['SIGTERM', 'SIGINT'])(
    'ends on %s with exit code 0 and takes its sockets away',
    async (signal) => {
      await inFolder(async (folder) => {
        const edu = join(folder, 'edu.sock');
        const ram = join(folder, 'ram.sock');
        const serving = new Serving([`edu:${edu}`, `ram:${ram}`, '--json', '--size=64G']);
        expect(await serving.event('ready')).toMatchObject({ device: 'edu', socket: edu });
        expect(await serving.event('ready')).toMatchObject({ device: 'ram', socket: ram });
        expect([existsSync(edu), existsSync(ram)]).toEqual([true, true]);
        serving.child.process.kill(signal);
        expect(await serving.child.ended).toEqual({ code: 0, signal: null });
        expect([existsSync(edu), existsSync(ram)]).toEqual([false, false]);
      });
    },
  );

  test('prints the socket and the line that attaches it to QEMU', async () => {
    await inFolder(async (folder) => {
      const socket = join(folder, 'edu.sock');
      const serving = new Serving(['edu', `--socket-path=${socket}`]);
      expect(await serving.child.line()).toBe(`edu: ready on ${socket}`);
      expect(await serving.child.line()).toContain(
        `-device '{"driver":"vfio-user-pci","socket":{"path":"${socket}","type":"unix"}}'`,
      );
      expect((await serving.child.stop()).code).toBe(0);
    });
  });

  test('tells sessions, and the reason of a DMA fault', async () => {
    await inFolder(async (folder) => {
      const socket = join(folder, 'edu.sock');
      const serving = new Serving(['edu', `--socket-path=${socket}`, '--json']);
      await serving.event('ready');
      const handle = await openDevice(socket);
      expect(await serving.event('session')).toMatchObject({ device: 'edu', state: 'attached' });
      const driver = await EduDriver.open(handle);
      await driver.dmaToDevice(0x20_0000, 16);
      expect(await serving.event('dma-fault')).toMatchObject({ iova: 0x20_0000, reason: 'not mapped' });
      await driver.close();
      await handle.close();
      expect(await serving.event('session')).toMatchObject({ device: 'edu', state: 'detached' });
      await serving.child.stop();
    });
  });

  test('tells nothing about who only looked whether somebody listens', async () => {
    await inFolder(async (folder) => {
      const socket = join(folder, 'edu.sock');
      const serving = new Serving(['edu', `--socket-path=${socket}`, '--json']);
      await serving.event('ready');
      expect(vfio(['serve', 'edu', `--socket-path=${socket}`]).code).toBe(1);
      await (await openDevice(socket)).close();
      expect(await serving.event('session')).toMatchObject({ state: 'attached' });
      await serving.child.stop();
    });
  });

  test('replaces the socket of a server that died, and leaves that of a live one alone', async () => {
    await inFolder(async (folder) => {
      const socket = join(folder, 'edu.sock');
      const first = new Serving(['edu', `--socket-path=${socket}`, '--json']);
      await first.event('ready');
      first.child.process.kill('SIGKILL');
      await first.child.ended;
      expect(existsSync(socket)).toBe(true);
      const second = new Serving(['edu', `--socket-path=${socket}`, '--json']);
      await second.event('ready');
      const third = vfio(['serve', 'edu', `--socket-path=${socket}`]);
      expect(third.code).toBe(1);
      expect(third.stderr).toContain('EADDRINUSE');
      await (await openDevice(socket)).close();
      expect((await second.child.stop()).code).toBe(0);
    });
  });

  test('serves over a listening descriptor that it inherits', async () => {
    await inFolder(async (folder) => {
      const sys = openSys();
      const socket = join(folder, 'edu.sock');
      const fd = sys.listen(socket, 1);
      const serving = new Serving(['edu', '--fd=3', '--json'], [fd]);
      sys.close(fd);
      expect(await serving.event('ready')).toMatchObject({ device: 'edu', socket: null, qemu: null });
      const handle = await openDevice(socket);
      const driver = await EduDriver.open(handle);
      expect(await driver.factorial(10)).toBe(3_628_800);
      await driver.close();
      await handle.close();
      expect((await serving.child.stop()).code).toBe(0);
    });
  });

  test('serves the one client of a connected descriptor, then ends', async () => {
    const sys = openSys();
    const [ours, theirs] = sys.socketpair();
    const serving = new Serving(['edu', '--fd=3', '--json'], [theirs]);
    sys.close(theirs);
    await serving.event('ready');
    const handle = await openSocketFd(ours);
    expect(await handle.readRegister(0, 0, 4)).toBe(0x0100_00ed);
    await handle.close();
    await serving.event('stopped');
    expect(await serving.child.ended).toEqual({ code: 0, signal: null });
  });

  test('runs a device in a thread, faults and all', async () => {
    await inFolder(async (folder) => {
      const socket = join(folder, 'edu.sock');
      const serving = new Serving([
        'edu',
        `--socket-path=${socket}`,
        '--worker',
        '--busy-poll-us=50',
        '--json',
      ]);
      await serving.event('ready');
      const handle = await openDevice(socket);
      const driver = await EduDriver.open(handle);
      expect(await driver.factorial(10)).toBe(3_628_800);
      await driver.dmaToDevice(0x20_0000, 16);
      expect(await serving.event('dma-fault')).toMatchObject({ iova: 0x20_0000, reason: 'not mapped' });
      await driver.close();
      await handle.close();
      expect((await serving.child.stop()).code).toBe(0);
      expect(existsSync(socket)).toBe(false);
    });
  });

  describe.each([
    ['in the main thread', []],
    ['in a thread of its own', ['--worker']],
  ])('with --trace, %s', (_where, args) => {
    test('writes down what was said', async () => {
      await inFolder(async (folder) => {
        const socket = join(folder, 'edu.sock');
        const file = join(folder, 'talk.txt');
        const serving = new Serving(['edu', `--socket-path=${socket}`, '--json', '--trace', file, ...args]);
        await serving.event('ready');
        const handle = await openDevice(socket);
        expect(await handle.readRegister(0, 0, 4)).toBe(0x0100_00ed);
        await handle.close();
        expect((await serving.child.stop()).code).toBe(0);
        const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
        expect(lines[0]).toMatch(/^ *\d+\.\d{3} edu > [0-9a-f]{4} VERSION 0\.\d \{/);
        const asked = lines.findIndex((line) => / > .* REGION_READ region=0 offset=0x0 count=4$/.test(line));
        expect(lines[asked + 1]).toMatch(/ < .* REGION_READ ok region=0 offset=0x0 count=4 data=ed000001$/);
      });
    });
  });

  test('a trace names devices as all other events do', async () => {
    await inFolder(async (folder) => {
      const module = join(folder, 'outer.mjs');
      const spec = `{ name: 'inner', vendorId: 1, deviceId: 2, classCode: 0xff0000 }`;
      writeFileSync(
        module,
        `import { PciDevice } from '${join(root, 'dist/index.js')}'; export default new PciDevice(${spec});`,
      );
      const socket = join(folder, 's');
      const file = join(folder, 'talk.txt');
      const serving = new Serving([module, `--socket-path=${socket}`, '--json', '--trace', file]);
      expect(await serving.event('ready')).toMatchObject({ device: 'outer' });
      await (await openDevice(socket)).close();
      await serving.child.stop();
      expect(readFileSync(file, 'utf8')).toMatch(/^ *\d+\.\d{3} outer > 0000 VERSION /);
    });
  });

  test('refuses a trace file that cannot be made', async () => {
    await inFolder(async (folder) => {
      const result = vfio(['serve', `edu:${join(folder, 's')}`, '--trace', join(folder, 'none', 'talk.txt')]);
      expect(result.code).toBe(2);
      expect(result.stderr).toContain('cannot be written');
    });
  });

  test('survives a client that talks nonsense', async () => {
    await inFolder(async (folder) => {
      const socket = join(folder, 'edu.sock');
      const serving = new Serving(['edu', `--socket-path=${socket}`, '--json']);
      await serving.event('ready');
      await new Promise<void>((resolve) => {
        const client = connect(socket, () => client.end('GET / HTTP/1.1\r\n\r\n'));
        client.on('close', () => resolve());
        client.on('error', () => resolve());
        client.resume();
      });
      await (await openDevice(socket)).close();
      expect((await serving.child.stop()).code).toBe(0);
    });
  });

  describe('with --control', () => {
    test('releases, resets and withdraws on command, and answers', async () => {
      await inFolder(async (folder) => {
        const serving = new Serving([`ram:${join(folder, 'ram.sock')}`, '--control', '--json']);
        await serving.event('ready');
        serving.child.send('reset ram');
        expect(await serving.event('control')).toMatchObject({ command: 'reset ram', ok: true });
        serving.child.send('consent ram 2 0 deny');
        expect(await serving.event('control')).toMatchObject({ ok: true });
        serving.child.send('explode ram');
        expect(await serving.event('control')).toMatchObject({ ok: false });
        serving.child.send('release ram');
        expect(await serving.event('release')).toMatchObject({ device: 'ram', reason: 'device is released' });
        expect((await serving.child.stop()).code).toBe(0);
      });
    });

    test('ends on SIGTERM while its input is still open', async () => {
      await inFolder(async (folder) => {
        const serving = new Serving([`ram:${join(folder, 'ram.sock')}`, '--control', '--json']);
        await serving.event('ready');
        serving.child.process.kill('SIGTERM');
        expect(await serving.child.ended).toEqual({ code: 0, signal: null });
      });
    });

    test('ends when whoever controls it is gone', async () => {
      await inFolder(async (folder) => {
        const serving = new Serving([`ram:${join(folder, 'ram.sock')}`, '--control', '--json']);
        await serving.event('ready');
        serving.child.process.stdin!.end();
        expect(await serving.child.ended).toEqual({ code: 0, signal: null });
      });
    });
  });

  describe('serves modules', () => {
    const vfioUrl = join(root, 'dist/index.js');
    const spec = `{ name: 'mine', vendorId: 1, deviceId: 2, classCode: 0xff0000, revisionId: Number(serial ?? 0) }`;

    const typescript = `export default ({ serial }: { serial?: string }): PciDevice => new PciDevice(${spec});`;

    test.each([
      [
        'a class',
        'mjs',
        `export default class extends PciDevice { constructor({ serial }) { super(${spec}); } }`,
      ],
      ['a factory', 'mjs', `export default ({ serial }) => new PciDevice(${spec});`],
      ['an async factory', 'mjs', `export default async ({ serial }) => new PciDevice(${spec});`],
      ['an instance', 'mjs', `const serial = 7; export default new PciDevice(${spec});`],
      ['TypeScript without a package.json', 'ts', typescript],
      ['TypeScript that is an ES module by name', 'mts', typescript],
    ])('%s', async (_what, extension, code) => {
      await inFolder(async (folder) => {
        const module = join(folder, `mine.${extension}`);
        writeFileSync(module, `import { PciDevice } from '${vfioUrl}';\n${code}\n`);
        const socket = join(folder, 'mine.sock');
        const serving = new Serving([module, `--socket-path=${socket}`, '--option', 'serial=7', '--json']);
        expect(await serving.event('ready')).toMatchObject({ device: 'mine' });
        const handle = await openDevice(socket);
        expect(await handle.readRegister(7, 0, 4)).toBe(0x0002_0001);
        expect(await handle.readRegister(7, 8, 1)).toBe(7);
        await handle.close();
        expect((await serving.child.stop()).code).toBe(0);
      });
    });
  });
});
