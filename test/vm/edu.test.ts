/*
 * edu in a guest: the same program drives our edu and QEMU's own, and sees the same.
 */
import { expect, test } from 'vitest';
import type { Guest } from './support/guest.ts';
import { Machine } from './support/machine.ts';
import { guestProgram } from './support/programs.ts';
import { bindVfioPci, WITH_VFIO_PCI } from './support/vfio-pci.ts';

const QEMU_EDU = '0000:00:10.0';

async function drive(guest: Guest, address: string, interrupt: 'msi' | 'intx'): Promise<string> {
  await bindVfioPci(guest, address);
  return guest.run(`edu ${address} ${interrupt}`);
}

test.each(['msi', 'intx'] as const)("our edu and QEMU's answer alike, with %s", async (interrupt) => {
  const options = {
    serve: ['edu'],
    devices: [`edu,addr=${QEMU_EDU.slice(8, 10)}`],
    ...WITH_VFIO_PCI,
    files: guestProgram('edu'),
  };
  await Machine.run(options, async (machine) => {
    const theirs = await drive(machine.guest, QEMU_EDU, interrupt);
    const ours = await drive(machine.guest, machine.address(0), interrupt);
    expect(theirs).toContain('4096 bytes there and back: the same');
    expect(ours.split('\n')).toEqual(theirs.split('\n'));
    // Guest memory is shared, so edu copied by itself.
    expect(machine.dmaMessages).toBe(0);
  });
});
