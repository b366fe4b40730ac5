import { describe, expect, it } from 'vitest';
import { type KvmFacts, kvmObstacle } from './kvm.ts';

const GOOD: KvmFacts = { accessError: '', cpuInfo: 'flags\t\t: fpu vmx sse\n', architecture: 'x64' };

describe('kvmObstacle', () => {
  it.each<[string, Partial<KvmFacts>]>([
    ['Intel', {}],
    ['AMD', { cpuInfo: 'processor: 0\nflags : svm\n' }],
    ['arm64, whose processors list no such flag', { architecture: 'arm64', cpuInfo: '' }],
  ])('sees none on %s', (_what, change) => {
    expect(kvmObstacle({ ...GOOD, ...change })).toBeNull();
  });

  it.each<[string, Partial<KvmFacts>, string]>([
    ['no /dev/kvm', { accessError: 'ENOENT' }, 'no /dev/kvm'],
    ['a /dev/kvm of others', { accessError: 'EACCES' }, 'EACCES'],
    ['a processor that cannot', { cpuInfo: 'flags: fpu novmx\n' }, 'neither vmx nor svm'],
    ['a word that only looks so', { cpuInfo: 'vmx flags : ept\nflags\t: fpu\n' }, 'neither vmx nor svm'],
  ])('sees %s', (_what, change, text) => {
    const obstacle = kvmObstacle({ ...GOOD, ...change });
    expect(obstacle?.reason).toContain(text);
    expect(obstacle?.nextStep).not.toBe('');
  });
});
