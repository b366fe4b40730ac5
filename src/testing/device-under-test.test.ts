import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterEach, describe, expect, it, test, vi } from 'vitest';
import { PROBE, PROBE_REGISTERS, Probe } from '../../test/support/probe-device.ts';
import { PCI_COMMAND, PCI_COMMAND_IO, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY } from '../abi/index.ts';
import type { BusMasterPort } from '../bus/pci/index.ts';
import { openDevice } from '../client/index.ts';
import { NoClientDma } from '../core/index.ts';
import { testDevice } from './index.ts';

const POWER = { type: 'power-management' } as const;
const EXPRESS = { type: 'express' } as const;

describe.each(['process', 'socket'] as const)('a device under test, over %s', (over) => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it('has decode and bus mastering on, as its driver has', async () => {
    await using dut = await testDevice(new Probe(), { over });
    const bits = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    expect((await dut.config.read(PCI_COMMAND, 2)) & bits).toBe(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    await using passive = await testDevice(new Probe(), { over, busMaster: false });
    expect((await passive.config.read(PCI_COMMAND, 2)) & bits).toBe(PCI_COMMAND_MEMORY);
    await using off = await testDevice(new Probe({ commandAtOpen: 0 }), { over });
    expect((await off.config.read(PCI_COMMAND, 2)) & bits).toBe(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
  });

  it('resets by each way that it has, and waits until that is over', async () => {
    const probe = new Probe({ capabilities: [EXPRESS, { ...POWER, noSoftReset: false }] });
    await using dut = await testDevice(probe, { over });
    const regs = dut.registers(0, PROBE_REGISTERS);
    for (const kind of ['device', 'function', 'power'] as const) {
      await regs.BYTE.write(1);
      probe.gate = new Promise((resolve) => setTimeout(resolve, 50));
      await dut.reset(kind);
      expect(probe.resets.at(-1)).toBe(kind);
      expect(await regs.BYTE.read()).toBe(0x5a);
    }
    expect(probe.resets).toHaveLength(3);
    expect((await dut.config.read(PCI_COMMAND, 2)) & PCI_COMMAND_MASTER).toBe(PCI_COMMAND_MASTER);
  });

  it('gives up on a reset that does not end', async () => {
    const probe = new Probe({ capabilities: [EXPRESS] });
    const dut = await testDevice(probe, { over, timeoutMs: 30 });
    let open: () => void = () => {};
    probe.gate = new Promise((resolve) => {
      open = resolve;
    });
    await expect(dut.reset('function')).rejects.toThrow('probe is still in reset');
    open();
    await dut.close();
  });

  it('says which resets it does not have', async () => {
    await using plain = await testDevice(new Probe(), { over });
    await expect(plain.reset('function')).rejects.toThrow('probe has no express capability');
    await expect(plain.reset('power')).rejects.toThrow('probe has no power-management capability');
    const capabilities = [{ ...EXPRESS, functionLevelReset: false }, POWER];
    await using keeping = await testDevice(new Probe({ capabilities }), { over });
    await expect(keeping.reset('function')).rejects.toThrow('no function level reset');
    await expect(keeping.reset('power')).rejects.toThrow('keeps its state in D3hot');
    expect(keeping.device.resets).toEqual([]);
  });

  it('sleeps and wakes up with its state', async () => {
    await using dut = await testDevice(new Probe({ capabilities: [POWER] }), { over });
    const regs = dut.registers(0, PROBE_REGISTERS);
    await regs.BYTE.write(3);
    await dut.config.sleep();
    await expect(regs.BYTE.read()).rejects.toEqual(expect.objectContaining({ code: 'EIO' }));
    await dut.config.wake();
    expect(await regs.BYTE.read()).toBe(3);
  });

  it('can be left and opened by the next client: its state stays, what was the client’s does not', async () => {
    await using dut = await testDevice(new Probe(), { over });
    const regs = dut.registers(0, PROBE_REGISTERS);
    await regs.BYTE.write(9);
    const old = await dut.memory(4096);
    await regs.COMMAND.write(PROBE.RAISE);
    await dut.interrupt();
    await regs.COMMAND.write(PROBE.LOWER);
    await dut.reopen();
    expect(await regs.BYTE.read()).toBe(9);
    expect(dut.interrupts).toBe(0);
    await regs.ADDRESS.write(old.iova);
    await regs.COMMAND.write(PROBE.READ);
    await dut.settle();
    expect(dut.dma.at(-1)?.fault).toBe('not mapped');
    await regs.COMMAND.write(PROBE.RAISE);
    await dut.interrupt();
  });

  it('releases the device and leaves no file behind', async () => {
    const probe = new Probe();
    const told = probe.regs.onIncident;
    const dut = await testDevice(probe, { over });
    expect(probe.regs.onIncident).not.toBe(told);
    const path = dut.handle.address.replace('unix:', '');
    expect(existsSync(path)).toBe(over === 'socket');
    await dut.close();
    await dut.close();
    expect(probe.released).toBe(true);
    expect(existsSync(dirname(path))).toBe(over === 'process');
    expect(() => dut.interrupts).toThrow('probe is not open');
    expect(probe.regs.onIncident).toBe(told);
    expect((probe.dma as BusMasterPort).observer).toBeNull();
  });

  it('leaves fake timers to the device', async () => {
    vi.useFakeTimers();
    await using dut = await testDevice(new Probe(), { over, timeoutMs: 30 });
    const regs = dut.registers(0, PROBE_REGISTERS);
    await regs.COMMAND.write(PROBE.LATER);
    await dut.settle();
    expect(await regs.STATUS.read()).toBe(0);
    vi.advanceTimersByTime(10);
    expect(await regs.STATUS.read()).toBe(1);
    await expect(dut.interrupt()).rejects.toThrow('no interrupt');
  });

  it('refuses a device that has a client', async () => {
    const probe = new Probe();
    const handle = await openDevice(probe);
    await expect(testDevice(probe, { over })).rejects.toEqual(expect.objectContaining({ code: 'EBUSY' }));
    expect(await handle.readRegister(0, 0, 1)).toBe(0x5a);
    await handle.close();
    await expect(testDevice(probe, { over, interrupts: 'msi' })).rejects.toThrow('probe has no msi');
    const dut = await testDevice(probe, { over });
    await dut.close();
  });
});

test('a DMA that does not end keeps the device from settling, and is told of', async () => {
  const probe = new Probe();
  await using dut = await testDevice(probe, { timeoutMs: 30 });
  class Stuck extends NoClientDma {
    override read(): never {
      return new Promise(() => {}) as never;
    }
  }
  probe.dma = new Stuck();
  await dut.registers(0, PROBE_REGISTERS).COMMAND.write(PROBE.READ);
  await expect(dut.settle()).rejects.toThrow('a DMA is still under way');
  await expect(dut.interrupt()).rejects.toThrow('1 DMA under way');
  expect(dut.dma).toEqual([]);
});

test('what is no PCI device is refused', async () => {
  await expect(testDevice({} as Probe)).rejects.toThrow('two copies of vfio');
});
