import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PCI_COMMAND, PCI_COMMAND_MASTER } from '../abi/index.ts';
import { type DeviceHandle, openDevice } from '../client/index.ts';
import { attachPlainMemory } from '../core/index.ts';
import { Edu, type EduFault, type EduOptions } from '../devices/edu/device.ts';
import { Ram } from '../devices/ram/device.ts';
import { VfioUserServer } from '../server/index.ts';
import { EduDriver } from './edu.ts';

/** An open edu, wherever it is, and the device object behind it. */
interface Bench {
  readonly handle: DeviceHandle;
  readonly edu: Edu;
  close(): Promise<void>;
}

async function inProcess(options: EduOptions): Promise<Bench> {
  const edu = new Edu(options);
  const handle = await openDevice(edu);
  return { handle, edu, close: () => handle.close() };
}

async function overSocket(options: EduOptions): Promise<Bench> {
  const folder = mkdtempSync(join(tmpdir(), 'vfio-edu-'));
  const edu = new Edu(options);
  const server = new VfioUserServer(edu, { socketPath: join(folder, 'edu.sock') });
  await server.listen();
  const handle = await openDevice(`unix:${join(folder, 'edu.sock')}`);
  const close = async (): Promise<void> => {
    await handle.close();
    await server.close();
    rmSync(folder, { recursive: true });
  };
  return { handle, edu, close };
}

describe.each([
  ['in the same process', inProcess],
  ['behind a socket', overSocket],
])('EduDriver, device %s', (_where, open) => {
  let bench: Bench;
  let faults: EduFault[];

  beforeEach(async () => {
    bench = await open({});
    faults = [];
    bench.edu.on('fault', (fault) => faults.push(fault));
  });

  afterEach(async () => {
    await bench.close();
  });

  it('identifies the device and finds it alive', async () => {
    const driver = await EduDriver.open(bench.handle);
    expect(await driver.identify()).toEqual({ major: 1, minor: 0 });
    expect(await driver.isAlive()).toBe(true);
    expect(await driver.isAlive(0xffff_ffff)).toBe(true);
    await driver.close();
  });

  describe.each(['msi', 'intx'] as const)('with %s', (interrupt) => {
    it('computes factorials', async () => {
      const driver = await EduDriver.open(bench.handle, { interrupt });
      expect(driver.interrupt).toBe(interrupt);
      expect(await driver.factorial(5)).toBe(120);
      expect(await Promise.all([6, 7, 8].map((n) => driver.factorial(n)))).toEqual([720, 5040, 40320]);
      expect(driver.interruptCount).toBe(4);
      await driver.close();
    });

    it('moves memory to the device and back', async () => {
      const driver = await EduDriver.open(bench.handle, { interrupt });
      const memory = await bench.handle.dmaMemory(8192);
      const pattern = Uint8Array.from({ length: 4096 }, (_, i) => (i * 7) & 0xff);
      memory.bytes.set(pattern);
      await driver.dmaToDevice(memory.iova, 4096);
      await driver.dmaFromDevice(memory.iova + 4096, 4096);
      expect(memory.bytes.slice(4096)).toEqual(pattern);
      await driver.dmaFromDevice(memory.iova + 4096, 16, 100);
      expect(memory.bytes.slice(4096, 4096 + 16)).toEqual(pattern.slice(100, 116));
      expect(faults).toEqual([]);
      await driver.close();
      await memory.close();
    });

    it('serves interrupts that are raised by hand, each bit', async () => {
      const driver = await EduDriver.open(bench.handle, { interrupt });
      await driver.raise(0x8000_0000);
      await Promise.all([driver.raise(0x10), driver.raise(0x20)]);
      expect(bench.edu.regs.IRQ_STATUS).toBe(0);
      await driver.close();
    });
  });

  it('runs factorials and transfers side by side', async () => {
    const driver = await EduDriver.open(bench.handle);
    const memory = await bench.handle.dmaMemory(4096);
    const work: Promise<unknown>[] = [];
    for (let i = 0; i < 20; i++) work.push(driver.factorial(i), driver.dmaToDevice(memory.iova, 64));
    await Promise.all(work);
    expect(driver.interruptCount).toBeGreaterThan(0);
    await driver.close();
  });

  it('learns nothing of a transfer that reached no memory; the device does', async () => {
    const driver = await EduDriver.open(bench.handle);
    await driver.dmaToDevice(0x10_0000, 16);
    expect(faults).toEqual([{ iova: 0x10_0000, sizeBytes: 16, direction: 'to edu', reason: 'not mapped' }]);
    await driver.close();
  });

  it('refuses what the device cannot do', async () => {
    const driver = await EduDriver.open(bench.handle);
    const refused = expect.objectContaining({ code: 'EINVAL' });
    await expect(driver.dmaToDevice(0, 4097)).rejects.toEqual(refused);
    await expect(driver.dmaToDevice(0, 0)).rejects.toEqual(refused);
    await expect(driver.dmaFromDevice(0, 1, 4096)).rejects.toEqual(refused);
    await expect(driver.dmaFromDevice(2 ** 28 - 1, 2)).rejects.toEqual(refused);
    await driver.close();
  });

  it('fails with ETIMEDOUT when no interrupt comes, and goes on', async () => {
    const driver = await EduDriver.open(bench.handle, { timeoutMs: 50 });
    await bench.handle.setIrqs({ index: 1, action: 'trigger', data: 'none' });
    await expect(driver.factorial(3)).rejects.toEqual(expect.objectContaining({ code: 'ETIMEDOUT' }));
    await driver.close();
  });

  it('fails what is under way when the device goes away', async () => {
    const driver = await EduDriver.open(bench.handle);
    await bench.handle.setIrqs({ index: 1, action: 'trigger', data: 'none' });
    const waiting = driver.factorial(3);
    const failed = expect(waiting).rejects.toEqual(expect.objectContaining({ name: 'VfioError' }));
    await bench.handle.close();
    await failed;
    await expect(driver.factorial(3)).rejects.toEqual(expect.objectContaining({ code: 'EBADF' }));
    await driver.close();
  });

  it('leaves the device without bus mastering, ready for the next driver', async () => {
    const first = await EduDriver.open(bench.handle);
    await first.close();
    expect((await bench.handle.readRegister(7, PCI_COMMAND, 2)) & PCI_COMMAND_MASTER).toBe(0);
    const second = await EduDriver.open(bench.handle, { interrupt: 'intx' });
    expect(await second.factorial(4)).toBe(24);
    await second.close();
  });
});

describe('EduDriver', () => {
  it('refuses a device that is no edu', async () => {
    const ram = new Ram({ sizeBytes: 4096 });
    attachPlainMemory(ram);
    const handle = await openDevice(ram);
    await expect(EduDriver.open(handle)).rejects.toEqual(expect.objectContaining({ code: 'ENODEV' }));
    await handle.close();
  });

  it('takes a wider mask where the device has one', async () => {
    const bench = await inProcess({ dmaMaskBits: 40 });
    const driver = await EduDriver.open(bench.handle, { dmaMaskBits: 40 });
    const memory = await bench.handle.dmaMemory(4096, { iova: 2 ** 39 });
    memory.bytes.fill(9);
    await driver.dmaToDevice(memory.iova, 4096);
    expect(bench.edu.lastFault).toBeNull();
    await driver.close();
    await bench.close();
  });
});
