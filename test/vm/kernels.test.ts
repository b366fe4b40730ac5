/*
 * Older guests: what the newest kernel sees, Debian's 12 and 13 see too. Everything else in this folder runs on the newest.
 */
import { expect, test } from 'vitest';
import { Machine } from './support/machine.ts';
import { PciShell } from './support/pci-shell.ts';
import { guestProgram } from './support/programs.ts';
import { bindVfioPci, WITH_VFIO_PCI } from './support/vfio-pci.ts';

const EDU = 0;
const RAM = 1;
const QEMU_EDU = '0000:00:10.0';

test.each(['6.12', '6.1'] as const)(
  'Linux %s drives edu and the one in QEMU alike, with MSI and INTx',
  async (series) => {
    const options = {
      serve: ['edu'],
      devices: ['edu,addr=10'],
      series,
      files: guestProgram('edu'),
      ...WITH_VFIO_PCI,
    };
    await Machine.run(options, async (machine) => {
      const { guest } = machine;
      expect(await guest.run('uname -r')).toMatch(new RegExp(`^${series.replace('.', '\\.')}\\.`));
      for (const address of [QEMU_EDU, machine.address(EDU)]) await bindVfioPci(guest, address);
      for (const interrupt of ['msi', 'intx']) {
        const theirs = await guest.run(`edu ${QEMU_EDU} ${interrupt}`);
        expect(theirs).toContain('4096 bytes there and back: the same');
        expect(await guest.run(`edu ${machine.address(EDU)} ${interrupt}`)).toBe(theirs);
      }
    });
  },
);

test.each(['6.12', '6.1'] as const)(
  'Linux %s: peer-to-peer comes back after decode off and after the reset of the kernel',
  async (series) => {
    const options = {
      serve: ['edu', 'ram'],
      serveArgs: ['--dma-mask-bits=64'],
      series,
      files: guestProgram('pci'),
    };
    await Machine.run(options, async (machine) => {
      const pci = new PciShell(machine);
      await pci.enable(EDU);
      await pci.enable(RAM);
      const bar2 = await pci.barAddress(RAM, 2);
      await pci.put(EDU, bar2, 4096, 1);
      await pci.decode(RAM, false);
      expect(await pci.get(EDU, bar2, 4096, 1)).toBe('zeros');
      await pci.decode(RAM, true);
      await machine.guest.run(`echo 1 > ${pci.folder(RAM)}/reset`);
      expect(await pci.check(RAM, 2, 0, 4096, 1)).toBe('same');
      expect(await pci.get(EDU, bar2, 4096, 1)).toBe('same');
      expect(machine.dmaMessages).toBe(0);
    });
  },
);
