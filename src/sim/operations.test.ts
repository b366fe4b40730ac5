import { describe, expect, test } from 'vitest';
import { search } from '../explore/search.ts';
import type { Design } from './design.ts';
import { DESIGNS } from './designs.ts';
import { parseProgram } from './parse-program.ts';
import { type Operation, type Program, pciDevice } from './program.ts';
import { type MachineDescription, Session } from './session.ts';

const MACHINE: MachineDescription = {
  devices: {
    gpu: { kind: 'pci', regions: [{ index: 2, pages: 4 }] },
    board: { kind: 'pci', regions: [{ index: 0 }], resettable: false },
    ram: { kind: 'memory', regions: [{ index: 0, pages: 4 }] },
  },
  processes: ['vmm', 'child'],
  containers: ['nics'],
};

const design = (name: string): Design => DESIGNS.find((each) => each.name === name)!;

/** A session, and what an operation answers in it. */
function started(name: string, machine: MachineDescription = MACHINE): (operation: Operation) => string {
  const session = new Session(machine, design(name));
  const run = (operation: Operation): string => session.run(operation).result;
  for (const device of ['gpu', 'board']) run({ op: 'open', process: 'vmm', device });
  run({ op: 'mmap', process: 'vmm', device: 'gpu', region: 2, as: 'bar' });
  run({ op: 'mmap', process: 'vmm', device: 'ram', region: 0, as: 'heap' });
  return run;
}

const map = (vma: string, rest: Partial<Extract<Operation, { op: 'mapDma' }>> = {}): Operation => ({
  op: 'mapDma',
  container: 'nics',
  vma,
  as: vma,
  ...rest,
});

test('an operation that cannot fail is ok, whatever the one before it answered', () => {
  const run = started('node-vfio');
  expect(run(map('bar', { pages: 5 }))).toBe('EFAULT');
  expect(run({ op: 'reset', device: 'gpu' })).toBe('ok');
});

