/*
 * `vfio qemu`: servers and QEMU together, from start to end. What the fake QEMU is good for, the real one must do as well.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { isRunning } from '../../src/cli/qemu/machine.ts';
import { findCache } from '../../src/qemu/cache-folder.ts';
import { shellLine } from '../../src/qemu/shell.ts';
import { fakeQemu, REAL_QEMU, WITH_REAL_QEMU } from '../support/qemu.ts';
import { QemuRun, type ToldEvent } from './qemu-run.ts';
import { inFolder, main, onTerminal, root, vfio } from './support.ts';

const NO_SCREEN = ['-nodefaults', '-display', 'none'];
const LONG = 120_000;

const ATTACHED = { event: 'session', state: 'attached' };

/** What a test starts besides runs. */
const leftovers: ChildProcess[] = [];

afterEach(async () => {
  for (const child of leftovers.splice(0)) child.kill('SIGKILL');
  await QemuRun.endAll();
});

/** Folder of the sockets of a run. */
function socketFolder(events: readonly ToldEvent[]): string {
  return dirname(events.find((event) => event['event'] === 'ready')!['socket'] as string);
}

/** Size of what a line of /proc/PID/maps says. */
function mappedBytes(line: string): number {
  const [start, end] = line
    .split(' ', 1)[0]!
    .split('-')
    .map((text) => Number.parseInt(text, 16));
  return end! - start!;
}

/** What holds for the fake and for the real QEMU. `qemu` makes one and gives its path. */
function heldToContract(qemu: (folder: string) => string): void {
  test(
    'attaches every device, ends on SIGTERM, and leaves nothing behind',
    async () => {
      await inFolder(async (folder) => {
        const run = new QemuRun([
          'edu',
          'ram',
          '--size=16M',
          '--json',
          '--qemu',
          qemu(folder),
          '--',
          ...NO_SCREEN,
        ]);
        await run.event({ ...ATTACHED, device: 'edu' });
        await run.event({ ...ATTACHED, device: 'ram' });
        const { pid } = await run.event({ event: 'qemu', state: 'started' });
        const sockets = socketFolder(run.events);
        expect(readdirSync(sockets).sort()).toEqual(['edu.sock', 'ram.sock']);
        run.process.kill('SIGTERM');
        expect(await run.ended).toEqual({ code: 0, signal: null });
        expect(run.events).toContainEqual(
          expect.objectContaining({ event: 'qemu', state: 'ended', ok: true }),
        );
        expect(run.events.filter((event) => event['event'] === 'stopped')).toHaveLength(2);
        expect(existsSync(sockets)).toBe(false);
        expect(isRunning(pid as number)).toBe(false);
      });
    },
    LONG,
  );

  test(
    'gives QEMU stdin and stdout, and ends with it',
    async () => {
      await inFolder(async (folder) => {
        const args = ['edu', '--json', '--qemu', qemu(folder), '--', ...NO_SCREEN, '-qmp', 'stdio'];
        const run = new QemuRun(args);
        await run.event({ ...ATTACHED, device: 'edu' });
        await run.until(() => run.stdout.includes('"QMP"'), 'QMP on stdout');
        run.process.stdin!.write('{"execute": "qmp_capabilities"}\n{"execute": "quit"}\n');
        expect(await run.ended).toEqual({ code: 0, signal: null });
      });
    },
    LONG,
  );

  test(
    'tells where the other end of a serial port is',
    async () => {
      await inFolder(async (folder) => {
        const run = new QemuRun(['serial', '--json', '--qemu', qemu(folder), '--', ...NO_SCREEN]);
        const { pty } = await run.event({ event: 'ready', device: 'serial' });
        expect(pty).toMatch(/^\/dev\/pts\/\d+$/);
        expect(existsSync(pty as string)).toBe(true);
        run.process.kill('SIGTERM');
        await run.ended;
        expect(existsSync(pty as string)).toBe(false);
      });
    },
    LONG,
  );

  test(
    'ends with exit code 1 and the cause when QEMU refuses its arguments',
    async () => {
      await inFolder(async (folder) => {
        const args = ['edu', '--json', '--qemu', qemu(folder), '--', ...NO_SCREEN, '-device', 'nonsense'];
        const run = new QemuRun(args);
        expect((await run.ended).code).toBe(1);
        const output = run.events.filter((event) => event['event'] === 'qemu-output');
        expect(output.map((event) => event['line']).join()).toContain('not a valid device model name');
        expect(run.events).toContainEqual(
          expect.objectContaining({ event: 'qemu', state: 'ended', ok: false, code: 1 }),
        );
        expect(existsSync(socketFolder(run.events))).toBe(false);
      });
    },
    LONG,
  );

  test(
    'prints commands that do the same',
    async () => {
      await inFolder(async (folder) => {
        const edu = join(folder, 'edu.sock');
        const args = [
          `edu:${edu}`,
          '--dma-mask-bits=32',
          '--print',
          '--qemu',
          qemu(folder),
          '--',
          ...NO_SCREEN,
        ];
        const [, serve, , start] = vfio(['qemu', ...args], { TMPDIR: folder }).stdout.split('\n');
        const shell = (line: string) => {
          const child = spawn('/bin/sh', ['-c', `exec ${line}`], { cwd: root });
          leftovers.push(child);
          return child;
        };
        const server = shell(`${serve} --json`);
        let told = '';
        const tells = (text: string) =>
          new Promise<void>((resolve) => {
            server.stdout.on('data', (data) => {
              told += data;
              if (told.includes(text)) resolve();
            });
          });
        await tells('"ready"');
        const attached = tells('"attached"');
        const machine = shell(start!);
        await attached;
        const ended = (child: typeof server) => new Promise((resolve) => child.once('close', resolve));
        machine.kill('SIGTERM');
        await ended(machine);
        server.kill('SIGTERM');
        expect(await ended(server)).toBe(0);
      });
    },
    LONG,
  );
}

