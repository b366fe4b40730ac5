/*
 * A recorded conversation of QEMU, its firmware and a Linux guest about config space, held with our function: the
 * answers must be those that the recorded server gave and the guest lived with.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { PciDevice } from './index.ts';
import { readConfig, writeConfig } from './testing.ts';

const conversation = readFileSync(new URL('qemu-config-space.golden.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'));

/** The function that the recording's server was. */
function gpio(): PciDevice {
  return new PciDevice({
    name: 'gpio-pci-idio-16',
    vendorId: 0x494f,
    deviceId: 0x0dc8,
    subsystemVendorId: 0,
    subsystemId: 0,
    classCode: 0,
    interruptPin: 1,
    bars: { 2: { type: 'io', sizeBytes: 256 } },
    commandAtOpen: 0,
  });
}

function replay(device: PciDevice): string[] {
  device.opened();
  return conversation.map((line) => {
    const [what, offset = '0', bytes = ''] = line.split(' ');
    const at = Number.parseInt(offset, 16);
    if (what === 'reset') void device.reset();
    if (what === 'write') writeConfig(device, at, bytes);
    return what === 'read' ? `read ${offset} ${readConfig(device, at, bytes.length / 2)}` : line;
  });
}

test('QEMU, SeaBIOS and Linux get the answers of the recording', () => {
  expect(conversation.length).toBeGreaterThan(80);
  expect(replay(gpio())).toEqual(conversation);
});

test('canary: a function with another interrupt pin does not', () => {
  expect(replay(new PciDevice({ ...gpio().spec, interruptPin: 2 }))).not.toEqual(conversation);
});