describe.each(['node-vfio', 'linux-6.12'])('under %s', (name) => {
  test('an mmap stays inside its region, and has pages', () => {
    const run = started(name);
    const mmap = (page: number, pages: number): string =>
      run({ op: 'mmap', process: 'vmm', device: 'gpu', region: 2, page, pages, as: `${page}+${pages}` });
    expect([mmap(0, 5), mmap(4, 1), mmap(3, 2), mmap(0, 0), mmap(3, 1)]).toEqual([
      'EINVAL',
      'EINVAL',
      'EINVAL',
      'EINVAL',
      'ok',
    ]);
  });

  test('what a process may not do with a mapping is SIGSEGV, until mprotect; a child inherits that', () => {
    const run = started(name);
    run({ op: 'mmap', process: 'vmm', device: 'gpu', region: 2, protection: 'r', as: 'window' });
    expect(run({ op: 'read', vma: 'window' })).toBe('value 0');
    expect(run({ op: 'write', vma: 'window' })).toBe('SIGSEGV');
    run({ op: 'fork', process: 'vmm', child: 'child' });
    expect(run({ op: 'mprotect', vma: 'window', protection: 'w' })).toBe('ok');
    expect(run({ op: 'write', vma: 'window', value: 5 })).toBe('value 5');
    expect(run({ op: 'read', vma: 'window' })).toBe('value 5');
    expect(run({ op: 'write', vma: 'child/window' })).toBe('SIGSEGV');
    expect(run({ op: 'read', vma: 'child/window' })).toBe('value 5');
    run({ op: 'mprotect', vma: 'window', protection: 'none' });
    expect(run({ op: 'read', vma: 'window' })).toBe('SIGSEGV');
  });

  test('MAP_DMA to write through what may only be read is EFAULT', () => {
    const run = started(name);
    run({ op: 'mmap', process: 'vmm', device: 'gpu', region: 2, protection: 'r', as: 'window' });
    expect(run(map('window'))).toBe('EFAULT');
    expect(run(map('window', { access: 'r', as: 'read-only' }))).toBe('ok');
    expect(run({ op: 'dmaRead', mapping: 'read-only' })).toBe('value 0');
    expect(run({ op: 'dmaWrite', mapping: 'read-only' })).toBe('fault');
  });

  test('several pages are munmapped at an end', () => {
    const run = started(name);
    run({ op: 'write', vma: 'bar', page: 0, value: 9 });
    expect(run({ op: 'munmap', vma: 'bar', part: 'tail', pages: 3 })).toBe('ok');
    expect(run({ op: 'read', vma: 'bar', page: 1 })).toBe('refused');
    expect(run({ op: 'read', vma: 'bar', page: 0 })).toBe('value 9');
  });

  test('a VMA of which both ends are unmapped is forked, and holds the device in both processes', () => {
    const session = new Session(MACHINE, design(name));
    const operations: Operation[] = [
      { op: 'open', process: 'vmm', device: 'gpu' },
      { op: 'mmap', process: 'vmm', device: 'gpu', region: 2, as: 'bar' },
      { op: 'munmap', vma: 'bar', part: 'head' },
      { op: 'munmap', vma: 'bar', part: 'tail' },
      { op: 'fork', process: 'vmm', child: 'child' },
    ];
    const broken = operations.flatMap((operation) => session.run(operation).violations);
    expect(broken.filter(({ property }) => property === 'leak')).toEqual([]);
    // Two files and two VMAs.
    expect(session.look().get('opens of gpu')).toBe('4');
  });

  test('a mapping of several pages leads to each of them', () => {
    const run = started(name);
    run({ op: 'write', vma: 'bar', page: 3, value: 8 });
    expect(run(map('bar', { page: 1, pages: 3 }))).toBe('ok');
    expect(run({ op: 'dmaRead', mapping: 'bar', page: 2 })).toBe('value 8');
    run({ op: 'dmaWrite', mapping: 'bar', page: 1, value: 7 });
    expect(run({ op: 'read', vma: 'bar', page: 2 })).toBe('value 7');
    expect(() => run({ op: 'dmaRead', mapping: 'bar', page: 3 })).toThrow('no page 3');
  });

  test('memory of the machine is mapped without opening anything, and stays pinned', () => {
    const run = started(name);
    run({ op: 'write', vma: 'heap', page: 1, value: 6 });
    expect(run(map('heap', { pages: 4 }))).toBe('ok');
    expect(run({ op: 'munmap', vma: 'heap' })).toBe('ok');
    expect(run({ op: 'dmaRead', mapping: 'heap', page: 1 })).toBe('value 6');
    expect(() => run({ op: 'disable', device: 'ram' })).toThrow('no device');
  });

  test('MAP_DMA says what is wrong in the order of type1', () => {
    const run = started(name, { ...MACHINE, iommu: { iovaRanges: [{ start: 0, end: 2 ** 40 }] } });
    expect(run(map('heap', { iova: 0x10_0000, pages: 2 }))).toBe('ok');
    const refused = (rest: Partial<Extract<Operation, { op: 'mapDma' }>>): string =>
      run(map('heap', { as: JSON.stringify(rest), iova: 0x20_0000, ...rest }));
    expect(refused({ access: 'none' })).toBe('EINVAL');
    expect(refused({ pages: 1.5 })).toBe('EINVAL');
    expect(refused({ pages: 0 })).toBe('EINVAL');
    expect(refused({ page: 0.5 })).toBe('EINVAL');
    expect(refused({ iova: 0x20_0800, page: 9 })).toBe('EINVAL');
    expect(refused({ iova: 2 ** 53 - 0x1000, pages: 2 })).toBe('EOVERFLOW');
    expect(refused({ iova: 0x10_1000, page: 9 })).toBe('EEXIST');
    expect(refused({ iova: 2 ** 40, page: 9 })).toBe('EINVAL');
    expect(refused({ page: 3, pages: 2 })).toBe('EFAULT');
  });

  test('UNMAP_DMA of a range takes whole mappings, and says how many bytes they had', () => {
    const run = started(name);
    run(map('heap', { iova: 0x10_0000, pages: 2 }));
    run(map('bar', { iova: 0x10_2000, pages: 2 }));
    const unmap = (iova: number, sizeBytes: number, all = false): string =>
      run({ op: 'unmapRange', container: 'nics', iova, sizeBytes, all });
    expect(unmap(0x10_1000, 0x1000)).toBe('EINVAL');
    expect(run({ op: 'dmaRead', mapping: 'heap', page: 1 })).toBe('value 0');
    expect(unmap(0xf_0000, 0x1_2000)).toBe('8192 bytes');
    expect(run({ op: 'dmaRead', mapping: 'heap' })).toBe('refused');
    expect(run({ op: 'dmaRead', mapping: 'bar' })).toBe('value 0');
    expect(unmap(0, 0, true)).toBe('8192 bytes');
    expect(unmap(0, 0, true)).toBe('0 bytes');
    expect(run(map('bar', { iova: 0x10_2000, pages: 2 }))).toBe('ok');
  });

  test('a container that is closed has nothing, and takes nothing', () => {
    const run = started(name);
    run(map('bar'));
    expect(run({ op: 'closeContainer', container: 'nics' })).toBe('ok');
    expect(run({ op: 'dmaRead', mapping: 'bar' })).toBe('refused');
    expect(run(map('bar'))).toBe('EINVAL');
    expect(run({ op: 'unmapRange', container: 'nics', iova: 0, sizeBytes: 0x1000 })).toBe('EINVAL');
  });
});

