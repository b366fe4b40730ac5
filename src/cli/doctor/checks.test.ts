import { describe, expect, it } from 'vitest';
import { styleFor } from '../terminal.ts';
import { CHECKS, type Finding } from './checks.ts';
import type { Probe } from './probe.ts';
import { renderFindings } from './render.ts';

const QEMU = { version: '11.1.3', hasVfioUserPci: true, machine: 'q35', hasKvm: true };
const FOUND = { path: '/usr/bin/q', source: 'PATH', ...QEMU } as const;

/** A machine that has everything. */
const GOOD: Probe = {
  nodeVersion: '20.19.0',
  addonError: null,
  memory: { error: null, sealHolds: true, refusesSeals: true },
  memfdNoexec: 0,
  maxOpenFiles: 1024,
  maxLockedBytes: Number.POSITIVE_INFINITY,
  maxMapCount: 65_530,
  sockets: { runtimeFolder: '/run/user/1000', folder: '/run/user/1000', error: null },
  qemu: { found: FOUND, rejected: [] },
  kvm: { accessError: '', cpuInfo: 'flags\t: vmx', architecture: 'x64' },
  hasCachedGuest: true,
  hasKernelVfio: true,
  osRelease: 'ID=debian\nVERSION_CODENAME=trixie\n',
};

function findings(change: Partial<Probe> = {}): readonly Finding[] {
  return CHECKS.map((check) => check({ ...GOOD, ...change }));
}

const BROKEN: readonly (readonly [
  what: string,
  change: Partial<Probe>,
  check: string,
  state: Finding['state'],
  text: string,
])[] = [
  ['an old Node', { nodeVersion: '18.20.4' }, 'node', 'problem', '20.19'],
  ['a Node of the right major only', { nodeVersion: '20.18.3' }, 'node', 'problem', '20.19'],
  ['no addon', { addonError: 'no prebuild', memory: null }, 'addon', 'problem', 'g++'],
  ['no addon to make memory with', { memory: null }, 'memory', 'note', 'without the addon'],
  [
    'no memfd',
    { memory: { error: 'EPERM', sealHolds: false, refusesSeals: false } },
    'memory',
    'problem',
    'seccomp',
  ],
  [
    'no memfd, for a reason',
    { memory: { error: 'EACCES', sealHolds: false, refusesSeals: false }, memfdNoexec: 2 },
    'memory',
    'problem',
    'memfd_noexec=0',
  ],
  ['no seals', { memory: { error: null, sealHolds: false, refusesSeals: true } }, 'memory', 'problem', 'cut'],
  [
    'memory that clients can seal',
    { memory: { error: null, sealHolds: true, refusesSeals: false }, memfdNoexec: 1 },
    'memory',
    'problem',
    'vm.memfd_noexec is 1',
  ],
  ['few files', { maxOpenFiles: 255 }, 'open-files', 'problem', 'ulimit -Hn'],
  ['fewer files than usual', { maxOpenFiles: 1023 }, 'open-files', 'note', '511'],
  ['no limit of files', { maxOpenFiles: null }, 'open-files', 'note', '/proc'],
  ['few mappings', { maxMapCount: 2047 }, 'mappings', 'problem', 'vm.max_map_count=65530'],
  ['fewer mappings than usual', { maxMapCount: 65_529 }, 'mappings', 'note', 'vm.max_map_count=65530'],
  ['no limit of mappings', { maxMapCount: null }, 'mappings', 'note', '/proc'],
  ['little memory to lock', { maxLockedBytes: 8 << 20 }, 'locked-memory', 'note', '8M'],
  ['no limit of locked memory', { maxLockedBytes: null }, 'locked-memory', 'note', '/proc'],
  [
    'no folder for sockets',
    { sockets: { runtimeFolder: null, folder: null, error: 'EACCES: none' } },
    'sockets',
    'problem',
    'TMPDIR',
  ],
  [
    'a runtime folder that is gone',
    { sockets: { runtimeFolder: '/run/user/7', folder: '/tmp', error: null } },
    'sockets',
    'note',
    '/run/user/7',
  ],
  ['no QEMU', { qemu: { found: null, rejected: [] } }, 'qemu', 'problem', 'trixie-backports'],
  [
    'an old QEMU',
    { qemu: { found: null, rejected: [{ path: '/q', source: 'PATH', reason: 'is QEMU 7.2.22' }] } },
    'qemu',
    'problem',
    '/q (PATH) is QEMU 7.2.22',
  ],
  ['no KVM', { kvm: { ...GOOD.kvm, accessError: 'ENOENT' } }, 'kvm', 'note', '/dev/kvm'],
  [
    'a QEMU without KVM',
    { qemu: { found: { ...FOUND, hasKvm: false }, rejected: [] } },
    'kvm',
    'note',
    'TCG',
  ],
  ['no guest', { hasCachedGuest: false }, 'guest', 'note', 'vfio qemu'],
  ['no kernel VFIO', { hasKernelVfio: false }, 'kernel-vfio', 'note', 'hardware'],
];

describe('CHECKS', () => {
  it('find nothing on a machine that has everything', () => {
    expect(findings().filter((finding) => finding.state !== 'ok')).toEqual([]);
  });

  it.each(BROKEN)('see %s', (_what, change, check, state, text) => {
    const finding = findings(change).find((one) => one.check === check)!;
    expect(finding.state).toBe(state);
    expect([finding.message, ...finding.nextSteps].join(' ')).toContain(text);
    if (state === 'problem') expect(finding.nextSteps).not.toEqual([]);
  });

  it('canary: each check has a machine above on which it fails', () => {
    const seen = new Set(BROKEN.map(([, , check]) => check));
    expect([...seen].sort()).toEqual(
      findings()
        .map((finding) => finding.check)
        .sort(),
    );
  });

  it('say nothing about locked memory where nothing locks any', () => {
    const finding = findings({ maxLockedBytes: 8 << 20, hasKernelVfio: false });
    expect(finding.find((one) => one.check === 'locked-memory')!.state).toBe('ok');
  });
});

describe('renderFindings', () => {
  const style = styleFor({ write: () => {} }, {});

  it('has a line for each check, what to do below it, and a verdict', () => {
    const text = renderFindings(findings({ maxOpenFiles: 100, hasCachedGuest: false }), style);
    expect(text).toMatch(/^ok {7}node {11}20\.19\.0$/m);
    expect(text).toMatch(/^problem {2}open-files {5}100: .*\n {24}-> Raise/m);
    expect(text).toContain('1 in the way');
    expect(renderFindings(findings(), style)).toContain('nothing is in the way');
  });
});
