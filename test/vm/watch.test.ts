/*
 * A device whose code changes while a guest has it: the guest runs on, and what it has of the device stays.
 */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { Machine } from './support/machine.ts';
import { PciShell } from './support/pci-shell.ts';
import { guestProgram } from './support/programs.ts';

const DEVICE = 0;
const [VERSION, SCRATCH] = [0x00, 0x04];
const MEMORY = 2;
const RELOADS = 20;

/** A device whose class says `version`, with a register that can be written and with memory. */
function code(version: number, extra = ''): string {
  return `
import { PciDevice } from '${fileURLToPath(new URL('../../dist/index.js', import.meta.url))}';
export default class Changing extends PciDevice {
  constructor() {
    super({
      name: 'changing', vendorId: 0x1234, deviceId: 0x1d1f, classCode: 0xff0000,
      bars: { 0: { type: 'mem32', sizeBytes: 4096 }, 2: { type: 'mem64', sizeBytes: 0x10000, mappable: true } },
      capabilities: [{ type: 'msi' }, { type: 'express' }],
    });
    this.addRegisters(0, {
      VERSION: { offset: ${VERSION}, width: 4, access: 'ro', read: () => ${version} },
      SCRATCH: { offset: ${SCRATCH}, width: 4, access: 'rw', reset: 0x11 },
    });
  }
  ${extra}
}
`;
}

test('a guest reads what the new code says, and its memory, while it goes on using it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vfio-vm-watch-'));
  const module = join(folder, 'changing.ts');
  const save = (text: string): void => {
    writeFileSync(`${module}.new`, text);
    renameSync(`${module}.new`, module);
  };
  save(code(1));
  try {
    const options = { serve: [module], serveArgs: ['--watch'], files: guestProgram('pci') };
    await Machine.run(options, async (machine) => {
      const pci = new PciShell(machine);
      const seen = async (): Promise<number[]> => [
        await pci.read(DEVICE, 0, VERSION, 4),
        await pci.read(DEVICE, 0, SCRATCH, 4),
      ];
      await pci.enable(DEVICE);
      await pci.write(DEVICE, 0, SCRATCH, 4, 0xbeef);
      await pci.fill(DEVICE, MEMORY, 0, 0x10000, 7);
      expect(await seen()).toEqual([1, 0xbeef]);

      save(code(2));
      expect(await machine.server.event('reload')).toMatchObject({ state: 'reset' });
      expect(await seen()).toEqual([2, 0x11]);

      await pci.write(DEVICE, 0, SCRATCH, 4, 0xcafe);
      save(code(3, 'override saveState() { return {}; }'));
      expect(await machine.server.event('reload')).toMatchObject({ state: 'reset' });
      await pci.write(DEVICE, 0, SCRATCH, 4, 0xcafe);
      save(code(4, 'override saveState() { return {}; }'));
      expect(await machine.server.event('reload')).toMatchObject({ state: 'carried' });
      expect(await seen()).toEqual([4, 0xcafe]);

      // One processor of the guest reads the BAR all the time; QEMU would die of a page that is not there.
      const address = machine.address(DEVICE);
      await machine.guest.run(
        `(while :; do pci check ${address} ${MEMORY} 0 65536 7; done) > /tmp/checks 2>&1 < /dev/null & echo $! > /tmp/checker`,
      );
      for (let version = 5; version < 5 + RELOADS; version++) {
        save(code(version));
        expect(await machine.server.event('reload')).toMatchObject({ state: 'reset' });
      }
      await machine.guest.run('kill $(cat /tmp/checker)');
      expect(await machine.guest.run('sort -u /tmp/checks')).toBe('same');
      expect(await seen()).toEqual([4 + RELOADS, 0x11]);
      expect(machine.guest.complaints).toBe('');
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
