/*
 * Peer-to-peer in a guest: edu reaches ram's BAR2 by its guest-physical address. QEMU announces that BAR to edu without
 * an fd; in one process it is recognised and copied at memory speed, in two it goes by messages. What the guest does to
 * ram's memory holds for edu at once (R4 to R8).
 */
import { expect, test } from 'vitest';
import { Machine } from './support/machine.ts';
import { PciShell } from './support/pci-shell.ts';
import { guestProgram } from './support/programs.ts';

/** ram's BAR2 is above 4 GiB, edu's engine usually reaches 256 MiB. */
const TWO_DEVICES = {
  serve: ['edu', 'ram'],
  serveArgs: ['--dma-mask-bits=64'],
  files: guestProgram('pci'),
};
const EDU = 0;
const RAM = 1;
const BAR2 = 2;
const PCI_CAP_ID_EXP = 0x10;
const PCI_EXP_DEVCTL = 8;
const PCI_EXP_DEVCTL_BCR_FLR = 0x8000;
const AT = 0x1000;
const SIZE = 4096;

/** A machine whose guest has both devices switched on. */
function withPeers(
  options: { readonly apart?: boolean; readonly hotplug?: boolean },
  work: (pci: PciShell, machine: Machine, bar2: bigint) => Promise<void>,
): Promise<void> {
  return Machine.run({ ...TWO_DEVICES, ...options }, async (machine) => {
    const pci = new PciShell(machine);
    await pci.enable(EDU);
    await pci.enable(RAM);
    await work(pci, machine, await pci.barAddress(RAM, BAR2));
  });
}

/** Commands of a server to QEMU in the server's own trace. */
function dmaMessages(trace: readonly string[]): string[] {
  return trace.filter((line) => / < .*DMA_(READ|WRITE)/.test(line));
}

test('edu writes to ram and reads from it without a message', async () => {
  await withPeers({}, async (pci, machine, bar2) => {
    await pci.put(EDU, bar2 + BigInt(AT), SIZE, 1);
    expect(await pci.check(RAM, BAR2, AT, SIZE, 1)).toBe('same');
    await pci.fill(RAM, BAR2, 0, SIZE, 2);
    expect(await pci.get(EDU, bar2, SIZE, 2)).toBe('same');
    expect(machine.dmaMessages).toBe(0);
    expect(dmaMessages(machine.serverTrace())).toEqual([]);
  });
});

test('with two processes edu reaches ram by messages', async () => {
  await withPeers({ apart: true }, async (pci, machine, bar2) => {
    await pci.put(EDU, bar2 + BigInt(AT), SIZE, 1);
    expect(await pci.check(RAM, BAR2, AT, SIZE, 1)).toBe('same');
    expect(await pci.get(EDU, bar2 + BigInt(AT), SIZE, 1)).toBe('same');
    expect(machine.dmaMessages).toBe(2);
    const [write, read] = dmaMessages(machine.serverTrace(EDU));
    expect(write).toContain('DMA_WRITE');
    expect(read).toContain('DMA_READ');
  });
});

test('R4, R7, R8: memory decode off cuts edu off, on brings it back', async () => {
  await withPeers({}, async (pci, machine, bar2) => {
    await pci.put(EDU, bar2, SIZE, 1);
    for (let round = 0; round < 5; round++) {
      await pci.decode(RAM, false);
      await pci.put(EDU, bar2, SIZE, 9);
      expect(await machine.server.event('dma-fault')).toMatchObject({ device: 'edu', iova: Number(bar2) });
      expect(await pci.get(EDU, bar2, SIZE, 1)).toBe('zeros');
      await machine.server.event('dma-fault');
      await pci.decode(RAM, true);
      expect(await pci.check(RAM, BAR2, 0, SIZE, 1)).toBe('same');
      expect(await pci.get(EDU, bar2, SIZE, 1)).toBe('same');
    }
    expect(machine.dmaMessages).toBe(0);
  });
});

test('R5, R7, R8: a function level reset leaves contents and comes back by itself', async () => {
  await withPeers({}, async (pci, machine, bar2) => {
    await pci.put(EDU, bar2, SIZE, 1);
    const control = (await pci.capability(RAM, PCI_CAP_ID_EXP)) + PCI_EXP_DEVCTL;
    await pci.write(RAM, 'config', control, 2, PCI_EXP_DEVCTL_BCR_FLR);
    await machine.server.event('suspend', { device: 'ram', reason: 'device is in reset' });
    await machine.server.event('resume', { device: 'ram', reason: 'device is in reset' });
    expect(await pci.check(RAM, BAR2, 0, SIZE, 1)).toBe('same');
    expect(await pci.get(EDU, bar2, SIZE, 1)).toBe('same');
    expect(machine.dmaMessages).toBe(0);
  });
});

test("the guest kernel's own reset of ram leaves edu's way to it open", async () => {
  await withPeers({}, async (pci, machine, bar2) => {
    await pci.put(EDU, bar2, SIZE, 1);
    expect(await machine.guest.run(`cat ${pci.folder(RAM)}/reset_method`)).toContain('flr');
    await machine.guest.run(`echo flr > ${pci.folder(RAM)}/reset_method; echo 1 > ${pci.folder(RAM)}/reset`);
    expect(await pci.get(EDU, bar2, SIZE, 1)).toBe('same');
    await pci.put(EDU, bar2, SIZE, 2);
    expect(await pci.check(RAM, BAR2, 0, SIZE, 2)).toBe('same');
    expect(machine.dmaMessages).toBe(0);
  });
});

test('R1, R4: a BAR that moved is reached at its new place and not at the old one', async () => {
  await withPeers({}, async (pci, machine, bar2) => {
    await pci.put(EDU, bar2, SIZE, 1);
    const moved = bar2 + 0x4000_0000n;
    await pci.moveBar(RAM, BAR2, moved);
    expect(await pci.get(EDU, moved, SIZE, 1)).toBe('same');
    expect(await pci.get(EDU, bar2, SIZE, 1)).toBe('zeros');
    expect(await machine.server.event('dma-fault')).toMatchObject({ device: 'edu', iova: Number(bar2) });
    await pci.moveBar(RAM, BAR2, bar2);
    expect(await pci.get(EDU, bar2, SIZE, 1)).toBe('same');
    expect(machine.dmaMessages).toBe(0);
  });
});

test('R6, R8: a device that was unplugged is out of reach, and has its contents when it is back', async () => {
  await withPeers({ hotplug: true }, async (pci, machine, bar2) => {
    await pci.put(EDU, bar2, SIZE, 1);
    await machine.unplug(RAM);
    expect(await pci.get(EDU, bar2, SIZE, 1)).toBe('zeros');
    expect(await machine.server.event('dma-fault')).toMatchObject({ device: 'edu', iova: Number(bar2) });
    await machine.plug(RAM);
    await pci.appears(RAM);
    await pci.enable(RAM);
    const again = await pci.barAddress(RAM, BAR2);
    expect(await pci.get(EDU, again, SIZE, 1)).toBe('same');
    expect(await pci.check(RAM, BAR2, 0, SIZE, 1)).toBe('same');
    expect(machine.dmaMessages).toBe(0);
  });
});
