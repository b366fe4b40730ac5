/*
 * What QEMU does that a server has to live with. Each was seen in its conversations (docs/qemu.md).
 */
import { expect, test } from 'vitest';
import { Machine } from './support/machine.ts';
import { PciShell } from './support/pci-shell.ts';
import { openFiles, residentKiB } from './support/process.ts';
import { guestProgram } from './support/programs.ts';
import { bindVfioPci, WITH_VFIO_PCI } from './support/vfio-pci.ts';

const EDU = 0;
const EDU_ID = 0x0100_00ed;
const PATTERN_BYTES = 4096;
/** Where QEMU puts the top of the firmware: the last 256 KiB below 4 GiB. The processor starts at the last 16 bytes. */
const RESET_VECTOR = 0xffff_fff0;

test('ranges are unmapped that were never mapped', async () => {
  const options = { serve: ['edu'], files: guestProgram('edu'), ...WITH_VFIO_PCI };
  await Machine.run(options, async (machine) => {
    const address = machine.address(EDU);
    await bindVfioPci(machine.guest, address);
    expect(await machine.guest.run(`edu ${address} msi`)).toContain('4096 bytes there and back: the same');
    const unmapped = machine.qemuTrace.filter((line) => line.startsWith('vfio_user_dma_unmap'));
    const sizes = unmapped.map((line) => BigInt(/size (0x[0-9a-f]+)/.exec(line)![1]!));
    // Far beyond the guest's memory: parts of the whole address space.
    expect(sizes.some((size) => size >= 2n ** 40n)).toBe(true);
    // QEMU only logs a refusal, and not where we would see it.
    const answers = machine.serverTrace().filter((line) => / < \w+ DMA_UNMAP /.test(line));
    expect(answers.length).toBe(unmapped.length);
    expect(answers.filter((line) => !line.includes('DMA_UNMAP ok'))).toEqual([]);
    expect(machine.guest.complaints).toBe('');
  });
});

test('all devices of a QEMU count their messages together', async () => {
  await Machine.run({ serve: ['edu', 'ram'], files: guestProgram('pci') }, async (machine) => {
    const ids = [0, 1].map((index) => {
      const received = machine.qemuTrace.filter(
        (line) => line.startsWith('vfio_user_recv_hdr') && line.includes(`device-${index}.sock`),
      );
      return received.map((line) => Number(/ id (0x[0-9a-f]+)/.exec(line)![1]));
    });
    expect(ids[1]![0]).toBeGreaterThan(ids[0]![0]! + 1);
    expect(ids[0]!.filter((id) => ids[1]!.includes(id))).toEqual([]);
    const pci = new PciShell(machine);
    await pci.enable(EDU);
    expect(await pci.read(EDU, 0, 0, 4)).toBe(EDU_ID);
  });
});

test('a guest that is switched off says nothing: the session just ends', async () => {
  await Machine.run({ serve: ['edu'], files: guestProgram('pci') }, async (machine) => {
    const before = machine.qemuTrace.length;
    expect(await machine.guest.powerOff()).toEqual({ code: 0, signal: null });
    await machine.server.event('session', { state: 'detached' });
    const farewell = machine.qemuTrace.slice(before).filter((line) => line.startsWith('vfio_user_dma_unmap'));
    expect(farewell).toEqual([]);
    await machine.reboot();
    const pci = new PciShell(machine);
    await pci.enable(EDU);
    expect(await pci.read(EDU, 0, 0, 4)).toBe(EDU_ID);
  });
});

test('firmware is mapped without an fd, to be read only: DMA from it goes by messages, DMA to it is a fault', async () => {
  const options = { serve: ['edu'], serveArgs: ['--dma-mask-bits=32'], files: guestProgram('pci') };
  await Machine.run(options, async (machine) => {
    const pci = new PciShell(machine);
    await pci.enable(EDU);
    const words = (
      await machine.guest.run(`for at in 0 4 8 12; do devmem $((${RESET_VECTOR} + at)) 32; done`)
    ).split('\n');
    const swapped = words.map((word) => word.slice(2).match(/../g)!.reverse().join('').toLowerCase());
    expect(await pci.dump(EDU, RESET_VECTOR, 16)).toBe(swapped.join(''));
    expect(machine.dmaMessages).toBe(1);
    await pci.put(EDU, RESET_VECTOR, 4, 1);
    await machine.server.event('dma-fault', { iova: RESET_VECTOR });
    expect(machine.dmaMessages).toBe(1);
  });
});

test('known: with a private memfd DMA reaches a file that the guest does not see', async () => {
  const options = { serve: ['edu'], memory: 'private' as const, files: guestProgram('pci') };
  await Machine.run(options, async (machine) => {
    const pci = new PciShell(machine);
    await pci.enable(EDU);
    // Fetching the pattern from guest memory brought zeros, and the comparison is with a page that stayed as it was.
    expect(await pci.get(EDU, 0x1000, PATTERN_BYTES, 1)).toBe('different');
    expect(machine.dmaMessages).toBe(0);
  });
});

test('without a file behind guest memory DMA goes by messages', async () => {
  const options = { serve: ['edu'], memory: 'anonymous' as const, files: guestProgram('pci') };
  await Machine.run(options, async (machine) => {
    const pci = new PciShell(machine);
    await pci.enable(EDU);
    await pci.put(EDU, 0x1000, PATTERN_BYTES, 1);
    expect(await pci.get(EDU, 0x1000, PATTERN_BYTES, 1)).toBe('same');
    expect(machine.dmaMessages).toBe(4);
  });
});

test('a virtual IOMMU that maps 100,000 pages, again and again, costs no memory and no files', async () => {
  const options = {
    serve: ['edu'],
    memoryMiB: 512,
    files: { ...guestProgram('iommu'), ...guestProgram('edu') },
    trace: 'vfio_user_dma_map',
    ...WITH_VFIO_PCI,
  };
  await Machine.run(options, async (machine) => {
    const { guest, server } = machine;
    const address = machine.address(EDU);
    const mapped = (): number => machine.qemuTrace.length;
    await bindVfioPci(guest, address);
    const first = await guest.run(`iommu ${address} 64 7`, 180_000);
    expect(mapped()).toBeGreaterThan(100_000);
    const before = { residentKiB: residentKiB(server), files: openFiles(server) };
    const second = await guest.run(`iommu ${address} 64 7`, 180_000);
    expect(mapped()).toBeGreaterThan(200_000);
    expect(residentKiB(server) - before.residentKiB).toBeLessThan(8 * 1024);
    expect(openFiles(server)).toBe(before.files);
    expect(await guest.run(`edu ${address} msi`)).toContain('4096 bytes there and back: the same');
    console.log(`ms for 16,384 pages mapped and unmapped: ${first} ${second}`.replaceAll('\n', ' '));
  });
});
