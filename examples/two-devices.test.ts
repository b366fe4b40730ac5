/** Two processes, two devices, a mapping, a disable: once by hand, then in every interleaving. */

import { search } from 'vfio/explore';
import { designNamed, type Program, pciDevice, Session } from 'vfio/sim';
import { expect, test } from 'vitest';

const program: Program = {
  name: 'two devices',
  devices: { gpu: pciDevice(), nic: pciDevice() },
  processes: ['vmm', 'driver'],
  containers: ['nics'],
  setup: [
    { op: 'open', process: 'vmm', device: 'gpu' },
    { op: 'open', process: 'driver', device: 'nic' },
    { op: 'mmap', process: 'vmm', device: 'gpu', region: 2, as: 'window' },
    { op: 'mapDma', container: 'nics', vma: 'window', as: 'peer' },
  ],
  threads: {
    nic: [
      { op: 'dmaWrite', mapping: 'peer', value: 42 },
      { op: 'dmaRead', mapping: 'peer' },
    ],
    host: [{ op: 'disable', device: 'gpu' }],
  },
};

test('by hand: what the nic wrote is in the window, and out of reach while decode is off', () => {
  const session = new Session(program, designNamed('node-vfio'));
  for (const operation of program.setup) session.run(operation);
  session.run({ op: 'dmaWrite', mapping: 'peer', value: 42 });
  expect(session.run({ op: 'read', vma: 'window' }).result).toBe('value 42');
  session.run({ op: 'disable', device: 'gpu' });
  expect(session.run({ op: 'dmaRead', mapping: 'peer' }).result).toBe('fault');
});

test('every interleaving: nothing breaks under ours; type1 lets the nic reach memory that is off', () => {
  expect(search(program, designNamed('node-vfio')).findings).toEqual([]);
  const broken = search(program, designNamed('linux-6.12')).findings.map(({ property }) => property);
  expect(broken).toEqual(['R4', 'R6']);
});
