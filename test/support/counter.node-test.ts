/* The counter's test as a user of node:test writes it, run by test/examples.test.ts in a process of its own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testDevice } from 'vfio/testing';
import { Counter, REGISTERS } from '../../examples/counter.ts';

test('COUNT goes to memory', async (t) => {
  const dut = await testDevice(new Counter(), { over: 'socket' });
  t.after(() => dut.close());
  const regs = dut.registers(0, REGISTERS);
  const memory = await dut.memory(4096);
  await regs.TARGET.write(memory.iova);
  await regs.STEP.write(12);
  await dut.interrupt();
  assert.equal(memory.bytes[0], 12);
});
