import { describe, expect, test } from 'vitest';
import { allFindings, designNamed, foundTrace, NASTY_PROGRAM } from '../../test/support/findings.ts';
import { DESIGNS } from '../sim/index.ts';
import { visible } from './text.ts';
import { timeline } from './timeline.ts';
import type { Trace, TraceStep } from './trace.ts';
import { trace } from './trace.ts';

function step(thread: string, text: string, more: Partial<TraceStep> = {}): TraceStep {
  const operation = { op: 'reset', device: 'gpu' } as const;
  const none = { changes: [], violations: [], locks: [] };
  return { thread, operation, step: text, move: 0, begins: true, ends: true, ...none, ...more };
}

const TINY: Trace = {
  program: 'tiny',
  design: 'mine',
  devices: { gpu: 'pci' },
  steps: [
    step('setup', 'opens gpu', { operation: { op: 'open', process: 'vmm', device: 'gpu' }, ends: false }),
    step('setup', 'is done', { operation: { op: 'open', process: 'vmm', device: 'gpu' }, begins: false }),
    step('a', 'takes a lock', { ends: false }),
    step('b', 'waits'),
    step('a', 'breaks it', {
      begins: false,
      changes: [{ where: 'device gpu', what: 'decode of gpu', value: 'off' }],
      violations: [{ property: 'R4', text: 'somebody reaches something' }],
    }),
  ],
  stuck: [],
};

describe('a timeline', () => {
  test('as a list: number, thread, step and change; the setup in one line; the mark, the property, the sentence', () => {
    expect(timeline(TINY, { columns: 80, form: 'list' })).toEqual([
      'tiny under mine: 5 steps',
      '',
      '   setup: opens gpu (2 steps)',
      ' 3 a  takes a lock',
      ' 4 b  waits',
      '!! a  breaks it     decode of gpu: off',
      '',
      '!! R4 (reach) is broken: step 5',
      '   somebody reaches something',
    ]);
  });

  test('as columns: each thread has one, and time goes down', () => {
    const lines = timeline(TINY, { columns: 80 });
    expect(lines.slice(3, 9).map((line) => line.replace(/ +/g, ' ').replace(/-+/g, '-'))).toEqual([
      ' | a | b',
      ' +-+-',
      ' 3 | takes a lock |',
      ' 4 | | waits',
      '!! | breaks it |',
      ' | = decode of gpu: off |',
    ]);
    const bars = lines.slice(3, 9).map((line) => line.replace('+', '|').replace('-+', '-|').lastIndexOf('|'));
    expect(new Set(bars).size).toBe(1);
  });

  test('is a list where columns have no room', () => {
    expect(timeline(TINY, { columns: 50, form: 'columns' })).toEqual(
      timeline(TINY, { columns: 50, form: 'list' }),
    );
  });

  test('fits into the columns it is given, in both forms, for every finding of every design', () => {
    for (const design of DESIGNS) {
      for (const { trace, property } of allFindings(design)) {
        for (const columns of [40, 80, 132]) {
          for (const form of ['list', 'columns'] as const)
            for (const line of timeline(trace, { columns, form, property }))
              expect(line.length).toBeLessThanOrEqual(columns);
        }
      }
    }
  });

  test('tells of the miscoding: what was asked for first, then what else broke', () => {
    const lines = timeline(foundTrace('decode', 'rfc-2021', 'R5'), { columns: 80, property: 'R5' });
    const text = lines.join('\n');
    expect(text).toContain('setup: opens gpu, maps window and maps peer for DMA (13 steps; breaks R1)');
    expect(text).toMatch(/^!! driver {2}clears memory decode of gpu +decode of gpu: off$/m);
    const verdicts = lines.filter((line) => line.startsWith('!! R'));
    expect(verdicts).toEqual(['!! R5 (scope) is broken: step 16', '!! R6 (lifetime) is broken: step 16']);
    const words = text.replace(/\s+/g, ' ');
    expect(words).toContain('BAR2 of gpu was taken away, but window is still in a page table');
    expect(words).toContain('vm_pgoff is the physical page');
  });

  test('unfolds the operation of the setup that breaks something', () => {
    // Opening the device is 3 steps; the mapping that is miscoded is the second of the next operation.
    const lines = timeline(foundTrace('decode', 'linux-5.11', 'R1'), { columns: 80 });
    expect(lines[2]).toBe('   setup: opens gpu (3 steps)');
    expect(lines[3]).toBe(' 4 setup  takes the mmap lock of vmm');
    expect(lines[4]).toMatch(/^!! setup {2}maps window/);
  });

  test('names what a step in between breaks', () => {
    const lines = timeline(foundTrace('split', 'linux-6.12', 'R4'), { columns: 80, form: 'list' });
    expect(lines.find((line) => line.includes('clears memory decode'))).toBeDefined();
    expect(lines.filter((line) => line.includes('breaks R6'))).toHaveLength(1);
    const columns = timeline(foundTrace('split', 'linux-6.12', 'R4'), { columns: 80, form: 'columns' });
    expect(columns.filter((line) => line.includes('! breaks R6'))).toHaveLength(1);
  });

  test('says that nothing can move', () => {
    const stuck = [{ property: 'deadlock', text: 'a waits for ever: it takes a lock' }] as const;
    const steps = TINY.steps.slice(0, 4);
    expect(timeline({ ...TINY, steps, stuck }, { columns: 80 }).slice(-2)).toEqual([
      '!! deadlock is broken: nothing can move any more',
      '   a waits for ever: it takes a lock',
    ]);
  });

  test('says when nothing is broken, and shows a trace of no steps', () => {
    const steps = TINY.steps.slice(0, 4);
    expect(timeline({ ...TINY, steps }, { columns: 80 }).at(-1)).toBe('nothing is broken');
    expect(timeline({ ...TINY, steps: [] }, { columns: 0 })).toEqual([
      'tiny under mine: 0 steps',
      '',
      '',
      'nothing is broken',
    ]);
  });

  test('styles only what it shows anyway', () => {
    const wrap = (text: string): string => `<${text}>`;
    const style = { strong: wrap, faint: wrap, bad: wrap };
    for (const form of ['list', 'columns'] as const) {
      const styled = timeline(TINY, { columns: 80, form, style });
      expect(styled.map((line) => line.replace(/[<>]/g, '').trimEnd())).toEqual(
        timeline(TINY, { columns: 80, form }),
      );
      expect(styled.some((line) => line.includes('<breaks it'))).toBe(true);
    }
  });

  test('lets no name reach the terminal as it is', () => {
    const design = designNamed('linux-6.12');
    const moves = [...new Array<number>(12).fill(0), 64, 64, 64];
    for (const form of ['list', 'columns'] as const) {
      for (const line of timeline(trace(NASTY_PROGRAM, design, moves), { columns: 100, form }))
        expect(visible(line)).toBe(line);
    }
  });
});