test('what only the IOTLB still has translates', () => {
  const ours = design('node-vfio');
  const revoke = ours.order.revoke.filter((word) => word !== 'flush');
  const session = new Session(MACHINE, { ...ours, order: { ...ours.order, revoke } });
  const run = (operation: Operation): string => session.run(operation).result;
  run({ op: 'open', process: 'vmm', device: 'gpu' });
  run({ op: 'mmap', process: 'vmm', device: 'gpu', region: 2, as: 'bar' });
  run(map('bar'));
  run({ op: 'dmaWrite', mapping: 'bar', value: 2 });
  run({ op: 'unmapDma', mapping: 'bar' });
  expect(run({ op: 'dmaRead', mapping: 'bar' })).toBe('value 2');
});

describe('a device that nothing resets', () => {
  const use = (run: (operation: Operation) => string): void => {
    run({ op: 'mmap', process: 'vmm', device: 'board', region: 0, as: 'memory' });
    run({ op: 'write', vma: 'memory', value: 3 });
    run(map('memory'));
    run({ op: 'munmap', vma: 'memory' });
    run({ op: 'close', process: 'vmm', device: 'board' });
  };

  test("goes on answering type1's stale entry after its release; one that is reset does not", () => {
    const run = started('linux-6.12');
    use(run);
    expect(run({ op: 'dmaRead', mapping: 'memory' })).toBe('value 3');
    run({ op: 'dmaWrite', mapping: 'memory', value: 5 });
    expect(run({ op: 'dmaRead', mapping: 'memory' })).toBe('value 5');
    run({ op: 'write', vma: 'bar', value: 4 });
    run(map('bar'));
    run({ op: 'munmap', vma: 'bar' });
    run({ op: 'close', process: 'vmm', device: 'gpu' });
    expect(run({ op: 'dmaRead', mapping: 'bar' })).toBe('no answer');
  });

  test('is out of reach under our rules, and has its contents for who opens it next', () => {
    const run = started('node-vfio');
    use(run);
    expect(run({ op: 'dmaRead', mapping: 'memory' })).toBe('fault');
    expect(run({ op: 'reset', device: 'board' })).toBe('refused');
    run({ op: 'open', process: 'vmm', device: 'board' });
    run({ op: 'mmap', process: 'vmm', device: 'board', region: 0, as: 'memory' });
    expect(run({ op: 'read', vma: 'memory' })).toBe('value 3');
  });
});

