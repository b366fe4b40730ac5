/*
 * Canary: what goes wrong in a guest is seen, in time, and told with what the guest, QEMU and the server said last.
 */
import { expect, test } from 'vitest';
import { Machine } from './support/machine.ts';

test('commands that fail, hang or lose their QEMU are failures that say why', async () => {
  await Machine.run({ serve: ['edu'] }, async ({ guest }) => {
    await guest.run('echo the last words > /dev/ttyS0');
    await expect(guest.run('echo no; false')).rejects.toThrow(
      /`echo no; false` ended with 1[\s\S]*no\n[\s\S]*the last words/,
    );
    expect(await guest.run('echo "two\nlines"')).toBe('two\nlines');
    await expect(guest.run('sleep 1000', 500)).rejects.toThrow(/did not end in the guest within 500 ms/);
    await guest.kill();
    await expect(guest.run('true')).rejects.toThrow(/QEMU ended/);
  });
});

test('a failure in a test shows the conversation', async () => {
  const failing = Machine.run({ serve: ['edu'] }, async () => {
    throw new Error('the test failed');
  });
  await expect(failing).rejects.toThrow(/the test failed[\s\S]*vfio_user_[\s\S]*edu < [0-9a-f]{4} REGION_/);
});

test('a guest that does not boot says what QEMU said', async () => {
  const options = { serve: ['edu'], devices: ['no-such-device'] };
  await expect(Machine.run(options, async () => {})).rejects.toThrow(/no-such-device/);
});
