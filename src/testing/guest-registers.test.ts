import { afterEach, beforeEach, describe, expect, expectTypeOf, it, test, vi } from 'vitest';
import { PROBE_REGISTERS, Probe } from '../../test/support/probe-device.ts';
import { type DeviceUnderTest, type GuestRegister, type GuestRegisters, testDevice } from './index.ts';

describe.each(['process', 'socket'] as const)('registers of a device under test, over %s', (over) => {
  let probe: Probe;
  let dut: DeviceUnderTest<Probe>;
  let regs: GuestRegisters<typeof PROBE_REGISTERS>;

  beforeEach(async () => {
    probe = new Probe();
    dut = await testDevice(probe, { over });
    regs = dut.registers(0, PROBE_REGISTERS);
  });

  afterEach(() => dut.close());

  it('accesses each by its own width and offset', async () => {
    const read = vi.spyOn(probe.regs, 'read');
    const write = vi.spyOn(probe.regs, 'write');
    expect(await regs.BYTE.read()).toBe(0x5a);
    await regs.HALF.write(0xbeef);
    await regs.ADDRESS.write(0x10_0000);
    const accesses = [...read.mock.calls, ...write.mock.calls].map(([offset, count]) => [offset, count]);
    expect(accesses).toEqual([
      [0, 1],
      [2, 2],
      [0x10, 8],
    ]);
    expect(probe.regs.HALF).toBe(0xbeef);
    expect(probe.regs.ADDRESS).toBe(0x10_0000);
  });

  it('answers as the device does: write-only, write-one-to-clear, clear on read', async () => {
    await regs.COMMAND.write(0x55);
    expect(await regs.COMMAND.read()).toBe(0);
    probe.regs.STATUS = 0b111;
    await regs.STATUS.write({ FAULT: 1 });
    expect(await regs.STATUS.fields()).toEqual({ DONE: 1, FAULT: 0, SPARE: 1 });
    expect([await regs.ONCE.read(), await regs.ONCE.read()]).toEqual([7, 0]);
  });

  it('writes fields alone, or in place among the others', async () => {
    await regs.SCRATCH.write(0xffff_ffff);
    await regs.SCRATCH.modify({ TOP: 0, LOW: 5 });
    expect(await regs.SCRATCH.read()).toBe(0x0fff_fff5);
    await regs.SCRATCH.write({ TOP: 9, BIT: 1 });
    expect(await regs.SCRATCH.read()).toBe(0x9000_0010);
    expect(await regs.SCRATCH.fields()).toEqual({ LOW: 0, BIT: 1, TOP: 9 });
  });

  it('holds 8 bytes exactly, and rejects rather than rounds', async () => {
    await regs.ADDRESS.write(2 ** 53 - 1);
    expect(await regs.ADDRESS.read()).toBe(2 ** 53 - 1);
    await regs.ADDRESS.write(0xf000_0000_0000_0001n);
    expect(await regs.ADDRESS.readBig()).toBe(0xf000_0000_0000_0001n);
    expect(await regs.ADDRESS.fields()).toEqual({ TOP: 15 });
    await expect(regs.ADDRESS.read()).rejects.toThrow('0xf000000000000001, which no number holds exactly');
    await regs.ADDRESS.modify({ TOP: 1 });
    expect(await regs.ADDRESS.readBig()).toBe(0x1000_0000_0000_0001n);
  });

  it('reaches the elements of an array, at their stride', async () => {
    expect(regs.SLOTS.length).toBe(4);
    await regs.SLOTS.at(3).write(0x1234);
    expect(probe.regs.SLOTS.get(3)).toBe(0x1234);
    expect(regs.SLOTS.at(3).offset).toBe(0x2c);
    expect(await regs.SLOTS.at(3).read()).toBe(0x1234);
    expect(() => regs.SLOTS.at(4)).toThrow('SLOTS has 4 elements; there is no 4');
  });

  it('refuses values that no guest can write', async () => {
    await expect(regs.BYTE.write(256)).rejects.toThrow('256 is no unsigned number of 1 byte(s)');
    await expect(regs.BYTE.write(-1)).rejects.toThrow('no unsigned number');
    await expect(regs.BYTE.write(1.5)).rejects.toThrow('no unsigned number');
    await expect(regs.SCRATCH.write({ LOW: 16 })).rejects.toThrow('does not fit field LOW');
    expect(probe.regs.BYTE).toBe(0x5a);
  });

  it('finds a table that begins later in the BAR', async () => {
    const later = dut.registers(0, { TAIL: { offset: 0, width: 4, access: 'rw' } }, 8);
    await later.TAIL.write(77);
    expect(await regs.SCRATCH.read()).toBe(77);
  });

  it('refuses the table of another BAR', () => {
    const far = { FAR: { offset: 4096, width: 4, access: 'rw' } } as const;
    expect(() => dut.registers(0, far)).toThrow('beyond BAR0');
  });

  it('rejects while the BAR is not decoded', async () => {
    await dut.config.memoryDecode(false);
    await expect(regs.BYTE.read()).rejects.toEqual(expect.objectContaining({ code: 'EIO' }));
    await dut.config.memoryDecode(true);
    expect(await regs.BYTE.read()).toBe(0x5a);
  });

  it('tells what a handler of the device threw', async () => {
    const printed = vi.spyOn(console, 'error').mockImplementation(() => {});
    const failure = await regs.BROKEN.read().catch((error: Error) => error.message);
    const said = [failure, ...printed.mock.calls.map(String)].join('\n');
    printed.mockRestore();
    expect(said).toContain('the handler threw');
  });

  it('tells of accesses that no register answers, and goes on telling the device', async () => {
    const wrong = dut.registers(0, { NOWHERE: { offset: 0x800, width: 4, access: 'rw' } });
    expect(await wrong.NOWHERE.read()).toBe(0xffff_ffff);
    await wrong.NOWHERE.write(1);
    expect(dut.incidents).toEqual([
      { bar: 0, incident: 'unknown register read', offset: 0x800, sizeBytes: 4 },
      { bar: 0, incident: 'unknown register write', offset: 0x800, sizeBytes: 4 },
    ]);
    expect(probe.heard).toEqual(['unknown register read', 'unknown register write']);
  });
});

test('names, fields and arrays are typed by the table', async () => {
  await using dut = await testDevice(new Probe());
  const regs = dut.registers(0, PROBE_REGISTERS);
  expectTypeOf(dut).toEqualTypeOf<DeviceUnderTest<Probe>>();
  expectTypeOf(regs.SCRATCH).toEqualTypeOf<GuestRegister<typeof PROBE_REGISTERS.SCRATCH>>();
  expectTypeOf(regs.SCRATCH.fields).returns.resolves.toEqualTypeOf<{
    LOW: number;
    BIT: number;
    TOP: number;
  }>();
  expectTypeOf(regs.BYTE.read).returns.resolves.toEqualTypeOf<number>();
  const mistakes = async (): Promise<void> => {
    // @ts-expect-error there is no such register
    await regs.SCRATHC.read();
    // @ts-expect-error there is no such field
    await regs.SCRATCH.write({ MIDDLE: 1 });
    // @ts-expect-error BYTE has no fields
    await regs.BYTE.write({ LOW: 1 });
    // @ts-expect-error an array is read by element
    await regs.SLOTS.read();
    // @ts-expect-error a register that is no array has no elements
    regs.BYTE.at(0);
  };
  expectTypeOf(mistakes).toBeFunction();
});
