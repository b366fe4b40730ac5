/*
 * The commands and a device that is not PCI: the example of a platform device, served, inspected and driven as its
 * reader would, and refused where only PCI will do.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openDevice } from '../../src/client/index.ts';
import { fakeQemu } from '../support/qemu.ts';
import { inFolder, root, Serving, vfio } from './support.ts';

const EXAMPLE = join(root, 'examples/scratchpad.ts');
const [CONTROL, MEMORY] = [0, 1];
const [FILL, STATUS] = [0, 4];

async function served(
  module: string,
  work: (socket: string, ready: object) => Promise<void>,
  flags: readonly string[] = [],
): Promise<void> {
  await inFolder(async (folder) => {
    const socket = join(folder, 'device.sock');
    const serving = new Serving([module, `--socket-path=${socket}`, '--json', ...flags]);
    const ready = await serving.event('ready');
    try {
      await work(socket, ready);
    } finally {
      await serving.child.stop();
    }
  });
}

test.each([
  ['in the main thread', []],
  ['in a worker', ['--worker']],
])('is served %s without an option for QEMU', async (_where, flags) => {
  await served(
    EXAMPLE,
    async (_socket, ready) => {
      expect(ready).toMatchObject({ device: 'scratchpad', kind: 'platform', qemu: null });
    },
    flags,
  );
});

test('is inspected as what it is: no identity, no BARs, no names of PCI', async () => {
  await served(EXAMPLE, async (socket) => {
    const report = JSON.parse(vfio(['inspect', socket, '--json']).stdout);
    expect(report).toMatchObject({
      kind: 'platform',
      resettable: true,
      identity: null,
      command: null,
      capabilities: [],
      regions: [
        { index: 0, name: 'resource 0', offset: 0, flags: ['read', 'write'] },
        {
          index: 1,
          name: 'resource 1',
          offset: 2 ** 40,
          flags: ['read', 'write', 'mmap'],
          areas: [{ offset: 0, size: 0x10000, dma: 'allow' }],
        },
      ],
      interrupts: [{ index: 0, name: 'irq 0', count: 1, flags: ['eventfd', 'maskable', 'automasked'] }],
    });
    const { stdout } = vfio(['inspect', socket]);
    expect(stdout).toContain(`unix:${socket}: platform device\n\tVFIO: platform, reset works\n`);
    expect(stdout).not.toMatch(/BAR|INTx|Region|Control/);
  });
});

test('has no config space to dump, and inspect says so', async () => {
  await served(EXAMPLE, async (socket) => {
    const { code, stdout, stderr } = vfio(['inspect', socket, '--hex']);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain('has no config space, it is a platform device');
  });
});

test('does what its page says', async () => {
  await served(EXAMPLE, async (socket) => {
    const device = await openDevice(socket);
    const memory = await device.mmap(MEMORY);
    let heard = 0;
    let fired = (): void => {};
    const done = new Promise<void>((resolve) => {
      fired = resolve;
    });
    await device.onInterrupt(0, 0, () => {
      heard++;
      fired();
    });
    await device.writeRegister(CONTROL, FILL, 4, 0x5a);
    await done;
    expect([memory.bytes[0], memory.bytes[0xffff], heard]).toEqual([0x5a, 0x5a, 1]);
    await device.writeRegister(CONTROL, STATUS, 4, 1);
    await device.unmask(0);
    await device.reset();
    expect([memory.bytes[0], await device.readRegister(CONTROL, STATUS, 4), heard]).toEqual([0, 0, 1]);
    await device.close();
  });
});

test('is refused by vfio qemu before a guest is started', async () => {
  await inFolder(async (folder) => {
    const { code, stderr } = vfio(['qemu', EXAMPLE, '--qemu', fakeQemu(folder), '--', '-nodefaults']);
    expect(code).toBe(1);
    expect(stderr).toContain(
      "scratchpad is a platform device; QEMU's vfio-user client attaches PCI devices only",
    );
  });
});

test('an mdev that speaks vfio-pci is PCI to every command', async () => {
  const code = `
    import { ConfigSpace, MdevDevice } from '${join(root, 'dist/index.js')}';
    export default class Vgpu extends MdevDevice {
      constructor() {
        super({ name: 'vgpu', api: 'vfio-pci', regions: [{ name: 'config', index: 7, sizeBytes: 256 }] });
        const config = new ConfigSpace(256);
        config.set16(0, 0x1234);
        config.set16(2, 0x5678);
        this.setRegionHandler('config', config);
      }
    }`;
  await inFolder(async (folder) => {
    const module = join(folder, 'vgpu.mjs');
    writeFileSync(module, code);
    await served(module, async (socket, ready) => {
      expect(ready).toMatchObject({ kind: 'pci', qemu: expect.stringContaining('vfio-user-pci') });
      expect(JSON.parse(vfio(['inspect', socket, '--json']).stdout)).toMatchObject({
        kind: 'pci',
        resettable: false,
        identity: { vendorId: 0x1234, deviceId: 0x5678 },
        regions: [{ index: 7, name: 'config' }],
      });
      expect(vfio(['inspect', socket, '--hex']).code).toBe(0);
    });
  });
});
