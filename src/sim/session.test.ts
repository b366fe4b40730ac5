import { expect, test } from 'vitest';
import { designNamed } from './designs.ts';
import { pciDevice } from './program.ts';
import { Session } from './session.ts';

const MACHINE = { devices: { gpu: pciDevice() }, processes: ['vmm'], containers: ['nics'] };

function sessionOf(design: string): Session {
  return new Session(MACHINE, designNamed(design));
}

function opened(design: string): Session {
  const session = sessionOf(design);
  session.run({ op: 'open', process: 'vmm', device: 'gpu' });
  session.run({ op: 'mmap', process: 'vmm', device: 'gpu', region: 2, as: 'window' });
  return session;
}

test('what the CPU wrote is read by DMA, and the other way round', () => {
  const session = opened('node-vfio');
  expect(session.run({ op: 'write', vma: 'window', value: 7 }).result).toBe('value 7');
  expect(session.run({ op: 'mapDma', container: 'nics', vma: 'window', as: 'peer' }).result).toBe('ok');
  expect(session.run({ op: 'dmaRead', mapping: 'peer' }).result).toBe('value 7');
  session.run({ op: 'dmaWrite', mapping: 'peer', value: 9 });
  expect(session.run({ op: 'read', vma: 'window' }).result).toBe('value 9');
});

test('while decode is off a touch is SIGBUS, a DMA a fault and MAP_DMA is EFAULT; then all is back', () => {
  const session = opened('node-vfio');
  session.run({ op: 'write', vma: 'window', value: 7 });
  session.run({ op: 'mapDma', container: 'nics', vma: 'window', as: 'peer' });
  session.run({ op: 'disable', device: 'gpu' });
  expect(session.look().get('decode of gpu')).toBe('off');
  expect(session.run({ op: 'read', vma: 'window' }).result).toBe('SIGBUS');
  expect(session.run({ op: 'dmaRead', mapping: 'peer' }).result).toBe('fault');
  expect(session.run({ op: 'mapDma', container: 'nics', vma: 'window', page: 1, as: 'other' }).result).toBe(
    'EFAULT',
  );
  session.run({ op: 'enable', device: 'gpu' });
  expect(session.run({ op: 'read', vma: 'window' }).result).toBe('value 7');
  expect(session.run({ op: 'dmaRead', mapping: 'peer' }).result).toBe('value 7');
});

test('type1 goes on reaching a device that was closed, and the session says so', () => {
  const session = opened('linux-6.12');
  session.run({ op: 'mapDma', container: 'nics', vma: 'window', as: 'peer' });
  session.run({ op: 'munmap', vma: 'window' });
  session.run({ op: 'close', process: 'vmm', device: 'gpu' });
  const { violations } = session.run({ op: 'dmaRead', mapping: 'peer' });
  expect(violations.map(({ property }) => property)).toEqual(['R4', 'R6']);
});

test('an operation that names what is not there is EINVAL, and nothing has happened', () => {
  const session = sessionOf('node-vfio');
  expect(() => session.run({ op: 'reset', device: 'nic' })).toThrow('no device is named');
  expect(session.run({ op: 'open', process: 'vmm', device: 'gpu' }).result).toBe('ok');
});
