/*
 * QEMU waits 5 s for a reply; one that comes later ends its connection to the device for good. While it waits for the
 * answer to an access it answers no DMA message. A device that waits inside an access must not cost the guest its device.
 */
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { Machine, type MachineOptions } from './support/machine.ts';
import { PciShell } from './support/pci-shell.ts';
import { guestProgram } from './support/programs.ts';

const DEVICE = 0;
const [ADDRESS, FETCHED, FETCH_NOW, SLOW] = [0x00, 0x04, 0x08, 0x0c];
/** Where the processor starts: a few bytes of firmware that never change. */
const RESET_VECTOR = 0xffff_fff0;
const ONES = 0xffff_ffff;

const OPTIONS: MachineOptions = {
  serve: [fileURLToPath(new URL('./devices/impatient.ts', import.meta.url))],
  memory: 'anonymous',
  // The guest waits for the answer to each write.
  properties: [{ 'x-no-posted-writes': true }],
  files: guestProgram('pci'),
};

async function firmware(machine: Machine): Promise<number> {
  return Number(await machine.guest.run(`devmem ${RESET_VECTOR} 32`));
}

test('a write whose handler waits for a DMA message is answered first', async () => {
  await Machine.run(OPTIONS, async (machine) => {
    const pci = new PciShell(machine);
    await pci.enable(DEVICE);
    await pci.write(DEVICE, 0, ADDRESS, 4, RESET_VECTOR);
    await machine.guest.run(
      `until [ "$(pci read ${machine.address(DEVICE)} 0 ${FETCHED} 4)" != 0x0 ]; do :; done`,
    );
    expect(await pci.read(DEVICE, 0, FETCHED, 4)).toBe(await firmware(machine));
    expect(machine.dmaMessages).toBe(1);
    expect(machine.guest.complaints).toBe('');
  });
});

test('a read whose handler waits for a DMA message fails at once, and the owner is told', async () => {
  await Machine.run(OPTIONS, async (machine) => {
    const pci = new PciShell(machine);
    await pci.enable(DEVICE);
    await pci.write(DEVICE, 0, ADDRESS, 4, RESET_VECTOR);
    expect(await pci.read(DEVICE, 0, FETCH_NOW, 4)).toBe(ONES);
    const told = await machine.server.event('log');
    expect(told['message']).toContain('at 0x8 of region 0');
    expect(told['message']).toContain('EDEADLK');
    // The device goes on working.
    expect(await pci.read(DEVICE, 0, FETCHED, 4)).toBe(await firmware(machine));
  });
});

test('a handler that takes longer than QEMU waits costs the guest nothing but time', async () => {
  await Machine.run(OPTIONS, async (machine) => {
    const pci = new PciShell(machine);
    await pci.enable(DEVICE);
    await pci.write(DEVICE, 0, SLOW, 4, 1);
    await machine.server.event('log');
    await pci.write(DEVICE, 0, ADDRESS, 4, RESET_VECTOR);
    await machine.guest.run(
      `until [ "$(pci read ${machine.address(DEVICE)} 0 ${FETCHED} 4)" != 0x0 ]; do :; done`,
    );
    expect(await pci.read(DEVICE, 0, FETCHED, 4)).toBe(await firmware(machine));
    expect(machine.guest.complaints).toBe('');
  });
});
