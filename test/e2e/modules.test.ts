/*
 * Device modules of users, loaded by the built package: TypeScript wherever it lies, in the main thread and in workers,
 * and what is said about a module that is no good.
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openDevice } from '../../src/client/index.ts';
import { inFolder, root, Serving, vfio } from './support.ts';

const PACKAGE = join(root, 'dist/index.js');
const DEVICE = `
import { deviceId } from './ids.ts';
import { PciDevice } from '${PACKAGE}';
export default class Mine extends PciDevice {
  readonly answer: number = 42;
  constructor() {
    super({ name: 'mine', vendorId: 1, deviceId, classCode: 0xff0000 });
  }
}
`;

async function withModule(
  code: string,
  work: (module: string, folder: string) => Promise<void>,
): Promise<void> {
  await inFolder(async (folder) => {
    // What `npm init -y` writes nowadays: TypeScript beside it is no ES module, by the letter.
    writeFileSync(join(folder, 'package.json'), '{ "type": "commonjs" }');
    writeFileSync(join(folder, 'ids.ts'), "export { deviceId } from './parts.ts';");
    writeFileSync(join(folder, 'parts.ts'), 'export const deviceId: number = 2;');
    const module = join(folder, 'mine.ts');
    writeFileSync(module, code);
    await work(module, folder);
  });
}

describe('TypeScript in a package that is CommonJS', () => {
  test.each([
    ['in the main thread', []],
    ['in a worker', ['--worker']],
  ])('is served %s', async (_where, flags) => {
    await withModule(DEVICE, async (module, folder) => {
      const socket = join(folder, 'mine.sock');
      const serving = new Serving([module, `--socket-path=${socket}`, '--json', ...flags]);
      await serving.event('ready');
      const handle = await openDevice(socket);
      expect(await handle.readRegister(7, 0, 4)).toBe(0x0002_0001);
      await handle.close();
      expect((await serving.child.stop()).code).toBe(0);
    });
  });

  test('is served by serveInWorker', async () => {
    await withModule(DEVICE, async (module, folder) => {
      const script = join(folder, 'main.mjs');
      writeFileSync(
        script,
        `import { openDevice, serveInWorker } from '${PACKAGE}';
        const socketPath = '${join(folder, 'mine.sock')}';
        const server = await serveInWorker('${module}', { socketPath });
        const handle = await openDevice(socketPath);
        console.log(await handle.readRegister(7, 0, 4));
        await handle.close();
        await server.close();`,
      );
      const { stdout, stderr } = spawnSync(process.execPath, [script], { encoding: 'utf8', cwd: folder });
      expect({ stdout, stderr }).toEqual({ stdout: `${0x0002_0001}\n`, stderr: '' });
    });
  });
});

describe.each([
  ['the main thread', []],
  ['a worker', ['--worker']],
])('a module that is no good, in %s', (_where, flags) => {
  test.each([
    ['throws', 'throw new Error("no luck");', 'no luck. Fix the module'],
    ['exports no device', 'export default 5;', 'Export a class that extends PciDevice'],
  ])('%s: exit code 2 and the next step', async (_what, code, message) => {
    await withModule(code, async (module) => {
      const result = vfio(['serve', `${module}:${module}.sock`, ...flags]);
      expect(result.code).toBe(2);
      expect(result.stderr).toContain(message);
      expect(result.stderr).not.toContain('    at ');
    });
  });

  test('makes a device that throws: the stack leads to the line', async () => {
    const code = `export default () => { throw new Error('no luck'); };`;
    await withModule(code, async (module) => {
      const { code, stderr } = vfio(['serve', `${module}:${module}.sock`, ...flags]);
      expect(code).toBe(1);
      expect(stderr).toContain('no luck');
      expect(stderr).toContain('mine.ts:1');
    });
  });
});
