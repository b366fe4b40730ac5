import { describe, expect, it } from 'vitest';
import { parsePciIds, systemPciNames } from './pci-ids.ts';

// The format as pci.ids documents it at its top: vendor; tab device; two tabs subsystem; `C` starts a class.
const SAMPLE = [
  '# comment',
  '1af4  Red Hat, Inc.',
  '\t1000  Virtio network device',
  '\t\t01de fffb  Propolis',
  '# a comment inside a block',
  '\t1110  Inter-VM shared memory',
  '1b36  Red Hat, Inc. (second)',
  '\t0010  QEMU NVM Express Controller',
  'C 05  Memory controller',
  '\t00  RAM memory',
  '\t01  FLASH memory',
  'C 06  Bridge',
  '',
].join('\n');

describe('parsePciIds', () => {
  const names = parsePciIds(SAMPLE);

  it('finds vendors and devices', () => {
    expect(names.vendor(0x1af4)).toBe('Red Hat, Inc.');
    expect(names.device(0x1af4, 0x1110)).toBe('Inter-VM shared memory');
    expect(names.device(0x1b36, 0x0010)).toBe('QEMU NVM Express Controller');
  });

  it('does not look into the next vendor, nor at subsystems', () => {
    expect(names.device(0x1af4, 0x0010)).toBeNull();
    expect(names.device(0x1af4, 0x01de)).toBeNull();
    expect(names.vendor(0x1000)).toBeNull();
  });

  it('finds classes and falls back to the base class', () => {
    expect(names.className(0x0500)).toBe('RAM memory');
    expect(names.className(0x0680)).toBe('Bridge');
    expect(names.className(0xff00)).toBeNull();
  });
});

describe('systemPciNames', () => {
  it('knows nothing where there is no file', () => {
    const names = systemPciNames(['/nonexistent/pci.ids']);
    expect(names.vendor(0x1af4)).toBeNull();
  });
});
