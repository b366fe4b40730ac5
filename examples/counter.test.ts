/** Tests of the counter without a VM, from its driver's side. */

import { testDevice } from 'vfio/testing';
import { expect, test } from 'vitest';
import { Counter, REGISTERS } from './counter.ts';

test('at LIMIT it writes COUNT to memory and interrupts; it tells when the memory is gone', async () => {
  await using dut = await testDevice(new Counter());
  const { STEP, LIMIT, STATUS, TARGET } = dut.registers(0, REGISTERS);
  const memory = await dut.memory(4096);
  await TARGET.write(memory.iova);
  await Promise.all([STEP.write(await LIMIT.read()), dut.interrupt()]);
  expect(memory.bytes[0]).toBe(10);
  expect(await STATUS.fields()).toEqual({ REACHED: 1, DMA_FAULT: 0 });
  await memory.unmap();
  await Promise.all([STEP.write(11), dut.interrupt()]);
  expect(await STATUS.fields()).toEqual({ REACHED: 1, DMA_FAULT: 1 });
});
