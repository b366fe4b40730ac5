import { describe, expect, test } from 'vitest';
import {
  allFindings,
  designNamed,
  findingOf,
  foundTrace,
  NASTY_PROGRAM,
  programNamed,
} from '../../test/support/findings.ts';
import { DESIGNS } from '../sim/index.ts';
import { causeOf } from './cause.ts';
import { explain } from './explain.ts';
import { visible } from './text.ts';
import { type Trace, type TraceStep, trace } from './trace.ts';

function step(thread: string, text: string, begins: boolean, ends: boolean): TraceStep {
  const operation = { op: 'disable', device: 'gpu' } as const;
  return { thread, operation, step: text, move: 0, begins, ends, changes: [], violations: [], locks: [] };
}

const RACE: Trace = {
  program: 'race',
  design: 'mine',
  devices: { gpu: 'pci' },
  steps: [
    step('driver', 'takes the memory lock', true, false),
    step('driver', 'clears the entry', false, false),
    step('nic', 'sends a DMA: the IOMMU walks', true, false),
    step('nic', 'the DMA arrives', false, true),
    step('driver', 'clears memory decode', false, true),
    step('driver', 'takes a nap', true, true),
    {
      ...step('nic', 'sends another', true, false),
      violations: [{ property: 'R4', text: 'a DMA reaches BAR2' }],
    },
  ],
  stuck: [],
};

describe('an explanation', () => {
  test('tells who did what, and what happened in the middle of it', () => {
    expect(explain(RACE, 'R4', designNamed('node-vfio'))[1]).toBe(
      'The driver takes the memory lock and clears the entry. ' +
        'Meanwhile, the nic sends a DMA (the IOMMU walks). The DMA arrives. ' +
        'Then the driver goes on: it clears memory decode. Then it takes a nap. ' +
        'Then the nic sends another.',
    );
  });

  test('of the miscoding names the rule, BAR2, the words of the reason and the choice', () => {
    const design = designNamed('rfc-2021');
    const [rule, happened, broke, cause, ...more] = explain(
      foundTrace('decode', 'rfc-2021', 'R5'),
      'R5',
      design,
    );
    expect(rule).toMatch(/^R5 \(scope\): When the BARs go, /);
    expect(happened).toBe(
      'The setup opens gpu, maps window and maps peer for DMA (13 steps). ' +
        'The driver takes the memory lock of gpu, says that the memory of gpu goes away and clears memory decode of gpu.',
    );
    expect(broke).toContain(
      'Step 16 breaks R5: BAR2 of gpu was taken away, but window is still in a page table',
    );
    expect(broke).toContain('its vm_pgoff is the physical page');
    expect(broke).toContain('The same step also breaks R6 (lifetime).');
    expect(broke).toContain('Before that, R1 (coding) was broken.');
    expect(cause).toContain('codes vm_pgoff as a physical page number');
    expect(more).toEqual([]);
  });

  test('says when the trace does not break the property, and then gives no cause', () => {
    const paragraphs = explain(RACE, 'R8', designNamed('linux-5.11'));
    expect(paragraphs.at(-1)).toBe('This trace does not break R8.');
  });

  test('of a thread that waits for ever', () => {
    const text = 'driver waits for ever: it takes a lock';
    const stuck = [
      { property: 'deadlock', text },
      { property: 'progress', text },
    ] as const;
    const broke = explain(
      { ...RACE, steps: RACE.steps.slice(0, 2), stuck },
      'deadlock',
      designNamed('node-vfio'),
    );
    expect(broke[2]).toBe(`Now nothing can move any more: ${text}. That also breaks progress.`);
  });

  test('of a deadlock says who has what the other needs', () => {
    // MAP_DMA takes the container's lock first here, and decode off the memory lock first.
    const ours = designNamed('node-vfio');
    const map = ['lock container', 'lock memory', 'insert', 'reference', 'program', 'unlock'];
    const design = { ...ours, order: { ...ours.order, map } };
    const program = programNamed('mapping');
    const { moves, stuck } = findingOf(program, design, 'deadlock');
    expect(stuck).toBe(true);
    const broke = explain(trace(program, design, moves), 'deadlock', design)[2];
    expect(broke).toContain('vmm waits for ever: it takes the memory lock of gpu');
    expect(broke).toContain('driver waits for ever: it takes the lock of container nics');
    expect(broke).toMatch(/At that time .*vmm has the lock of container nics/);
    expect(broke).toMatch(/At that time .*driver has the memory lock of gpu/);
  });

  test('of every finding has a rule, a story, a verdict and a cause', () => {
    for (const design of DESIGNS) {
      for (const { trace, property } of allFindings(design)) {
        const paragraphs = explain(trace, property, design);
        expect(paragraphs).toHaveLength(4);
        for (const paragraph of paragraphs) expect(paragraph).toMatch(/^[A-Z].*\.$/);
      }
    }
  });

  test('shows nasty names as what they are', () => {
    const design = designNamed('linux-6.12');
    const moves = [...new Array<number>(12).fill(0), 64, 64, 64];
    for (const paragraph of explain(trace(NASTY_PROGRAM, design, moves), 'R6', design))
      expect(visible(paragraph)).toBe(paragraph);
  });
});

