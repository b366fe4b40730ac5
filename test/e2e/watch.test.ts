/*
 * `vfio serve --watch`: the code of a device changes while a client stays attached.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type DeviceHandle, openDevice } from '../../src/client/index.ts';
import { inFolder, root, Serving, vfio } from './support.ts';

const PACKAGE = join(root, 'dist/index.js');

/** A device with a register that reads `version`, one that can be written, and what else its class has. */
function module(version: string | number, extra = '', deviceId = 2): string {
  return `
import { PciDevice, type Registers } from '${PACKAGE}';
const TABLE = {
  VERSION: { offset: 0, width: 4, access: 'ro' },
  SCRATCH: { offset: 4, width: 4, access: 'rw', reset: 0x11 },
  RAISE: { offset: 8, width: 4, access: 'wo' },
} as const;
export default class extends PciDevice {
  readonly #regs: Registers<typeof TABLE>;
  constructor() {
    super({
      name: 'mine', vendorId: 1, deviceId: ${deviceId}, classCode: 0xff0000,
      bars: { 0: { type: 'mem32', sizeBytes: 4096 }, 2: { type: 'mem32', sizeBytes: 4096, mappable: true } },
      capabilities: [{ type: 'msi' }],
    });
    this.#regs = this.addRegisters(0, TABLE, {
      VERSION: { read: () => ${version} },
      RAISE: { write: () => this.raiseInterrupt() },
    });
  }
  ${extra}
}
`;
}

interface Scene {
  readonly folder: string;
  readonly serving: Serving;
  readonly handle: DeviceHandle;
  /** Saves a file as an editor does: a new file in the place of the old one. */
  save(name: string, text: string): void;
}

/** Serves \`mine.ts\` with --watch and one client attached. */
async function watching(
  files: Readonly<Record<string, string>>,
  work: (scene: Scene) => Promise<void>,
): Promise<void> {
  await inFolder(async (folder) => {
    const save = (name: string, text: string): void => {
      writeFileSync(join(folder, `.${name}.new`), text);
      renameSync(join(folder, `.${name}.new`), join(folder, name));
    };
    for (const [name, text] of Object.entries(files)) save(name, text);
    const socket = join(folder, 'mine.sock');
    const serving = new Serving([join(folder, 'mine.ts'), `--socket-path=${socket}`, '--watch', '--json']);
    await serving.event('ready');
    const handle = await openDevice(socket);
    try {
      await work({ folder, serving, handle, save });
    } finally {
      await handle.close();
      expect((await serving.child.stop()).code).toBe(0);
    }
  });
}

const version = (handle: DeviceHandle): Promise<number> => handle.readRegister(0, 0, 4);

describe('vfio serve --watch', () => {
  test('the same session shows the new code; memory and interrupts stay', async () => {
    await watching({ 'mine.ts': module(1) }, async ({ serving, handle, save }) => {
      const memory = await handle.mmap(2);
      let interrupts = 0;
      let told = (): void => {};
      const interrupted = new Promise<void>((resolve) => {
        told = resolve;
      });
      await handle.onInterrupt(1, 0, () => {
        interrupts += 1;
        told();
      });
      memory.bytes[0] = 0x5a;
      await handle.writeRegister(0, 4, 4, 0xbeef);
      save('mine.ts', module(2));
      expect(await serving.event('change')).toMatchObject({ device: 'mine' });
      const reload = await serving.event('reload');
      expect(reload).toMatchObject({ device: 'mine', state: 'reset' });
      expect(reload['ms']).toBeGreaterThan(0);
      expect(await version(handle)).toBe(2);
      expect(await handle.readRegister(0, 4, 4)).toBe(0x11);
      expect(memory.bytes[0]).toBe(0x5a);
      await handle.writeRegister(0, 8, 4, 1);
      await interrupted;
      expect(interrupts).toBe(1);
    });
  });

  test('a file that the module imports changes; a class that saves its state carries its registers over', async () => {
    const main = module('version', 'override saveState() { return {}; }');
    const files = {
      'mine.ts': `import { version } from './parts.ts';\n${main}`,
      'parts.ts': "export { version } from './version.ts';",
      'version.ts': 'export const version: number = 1;',
    };
    await watching(files, async ({ serving, handle, save }) => {
      await handle.writeRegister(0, 4, 4, 0xbeef);
      for (const next of [2, 3]) {
        save('version.ts', `export const version: number = ${next};`);
        expect(await serving.event('reload')).toMatchObject({ state: 'carried' });
        expect([await version(handle), await handle.readRegister(0, 4, 4)]).toEqual([next, 0xbeef]);
      }
    });
  });

  test('a module that does not load leaves the device as it is, and the next save is tried', async () => {
    await watching({ 'mine.ts': module(1) }, async ({ serving, handle, save }) => {
      save('mine.ts', `${module(2)}\nconst = 5;`);
      expect((await serving.event('reload-failed'))['message']).toContain('mine.ts');
      expect(await version(handle)).toBe(1);
      save('mine.ts', `import './missing.ts';\n${module(3)}`);
      expect((await serving.event('reload-failed'))['message']).toContain('missing.ts');
      save('missing.ts', 'throw new Error("no luck");');
      expect((await serving.event('reload-failed'))['message']).toContain('no luck');
      expect(await version(handle)).toBe(1);
      save('missing.ts', 'export {};');
      expect(await serving.event('reload')).toMatchObject({ state: 'reset' });
      expect(await version(handle)).toBe(3);
    });
  });

  test('a device that is another one is refused, and the one before goes on', async () => {
    await watching({ 'mine.ts': module(1) }, async ({ serving, handle, save }) => {
      save('mine.ts', module(2, '', 3));
      expect(await serving.event('reload-refused')).toMatchObject({
        differences: ['device id: 0x2 before, 0x3 now', 'subsystem id: 0x2 before, 0x3 now'],
        message: expect.stringContaining('restart the guest'),
      });
      expect([await version(handle), await handle.readRegister(7, 2, 2)]).toEqual([1, 2]);
      save('mine.ts', module(3));
      await serving.event('reload');
      expect(await version(handle)).toBe(3);
    });
  });

  test.each([
    ['edu', ['serve', 'edu', '--watch', '--socket-path=/tmp/none.sock'], 'a module'],
    ['edu in a guest', ['qemu', 'edu', '--watch'], 'a module'],
    [
      'a thread',
      ['serve', './mine.ts:/tmp/none.sock', '--watch', '--worker'],
      'Leave --worker or --watch out',
    ],
  ])('is a mistake for %s', (_what, args, nextStep) => {
    const { code, stderr } = vfio(args);
    expect(code).toBe(2);
    expect(stderr).toContain(nextStep);
  });
});
