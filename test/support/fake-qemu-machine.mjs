/*
 * The machine of the fake QEMU: attaches to each vfio-user device, and ends on `quit` over QMP, on SIGTERM, or at once with
 * exit code 1 when it meets a device that it does not know. With FAKE_QEMU_RECORD it writes its arguments to that file.
 */
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { openDevice } from '../../dist/client/index.js';

const words = process.argv.slice(2);
const record = process.env.FAKE_QEMU_RECORD;
if (record !== undefined) writeFileSync(record, JSON.stringify(words));

// QEMU ends in an orderly way and names the signal.
process.on('SIGTERM', () => end('terminating on signal 15'));
process.on('SIGINT', () => end('terminating on signal 2'));
setInterval(() => {}, 1000);

for (const [index, word] of words.entries()) {
  if (word !== '-device') continue;
  const value = words[index + 1];
  if (!value.startsWith('{')) fail(`-device ${value}: '${value}' is not a valid device model name`);
  const { driver, socket } = JSON.parse(value);
  if (driver !== 'vfio-user-pci') fail(`-device ${value}: '${driver}' is not a valid device model name`);
  await openDevice(socket.path).catch((error) => fail(`-device ${value}: ${error.message}`));
}

if (words[words.indexOf('-qmp') + 1] === 'stdio') {
  console.log('{"QMP": {"version": {"qemu": {"major": 11}}, "capabilities": []}}');
  createInterface({ input: process.stdin }).on('line', (line) => {
    console.log('{"return": {}}');
    if (JSON.parse(line).execute === 'quit') process.exit(0);
  });
}

function fail(text) {
  process.stderr.write(`qemu: ${text}\n`);
  process.exit(1);
}

function end(text) {
  process.stderr.write(`qemu: ${text}\n`);
  process.exit(0);
}
