import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PROBE, PROBE_REGISTERS, Probe } from '../../test/support/probe-device.ts';
import { type DeviceUnderTest, type GuestRegisters, testDevice } from './index.ts';

describe.each(['process', 'socket'] as const)('memory of a device under test, over %s', (over) => {
  let probe: Probe;
  let dut: DeviceUnderTest<Probe>;
  let regs: GuestRegisters<typeof PROBE_REGISTERS>;

  beforeEach(async () => {
    probe = new Probe();
    dut = await testDevice(probe, { over });
    regs = dut.registers(0, PROBE_REGISTERS);
  });

  afterEach(() => dut.close());

  async function transfer(command: number, iova: number): Promise<void> {
    await regs.ADDRESS.write(iova);
    await regs.COMMAND.write(command);
    await dut.settle();
  }

  describe.each([false, true])('byMessages: %s', (byMessages) => {
    it('is reached by the device, and every transfer is logged', async () => {
      const memory = await dut.memory(100, { byMessages });
      expect(memory.sizeBytes).toBe(4096);
      memory.view.setUint32(16, 0x1234_5678, true);
      await transfer(PROBE.READ, memory.iova + 16);
      expect([...probe.buffer.subarray(0, 4)]).toEqual([0x78, 0x56, 0x34, 0x12]);
      await transfer(PROBE.WRITE, memory.iova + 32);
      expect(memory.view.getUint32(32, true)).toBe(0x1234_5678);
      expect(dut.dma).toEqual([
        { operation: 'read', iova: memory.iova + 16, sizeBytes: 16, fault: null },
        { operation: 'write', iova: memory.iova + 32, sizeBytes: 16, fault: null },
      ]);
      expect(await regs.STATUS.fields()).toEqual({ DONE: 1, FAULT: 0, SPARE: 0 });
    });

    it('faults when it is taken away, and works when it is back', async () => {
      const memory = await dut.memory(4096, { byMessages });
      memory.bytes[0] = 7;
      await memory.unmap();
      await memory.unmap();
      expect(memory.mapped).toBe(false);
      await transfer(PROBE.READ, memory.iova);
      expect(dut.dma).toEqual([{ operation: 'read', iova: memory.iova, sizeBytes: 16, fault: 'not mapped' }]);
      expect(memory.bytes[0]).toBe(7);
      await memory.map();
      await transfer(PROBE.READ, memory.iova);
      expect(dut.dma.at(-1)?.fault).toBeNull();
      expect(probe.buffer[0]).toBe(7);
    });

    it('grants what it was asked to grant', async () => {
      const memory = await dut.memory(4096, { byMessages, write: false });
      await transfer(PROBE.WRITE, memory.iova);
      expect(dut.dma.at(-1)?.fault).toBe('write is not allowed');
      await memory.unmap();
      await memory.map({ read: false, write: true });
      await transfer(PROBE.READ, memory.iova);
      expect(dut.dma.at(-1)?.fault).toBe('read is not allowed');
    });
  });

  it('has a page of nothing behind each piece, so that an overrun faults', async () => {
    const first = await dut.memory(4096);
    const second = await dut.memory(4096);
    expect(second.iova).toBe(first.iova + 8192);
    await transfer(PROBE.READ, first.iova + 4096 - 8);
    expect(dut.dma.at(-1)?.fault).toBe('not mapped');
    await dut.memory(4096, { iova: second.iova + 2 * 8192 });
    const wide = await dut.memory(8192);
    expect(wide.iova).toBe(second.iova + 3 * 8192);
  });

  it('lies where the test wants it', async () => {
    const high = await dut.memory(4096, { iova: 2 ** 40 });
    high.bytes[3] = 9;
    await transfer(PROBE.READ, 2 ** 40);
    expect(probe.buffer[3]).toBe(9);
  });

  it('logs windows, and that memory by messages has none', async () => {
    const shared = await dut.memory(4096);
    await transfer(PROBE.WINDOW, shared.iova);
    probe.window!.bytes[5] = 5;
    expect(shared.bytes[5]).toBe(5);
    probe.window!.close();
    const messages = await dut.memory(4096, { byMessages: true });
    await transfer(PROBE.WINDOW, messages.iova);
    expect(dut.dma.map(({ operation, fault }) => [operation, fault])).toEqual([
      ['window', null],
      ['window', 'no direct view'],
    ]);
  });

  it('logs what bus mastering stopped', async () => {
    const memory = await dut.memory(4096);
    await dut.config.busMaster(false);
    await transfer(PROBE.READ, memory.iova);
    expect(dut.dma.at(-1)?.fault).toBe('bus master is off');
    await dut.config.busMaster(true);
    await transfer(PROBE.READ, memory.iova);
    expect(dut.dma.at(-1)?.fault).toBeNull();
  });

  it('keeps the last 1000 transfers', async () => {
    const memory = await dut.memory(4096);
    await transfer(PROBE.MANY, memory.iova);
    expect(dut.dma).toHaveLength(1000);
    await transfer(PROBE.READ, memory.iova);
    expect(dut.dma).toHaveLength(1000);
    expect(dut.dma.at(-1)?.sizeBytes).toBe(16);
  });

  it('can be the memory of another device', async () => {
    await using peer = await testDevice(new Probe(), { over });
    await peer.handle.write(2, 4096, Uint8Array.of(1, 2, 3));
    const there = await dut.mapPeer(peer, { bar: 2 });
    expect(there.sizeBytes).toBe(8192);
    await transfer(PROBE.READ, there.iova + 4096);
    expect([...probe.buffer.subarray(0, 3)]).toEqual([1, 2, 3]);
    await peer.config.memoryDecode(false);
    await transfer(PROBE.WRITE, there.iova);
    expect(dut.dma.at(-1)?.fault).toBe('memory decode is off');
    await peer.config.memoryDecode(true);
    await transfer(PROBE.WRITE, there.iova);
    const bytes = new Uint8Array(3);
    await peer.handle.read(2, 0, bytes);
    expect([...bytes]).toEqual([1, 2, 3]);
    await there.unmap();
    await transfer(PROBE.READ, there.iova);
    expect(dut.dma.at(-1)?.fault).toBe('not mapped');
  });

  it('can be a part of another device, by messages', async () => {
    await using peer = await testDevice(new Probe(), { over });
    const there = await dut.mapPeer(peer, { bar: 2, offset: 4096, byMessages: true });
    expect(there.sizeBytes).toBe(4096);
    probe.buffer.fill(8);
    await transfer(PROBE.WRITE, there.iova);
    const bytes = new Uint8Array(16);
    await peer.handle.read(2, 4096, bytes);
    expect(bytes).toEqual(new Uint8Array(16).fill(8));
  });

  it('waits for all that the device has queued, and says so when that has no end', async () => {
    await regs.COMMAND.write(PROBE.LATER);
    await dut.settle();
    expect(await regs.STATUS.fields()).toEqual({ DONE: 1, FAULT: 0, SPARE: 0 });
    await regs.COMMAND.write(PROBE.RESTLESS);
    await expect(dut.settle()).rejects.toThrow('it goes on by itself');
  });
});
