import { describe, expect, test } from 'vitest';
import type { Design, ORDERS } from '../sim/design.ts';
import { DESIGNS, designNamed } from '../sim/designs.ts';
import { SimulatedHost } from '../sim/host.ts';
import { type Program, pciDevice } from '../sim/program.ts';
import { PROGRAMS } from './programs.ts';
import { search } from './search.ts';

const OURS = designNamed('node-vfio');

/** A machine on which `threads` touch memory of devices of their own. */
function independent(threads: number): Program {
  const names = Array.from({ length: threads }, (_, i) => `d${i}`);
  return {
    name: 'independent',
    devices: Object.fromEntries(names.map((name) => [name, pciDevice()])),
    processes: names,
    containers: [],
    setup: [],
    threads: Object.fromEntries(names.map((name) => [name, [{ op: 'open', process: name, device: name }]])),
  };
}

describe('search', () => {
  test('counts every interleaving once: an open has three steps, so n of them have 4^n states', () => {
    for (const threads of [1, 2, 3])
      expect(search(independent(threads), OURS, { reduce: false }).states).toBe(4 ** threads);
  });

  test('the reduction leaves interleavings out that make no difference', () => {
    const { states, complete } = search(independent(3), OURS);
    expect(complete).toBe(true);
    // Between operations all threads are tried; inside of them one after the other: at most 2^3 states between
    // operations and 2 inside each of the 12 opens that lead from one to another.
    expect(states).toBeLessThanOrEqual(8 + 12 * 2);
  });

  test('two threads that want two locks the other way round are a deadlock', () => {
    const order = {
      ...OURS.order,
      map: ['lock container', 'lock memory', 'insert', 'reference', 'program', 'unlock'],
    };
    const program = PROGRAMS.find(({ name }) => name === 'mapping')!;
    const { findings } = search(program, { ...OURS, name: 'mine', order });
    expect(findings.map(({ property }) => property)).toContain('deadlock');
  });

  test('a lock that is wanted again by who has it is a deadlock', () => {
    const design = {
      ...OURS,
      name: 'mine',
      order: { ...OURS.order, enable: ['lock memory', 'hardware on', 'return'] },
    };
    const program: Program = {
      ...independent(1),
      setup: [
        { op: 'open', process: 'd0', device: 'd0' },
        { op: 'disable', device: 'd0' },
      ],
      threads: {
        driver: [
          { op: 'enable', device: 'd0' },
          { op: 'disable', device: 'd0' },
        ],
      },
    };
    // Also without a second enable, a lock that nobody will let go is told of.
    expect(search(program, design).findings.map(({ property }) => property)).toEqual(['deadlock']);
    expect(search(program, OURS).findings).toEqual([]);
  });

  test('a thread that faults for ever hides nothing that others do', () => {
    const order = { ...OURS.order, fault: ['lock mm', 'lock memory', 'look up', 'unlock'] };
    const design: Design = { ...OURS, name: 'mine', notifier: 'none', order };
    const program: Program = {
      ...independent(2),
      containers: ['nics'],
      setup: [
        { op: 'open', process: 'd0', device: 'd0' },
        { op: 'open', process: 'd1', device: 'd1' },
        { op: 'mmap', process: 'd0', device: 'd0', region: 0, as: 'alone' },
        { op: 'mmap', process: 'd1', device: 'd1', region: 0, as: 'window' },
        { op: 'mapDma', container: 'nics', vma: 'window', as: 'peer' },
      ],
      threads: {
        cpu: [{ op: 'read', vma: 'alone' }],
        host: [{ op: 'disable', device: 'd1' }],
        nic: [{ op: 'dmaRead', mapping: 'peer' }],
      },
    };
    const broken = (reduce: boolean): string[] =>
      search(program, design, { reduce }).findings.map(({ property }) => property);
    expect(broken(true)).toEqual(broken(false));
    expect(broken(true)).toEqual(expect.arrayContaining(['R4', 'R6', 'progress']));
  });

  test('a finding is a shortest one: nothing is broken in fewer steps', () => {
    const program = PROGRAMS.find(({ name }) => name === 'decode')!;
    const { findings } = search(program, designNamed('linux-6.12'));
    const r4 = findings.find(({ property }) => property === 'R4')!;
    const shallower = search(program, designNamed('linux-6.12'), {
      reduce: false,
      depth: r4.moves.length - 1,
    });
    expect(shallower.complete).toBe(false);
    expect(shallower.findings.map(({ property }) => property)).not.toContain('R4');
  });

  test('the moves of a finding break its property when they are taken', () => {
    for (const design of DESIGNS) {
      for (const { property, moves, stuck } of search(PROGRAMS[0]!, design).findings) {
        const host = new SimulatedHost(PROGRAMS[0]!, design);
        host.machine.explaining = true;
        const state = host.initial();
        for (const move of moves) host.take(state, move);
        if (stuck) host.stuck(state);
        expect(host.violations.map((each) => each.property)).toContain(property);
      }
    }
  });

  test('a limit of states or depth makes the result incomplete', () => {
    expect(search(PROGRAMS[0]!, OURS, { stateLimit: 100 }).complete).toBe(false);
    expect(search(PROGRAMS[0]!, OURS, { depth: 20 }).complete).toBe(false);
  });

  test('the states do not depend on how often the program was run before', () => {
    const [first, again] = [search(PROGRAMS[0]!, OURS), search(PROGRAMS[0]!, OURS)];
    expect(again).toEqual(first);
  });
});

describe('the reduction finds what the full search finds', () => {
  // Our design, and each design that differs from it by one step that is missing or two that changed places.
  const designs: Design[] = [...DESIGNS];
  for (const [operation, words] of Object.entries(OURS.order) as [keyof typeof ORDERS, readonly string[]][]) {
    for (let i = 0; i < words.length; i++) {
      const name = `${operation} without '${words[i]}'`;
      designs.push({
        ...OURS,
        name,
        order: { ...OURS.order, [operation]: words.filter((_, at) => at !== i) },
      });
      if (i === 0) continue;
      const swapped = [...words];
      [swapped[i - 1], swapped[i]] = [words[i]!, words[i - 1]!];
      const exchange = `${operation} with '${words[i]}' before '${words[i - 1]}'`;
      designs.push({ ...OURS, name: exchange, order: { ...OURS.order, [operation]: swapped } });
    }
  }
  const small = PROGRAMS.filter(({ name }) =>
    ['decode', 'release', 'fork', 'consent', 'mapping'].includes(name),
  );

  test.each(designs)('$name', (design) => {
    for (const program of small) {
      const brief = (reduce: boolean): string[] =>
        search(program, design, { reduce }).findings.map(
          ({ property, moves }) => `${property} ${moves.length}`,
        );
      expect(brief(true), program.name).toEqual(brief(false));
    }
  });
});