/** Everything new at the same time: a mapping of two pages, memory, UNMAP_DMA of all, the end of the container. */
const CROWD: Program = {
  name: 'crowd',
  devices: { gpu: pciDevice(), ram: { kind: 'memory', regions: [{ index: 0, pages: 2 }] } },
  processes: ['vmm'],
  containers: ['nics'],
  setup: [
    { op: 'open', process: 'vmm', device: 'gpu' },
    { op: 'mmap', process: 'vmm', device: 'gpu', region: 2, as: 'bar' },
    { op: 'mmap', process: 'vmm', device: 'ram', region: 0, as: 'heap' },
    { op: 'mapDma', container: 'nics', vma: 'bar', pages: 2, as: 'peer' },
    { op: 'mapDma', container: 'nics', vma: 'heap', pages: 2, as: 'memory' },
  ],
  threads: {
    driver: [
      { op: 'disable', device: 'gpu' },
      { op: 'enable', device: 'gpu' },
      { op: 'munmap', vma: 'bar' },
      { op: 'close', process: 'vmm', device: 'gpu' },
    ],
    nic: [
      { op: 'dmaWrite', mapping: 'peer', page: 1 },
      { op: 'dmaRead', mapping: 'memory', page: 1 },
    ],
    vmm: [
      { op: 'unmapRange', container: 'nics', iova: 0, sizeBytes: 0, all: true },
      { op: 'closeContainer', container: 'nics' },
    ],
  },
};

function broken(program: Program, under: Design): string[] {
  const { complete, findings } = search(program, under);
  expect(complete).toBe(true);
  return findings.map(({ property }) => property).sort();
}

describe('in every interleaving', () => {
  test('nothing breaks under our rules', () => {
    expect(broken(CROWD, design('node-vfio'))).toEqual([]);
  });

  test('Linux reaches the BAR after it was taken away', () => {
    expect(broken(CROWD, design('linux-6.12'))).toEqual(['R4', 'R6']);
  });

  test('canary: an unmap of all that does not wait for DMA is seen', () => {
    const ours = design('node-vfio');
    const revoke = ours.order.revoke.filter((word) => word !== 'drain');
    const { driver: _, ...threads } = CROWD.threads;
    const hasty = { ...ours, order: { ...ours.order, revoke } };
    expect(broken({ ...CROWD, threads }, hasty)).toContain('R6');
  });

  test('memory alone breaks nothing, under any design', () => {
    const { driver: _, ...threads } = CROWD.threads;
    const setup = CROWD.setup.filter((operation) => JSON.stringify(operation).includes('heap'));
    const nic = [{ op: 'dmaRead', mapping: 'memory', page: 1 } as const];
    for (const each of DESIGNS) {
      const vmm = [{ op: 'munmap', vma: 'heap' } as const, ...threads['vmm']!];
      expect(broken({ ...CROWD, setup, threads: { nic, vmm } }, each)).toEqual([]);
    }
  });
});

describe('a program from a file', () => {
  const program = (setup: unknown): unknown => ({ ...MACHINE, name: 'p', setup, threads: {} });

  test('may use every operation', () => {
    const setup = [
      ...CROWD.setup,
      { op: 'mprotect', vma: 'bar', protection: 'r' },
      { op: 'munmap', vma: 'bar', part: 'head', pages: 1 },
      ...CROWD.threads['vmm']!,
    ];
    expect(parseProgram(program(setup)).setup).toEqual(setup);
  });

  test.each([
    [{ op: 'mprotect', vma: 'bar', protection: 'x' }, '"protection" is one of none, r, w, rw'],
    [{ op: 'munmap', vma: 'bar', part: 'middle' }, '"part" is one of all, head, tail'],
    [{ op: 'unmapRange', container: 'nics', iova: 'low', sizeBytes: 1 }, '"iova" is a number'],
    [{ op: 'unmapRange', container: 'nics', iova: 0 }, 'unmapRange needs "sizeBytes"'],
  ])('%j is refused', (operation, message) => {
    expect(() => parseProgram(program([operation]))).toThrow(message);
  });
});
