/*
 * The life of a machine: reboot, drivers that come and go, devices that are plugged and pulled, ends without goodbye on
 * either side. What QEMU does is told in docs/qemu.md; our side has to be clean each time.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { Serving } from '../e2e/support.ts';
import { Machine } from './support/machine.ts';
import { PciShell } from './support/pci-shell.ts';
import { openFiles } from './support/process.ts';
import { guestProgram } from './support/programs.ts';
import { bindVfioPci, unbindVfioPci, WITH_VFIO_PCI } from './support/vfio-pci.ts';

const EDU = 0;
const EDU_ID = 0x0100_00ed;
const MSIX_DEVICE = fileURLToPath(new URL('./devices/msix.ts', import.meta.url));

test('a guest that reboots finds its devices, and the session goes on', async () => {
  await Machine.run({ serve: ['edu', 'ram'], files: guestProgram('pci'), reboots: true }, async (machine) => {
    const pci = new PciShell(machine);
    await pci.enable(EDU);
    await pci.write(EDU, 0, 0x04, 4, 1);
    const before = openFiles(machine.server);
    for (let boots = 0; boots < 2; boots++) {
      machine.guest.send('reboot -f');
      await machine.guest.ready();
      await pci.enable(EDU);
      expect(await pci.read(EDU, 0, 0x00, 4)).toBe(EDU_ID);
      // LIVENESS was written before the reboot, which resets the device.
      expect(await pci.read(EDU, 0, 0x04, 4)).toBe(0);
    }
    expect(openFiles(machine.server)).toBe(before);
  });
});

test('a driver in the guest comes and goes', async () => {
  const options = { serve: ['edu'], files: guestProgram('edu'), ...WITH_VFIO_PCI };
  await Machine.run(options, async (machine) => {
    const { guest } = machine;
    const address = machine.address(EDU);
    await bindVfioPci(guest, address);
    const first = await guest.run(`edu ${address} msi`);
    const files = openFiles(machine.server);
    for (const interrupt of ['intx', 'msi', 'msi']) {
      await unbindVfioPci(guest, address);
      await bindVfioPci(guest, address);
      expect(await guest.run(`edu ${address} ${interrupt}`)).toBe(first);
    }
    expect(openFiles(machine.server)).toBe(files);
  });
});

test('edu is unplugged and plugged in again, five times', async () => {
  const options = { serve: ['edu'], files: guestProgram('pci'), hotplug: true };
  await Machine.run(options, async (machine) => {
    const pci = new PciShell(machine);
    const files = openFiles(machine.server);
    for (let round = 0; round < 5; round++) {
      await pci.enable(EDU);
      expect(await pci.read(EDU, 0, 0x00, 4)).toBe(EDU_ID);
      await machine.unplug(EDU);
      await machine.server.event('session', { state: 'detached' });
      await machine.plug(EDU);
      await pci.appears(EDU);
    }
    expect(openFiles(machine.server)).toBe(files);
  });
});

/*
 * QEMU 11.1.3 ends by an assertion of its own when a vfio-user device with MSI-X is deleted. The same class without MSI-X
 * is deleted well, and the server has answered all that it was asked: the fault is QEMU's, and nothing on this side
 * avoids it.
 */
test.each([
  ['with MSI-X ends QEMU 11.1.3', 'yes'],
  ['without MSI-X goes well', 'no'],
])('known: unplugging a device %s, and the server goes on', async (_, msix) => {
  const options = { serve: [MSIX_DEVICE], serveArgs: ['--option', `msix=${msix}`], hotplug: true };
  await Machine.run(options, async (machine) => {
    const { guest, server } = machine;
    const outcome = await machine.unplug(0).then(
      () => 'deleted',
      () => 'QEMU ended',
    );
    expect(outcome).toBe(msix === 'yes' ? 'QEMU ended' : 'deleted');
    if (msix === 'yes') {
      expect(guest.complaints).toContain('memory_region_del_subregion');
      expect((await guest.ended).signal).toBe('SIGABRT');
    }
    await server.event('session', { state: 'detached' });
    expect(server.child.process.exitCode).toBeNull();
  });
});

test('a QEMU that is killed leaves nothing behind, and the next one finds the devices', async () => {
  const serving = { serve: ['edu', 'ram'], files: guestProgram('pci') };
  await Machine.run(serving, async (machine) => {
    const { server } = machine;
    const attached = openFiles(server);
    await new PciShell(machine).enable(EDU);
    await machine.guest.kill();
    await server.event('session', { device: 'edu', state: 'detached' });
    await server.event('session', { device: 'ram', state: 'detached' });
    await machine.reboot();
    const pci = new PciShell(machine);
    await pci.enable(EDU);
    expect(await pci.read(EDU, 0, 0x00, 4)).toBe(EDU_ID);
    expect(openFiles(server)).toBe(attached);
  });
});

test('a server that is killed leaves ones in the guest; plugged in anew, the restarted one works', async () => {
  const options = { serve: ['edu'], files: guestProgram('pci'), hotplug: true };
  await Machine.run(options, async (machine) => {
    const pci = new PciShell(machine);
    await pci.enable(EDU);
    expect(await pci.read(EDU, 0, 0x00, 4)).toBe(EDU_ID);
    machine.server.child.process.kill('SIGKILL');
    await machine.server.child.ended;
    expect(await pci.read(EDU, 0, 0x00, 4)).toBe(0xffff_ffff);

    const again = new Serving([`edu:${join(machine.folder, 'device-0.sock')}`, '--json']);
    try {
      await again.event('ready');
      // QEMU does not come back to it by itself.
      expect(await pci.read(EDU, 0, 0x00, 4)).toBe(0xffff_ffff);
      await machine.unplug(EDU);
      await machine.plug(EDU);
      await pci.appears(EDU);
      await pci.enable(EDU);
      expect(await pci.read(EDU, 0, 0x00, 4)).toBe(EDU_ID);
    } finally {
      await machine.guest.kill();
      expect((await again.child.stop()).code).toBe(0);
    }
  });
});