describe('the cause', () => {
  const decode = foundTrace('decode', 'rfc-2021', 'R5');
  const rfc = designNamed('rfc-2021');

  test('follows the data of the design', () => {
    const kinds = foundTrace('kinds', 'linux-6.12', 'R5');
    expect(causeOf(kinds, 'R5', designNamed('linux-6.12'))).toContain('this design zaps nothing');
    const released = foundTrace('release', 'linux-6.12', 'R4');
    expect(causeOf(released, 'R4', designNamed('linux-6.12'))).toContain(
      'Nobody tells the IOMMU: this design has no notifier',
    );
    const suspended = foundTrace('decode', 'seed-mail', 'R6');
    expect(causeOf(suspended, 'R6', designNamed('seed-mail'))).toContain('is told of a release only');
    const back = foundTrace('decode', 'dma-buf-6.19', 'R7');
    expect(causeOf(back, 'R7', designNamed('dma-buf-6.19'))).toContain('There is no way back');
    const foreign = foundTrace('foreign', 'linux-6.12', 'R2');
    expect(causeOf(foreign, 'R2', designNamed('linux-6.12'))).toContain('MAP_DMA believes the page table');
    const consent = foundTrace('consent', 'linux-6.12', 'R3');
    expect(causeOf(consent, 'R3', designNamed('linux-6.12'))).toContain('Nobody asks the driver');
  });

  test('is not told where its condition does not hold', () => {
    // The same trace, under designs that do not have the choice.
    const ours = designNamed('node-vfio');
    expect(causeOf(decode, 'R5', ours)).toBeNull();
    expect(causeOf(decode, 'R6', ours)).toBeNull();
    expect(causeOf(decode, 'R5', { ...rfc, pgoff: ours.pgoff })).toBeNull();
    // Devices of two kinds were opened, and only one of them is miscoded: nobody can say which of them it was.
    const mixed = { ...decode, devices: { gpu: 'pci', port: 'mdev' } as const };
    const opened = step('setup', 'opens port', true, true);
    const steps = [
      { ...opened, operation: { op: 'open', process: 'vmm', device: 'port' } as const },
      ...decode.steps,
    ];
    expect(causeOf({ ...mixed, steps }, 'R5', rfc)).toBeNull();
  });

  test('is a step that the design leaves out or does too early', () => {
    const ours = designNamed('node-vfio');
    const { order } = ours;
    const without = { ...ours, order: { ...order, revoke: order.revoke.filter((word) => word !== 'flush') } };
    expect(causeOf(decode, 'R6', without)).toBe('This design leaves out steps: "flush" of "revoke".');
    const disable = ['lock memory', 'hardware off', 'withdraw', 'unlock'];
    expect(causeOf(decode, 'R5', { ...ours, order: { ...order, disable } })).toBe(
      'This design does "hardware off" of "disable" before "withdraw".',
    );
    // The trace never unmaps, so what is wrong there is not told.
    const unmap = order.unmap.filter((word) => word !== 'let go');
    expect(causeOf(decode, 'R6', { ...ours, order: { ...order, unmap } })).toBeNull();
  });
});