describe('vfio qemu with the fake QEMU', () => heldToContract((folder) => fakeQemu(folder)));

describe.skipIf(REAL_QEMU === null)(`vfio qemu with ${WITH_REAL_QEMU}`, () => {
  heldToContract(() => REAL_QEMU!);

  test.each([
    ['by default', []],
    ['of another machine with slots', ['-machine', 'pc', '-m', 'slots=2,maxmem=4G']],
    ['of a backend of ours', ['-M', 'memory-backend=r', '-object', 'memory-backend-memfd,id=r,size=1G']],
  ])(
    'has the guest memory shared: %s',
    async (_what, words) => {
      const run = new QemuRun(['edu', '--json', '--qemu', REAL_QEMU!, '--', ...NO_SCREEN, ...words]);
      const { pid } = await run.event({ event: 'qemu', state: 'started' });
      await run.event(ATTACHED);
      const maps = readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n');
      run.process.kill('SIGTERM');
      await run.ended;
      const memory = maps.filter((line) => mappedBytes(line) === 2 ** 30);
      expect(memory.map((line) => line.split(/\s+/)[1])).toEqual(['rw-s']);
    },
    LONG,
  );
});

const cachedKernels = findCache()?.kernels.size ?? 0;
const WITH_GUEST =
  cachedKernels > 0 ? 'a cached guest' : 'a cached guest (skipped: npm run test:vm -- --setup)';

describe.skipIf(cachedKernels === 0)(`vfio qemu with ${WITH_GUEST}`, () => {
  test(
    'boots it to a shell that sees the devices, and leaves none of it behind',
    async () => {
      await inFolder(async (folder) => {
        const environment = { VFIO_QEMU: '', TMPDIR: folder, XDG_RUNTIME_DIR: '' };
        const run = new QemuRun(['edu', 'ram', '--size=16M', '--json'], environment);
        await run.until(() => run.stdout.includes('exit switches the machine off'), 'shell');
        for (const ids of ['1234:11e8', '1234:7261']) expect(run.stdout).toContain(ids);
        expect(
          readdirSync(folder)
            .map((name) => name.slice(0, -6))
            .sort(),
        ).toEqual(['vfio-', 'vfio-guest-']);
        run.process.stdin!.write('exit\n');
        expect(await run.ended).toEqual({ code: 0, signal: null });
        expect(readdirSync(folder)).toEqual([]);
      });
    },
    LONG,
  );
});

describe('what vfio qemu tells QEMU', () => {
  /** Arguments that QEMU got. */
  async function recorded(args: (folder: string) => readonly string[]): Promise<readonly string[]> {
    let words: readonly string[] = [];
    await inFolder(async (folder) => {
      const record = join(folder, 'arguments.json');
      const qemu = ['--qemu', fakeQemu(folder, { hasKvm: false })];
      const run = new QemuRun([...qemu, ...args(folder)], { FAKE_QEMU_RECORD: record });
      await run.until(() => existsSync(record) && readFileSync(record, 'utf8').endsWith(']'), 'record');
      run.process.kill('SIGTERM');
      await run.ended;
      words = JSON.parse(readFileSync(record, 'utf8')) as string[];
    });
    return words;
  }

  test('is shared memory of the size that was asked for, one device a server, and our arguments last', async () => {
    const words = await recorded(() => ['edu', 'ram', '--memory=2G', '--json', '--', '-smp', '2']);
    expect(words.slice(0, 8)).toEqual([
      '-machine',
      'q35,memory-backend=mem',
      '-accel',
      'tcg',
      '-m',
      '2048M',
      '-object',
      'memory-backend-memfd,id=mem,size=2048M,share=on',
    ]);
    expect(words.filter((word) => word === '-device')).toHaveLength(2);
    expect(words.slice(-2)).toEqual(['-smp', '2']);
  });

  test('is a socket of a module under its name', async () => {
    const words = await recorded((folder) => {
      const module = join(folder, 'mine.mjs');
      const spec = "{ name: 'mine', vendorId: 1, deviceId: 2, classCode: 0xff0000 }";
      const vfioUrl = join(root, 'dist/index.js');
      writeFileSync(
        module,
        `import { PciDevice } from '${vfioUrl}';\nexport default () => new PciDevice(${spec});\n`,
      );
      return [module, '--json'];
    });
    expect(words.join(' ')).toContain('/mine.sock');
  });
});

