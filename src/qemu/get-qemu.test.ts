import { describe, expect, it } from 'vitest';
import { waysToGetQemu, whatIsMissing } from './get-qemu.ts';

describe('waysToGetQemu', () => {
  it.each([
    ['ID=debian\nVERSION_CODENAME=trixie\n', 'trixie-backports'],
    ['ID=debian\nVERSION_CODENAME=bookworm\n', 'too old'],
    ['ID="fedora"\n', 'Fedora 43'],
    ['ID=nobara\nID_LIKE="rhel fedora"\n', 'Fedora 43'],
    ['ID=arch\n', 'Debian 13'],
    ['', 'Debian 13'],
  ])('%j', (osRelease, text) => {
    const ways = waysToGetQemu(osRelease).join('\n');
    for (const way of [text, './configure', 'VFIO_QEMU']) expect(ways).toContain(way);
  });
});

describe('whatIsMissing', () => {
  it('names every program that was looked at', () => {
    expect(whatIsMissing({ found: null, rejected: [] })[0]).toContain('on PATH');
    const rejected = [{ path: '/usr/bin/q', source: 'PATH', reason: 'is QEMU 7.2.22: too old' }] as const;
    expect(whatIsMissing({ found: null, rejected })).toContain('/usr/bin/q (PATH) is QEMU 7.2.22: too old');
  });
});
