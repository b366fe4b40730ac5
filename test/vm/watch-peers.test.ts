/*
 * A device whose code changes while another device has a way to its memory: that way stays, and the rules of it (R4, R7).
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Machine } from './support/machine.ts';
import { PciShell } from './support/pci-shell.ts';
import { guestProgram } from './support/programs.ts';
import { Project } from './support/project.ts';

const DEVICE = 0;
const EDU = 1;
const ID = 0x0;
const BAR0 = 0;
const BAR2 = 2;
const SIZE = 4096;

let project: Project;

beforeEach(() => {
  project = new Project();
});

afterEach(() => project.remove());

/** A device with the given id register, and memory that edu may reach. */
function source(id: number): string {
  return `
import { PciDevice } from 'vfio';

export default class Mine extends PciDevice {
  constructor() {
    super({
      name: 'mine',
      vendorId: 0x1234,
      deviceId: 0x0001,
      classCode: 0xff0000,
      bars: {
        0: { type: 'mem32', sizeBytes: 4096 },
        2: { type: 'mem32', sizeBytes: 65536, mappable: true, dma: 'allow' },
      },
    });
    this.addRegisters(0, {
      ID: { offset: 0, width: 4, access: 'ro', reset: ${id} },
    });
  }
}
`;
}

function withDevice(text: string, work: (pci: PciShell, machine: Machine) => Promise<void>): Promise<void> {
  const file = project.write('mine.ts', text);
  const options = {
    serve: [file, 'edu'],
    serveArgs: ['--watch', '--dma-mask-bits=32'],
    files: guestProgram('pci'),
  };
  return Machine.run(options, async (machine) => {
    const pci = new PciShell(machine);
    await pci.enable(DEVICE);
    await pci.enable(EDU);
    await work(pci, machine);
  });
}

test('R4, R7: edu reaches the memory of a device that was reloaded, and only while it can be reached', async () => {
  await withDevice(source(0x11), async (pci, machine) => {
    expect(await pci.read(DEVICE, BAR0, ID, 4)).toBe(0x11);
    const bar2 = await pci.barAddress(DEVICE, BAR2);
    await pci.put(EDU, bar2, SIZE, 1);

    project.write('mine.ts', source(0x22));
    const reload = await machine.server.event('reload', { device: 'mine' });
    expect(reload).toMatchObject({ state: 'reset', ms: expect.any(Number) });

    expect(await pci.read(DEVICE, BAR0, ID, 4)).toBe(0x22);
    expect(await pci.check(DEVICE, BAR2, 0, SIZE, 1)).toBe('same');
    expect(await pci.get(EDU, bar2, SIZE, 1)).toBe('same');
    await pci.put(EDU, bar2, SIZE, 2);
    expect(await pci.check(DEVICE, BAR2, 0, SIZE, 2)).toBe('same');
    await pci.decode(DEVICE, false);
    expect(await pci.get(EDU, bar2, SIZE, 2)).toBe('zeros');
    await pci.decode(DEVICE, true);
    expect(await pci.get(EDU, bar2, SIZE, 2)).toBe('same');
    expect(machine.dmaMessages).toBe(0);
    expect(machine.guest.complaints).toBe('');
  });
});