describe('when something dies', () => {
  test('a device that throws takes QEMU with it, and nothing stays', async () => {
    await inFolder(async (folder) => {
      const module = join(folder, 'bomb.mjs');
      const vfioUrl = join(root, 'dist/index.js');
      const spec = "{ name: 'bomb', vendorId: 1, deviceId: 2, classCode: 0xff0000 }";
      writeFileSync(
        module,
        `import { existsSync } from 'node:fs';
import { PciDevice } from '${vfioUrl}';
export default () => {
  setInterval(() => { if (existsSync('${folder}/now')) throw new Error('the device is broken'); }, 20);
  return new PciDevice(${spec});
};
`,
      );
      const run = new QemuRun([module, '--json', '--qemu', fakeQemu(folder)]);
      const { pid } = await run.event({ event: 'qemu', state: 'started' });
      await run.event(ATTACHED);
      const sockets = socketFolder(run.events);
      mkdirSync(join(folder, 'now'));
      expect((await run.ended).code).toBe(1);
      expect(run.stderr).toContain('the device is broken');
      expect(isRunning(pid as number)).toBe(false);
      expect(existsSync(sockets)).toBe(false);
    });
  });

  test('a QEMU that is killed is a failure that is named', async () => {
    await inFolder(async (folder) => {
      const run = new QemuRun(['edu', '--json', '--qemu', fakeQemu(folder)]);
      const { pid } = await run.event({ event: 'qemu', state: 'started' });
      await run.event(ATTACHED);
      process.kill(pid as number, 'SIGABRT');
      expect((await run.ended).code).toBe(1);
      const { message } = await run.event({ event: 'qemu', state: 'ended', ok: false, signal: 'SIGABRT' });
      expect(message).toContain('SIGABRT');
    });
  });

  test('a device that cannot be made keeps QEMU from starting', async () => {
    await inFolder(async (folder) => {
      const record = join(folder, 'arguments.json');
      const args = ['qemu', 'ram', '--size=3M', '--qemu', fakeQemu(folder)];
      const { code, stderr } = vfio(args, { FAKE_QEMU_RECORD: record, XDG_RUNTIME_DIR: folder });
      expect(code).toBe(2);
      expect(stderr).toContain('power of two');
      expect(existsSync(record)).toBe(false);
      expect(readdirSync(folder)).toEqual(['qemu']);
    });
  });
});

describe('what people see', () => {
  test('the console, and what goes wrong; the rest with --verbose', async () => {
    await inFolder(async (folder) => {
      const qemu = ['--qemu', fakeQemu(folder)];
      const failing = ['--', '-device', 'nonsense'];
      const quiet = vfio(['qemu', 'edu', ...qemu, ...failing], { VFIO_CACHE: folder });
      expect(quiet.code).toBe(1);
      expect(quiet.stdout).toBe('');
      expect(quiet.stderr).toContain('nothing to boot');
      expect(quiet.stderr).toContain('QEMU ended with exit code 1');
      expect(quiet.stderr).not.toContain('client attached');
      const verbose = vfio(['qemu', 'edu', ...qemu, '--verbose', ...failing]);
      expect(verbose.stderr).toContain('client attached');
    });
  });

  test('a terminal that works again after QEMU was killed', async () => {
    await inFolder(async (folder) => {
      const raw = 'stty -echo -icanon';
      const qemu = fakeQemu(folder, { before: `case "$*" in *nodefaults*) ${raw}; kill -KILL $$ ;; esac` });
      const words = ['qemu', 'edu', '--qemu', qemu, '--', '-nodefaults'];
      const command = shellLine([process.execPath, main, ...words]);
      const seen = onTerminal([], {}, ['/bin/sh', '-c', `${command}; stty -a`]);
      expect(seen).toContain('SIGKILL');
      expect(seen).toMatch(/ icanon.* echo /s);
      const canary = onTerminal([], {}, ['/bin/sh', '-c', `${raw}; stty -a`]);
      expect(canary).not.toMatch(/ icanon.* echo /s);
    });
  });
});

describe('without a QEMU that will do', () => {
  test('says what is there, what is missing, and how to get it', async () => {
    await inFolder(async (folder) => {
      const old = fakeQemu(folder, { version: '7.2.22', hasVfioUserPci: false }, 'qemu-system-x86_64');
      const { code, stderr } = vfio(['qemu', 'edu'], { VFIO_QEMU: old });
      expect(code).toBe(1);
      expect(stderr).toContain(`${old} (VFIO_QEMU) is QEMU 7.2.22: vfio-user-pci came with 10.1`);
      expect(stderr).toContain('./configure');
      expect(stderr).not.toContain('    at ');
    });
  });
});
