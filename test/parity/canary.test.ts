/*
 * The checker of parity sees what it must see: other answers that are in use in the field, lists that say too much, and
 * records that nobody accounts for.
 */
import { describe, expect, test } from 'vitest';
import { Container, type DmaFault, type Translation, VfioError } from '../../src/core/index.ts';
import { judge, LISTS, type Lists, listProblems } from './check.ts';
import { CoreWorld, PROBED_RANGES } from './core-world.ts';
import { type GoldenLine, golden, parseGolden } from './golden.ts';
import { type Answer, runProbe } from './probe.ts';
import { STEPS } from './steps.ts';

const lines = golden();
const asked = STEPS.flatMap(({ id }) => id ?? []);

/** What is wrong with a container in the place of ours, by record. */
async function wrongOf(container: Container): Promise<Map<string, string>> {
  const world = new CoreWorld({ container });
  const answers = await runProbe(world, STEPS);
  world.end();
  const found = new Map<string, string>();
  for (const line of lines) {
    if (!answers.has(line.id)) continue;
    const verdict = judge(line, answers.get(line.id), 'core');
    if (verdict.kind === 'wrong') found.set(line.id, verdict.why);
  }
  return found;
}

describe('another container is seen', () => {
  test("iommufd's own: ENOENT where nothing is mapped", async () => {
    class Iommufd extends Container {
      override unmap(iova: number, size: number, options?: { readonly all?: boolean }): number {
        const bytes = super.unmap(iova, size, options);
        if (bytes === 0) throw new VfioError('ENOENT', 'nothing is mapped there');
        return bytes;
      }
    }
    const wrong = await wrongOf(new Iommufd(PROBED_RANGES));
    expect(wrong.get('3.unmap-nothing-there')).toBe('Linux: 0 size=0x0; here: -1 ENOENT size=0x2000');
    expect([...wrong.keys()]).toEqual([
      '3.unmap-nothing-there',
      '3.unmap-after-failed-map',
      '6.ivshmem.iv.UNMAP_DMA-again',
      '6.nvmecmb.iv.UNMAP_DMA-again',
      '6.pcitestdev.iv.UNMAP_DMA-again',
      '7.unmap-own-BAR',
      '7.unmap-after',
    ]);
  });

  test('type1 before v2: the first page of a mapping stands for all of it, a later one for nothing', async () => {
    class Type1 extends Container {
      override unmap(iova: number, size: number, options?: { readonly all?: boolean }): number {
        const first = this.find(iova);
        if (first === undefined || options?.all || size % 0x1000 !== 0 || size === 0)
          return super.unmap(iova, size, options);
        return first.iova === iova ? super.unmap(iova, Math.max(size, first.size)) : 0;
      }
    }
    const wrong = await wrongOf(new Type1(PROBED_RANGES));
    expect(wrong.get('3.unmap-part-head')).toBe('Linux: -1 EINVAL size=0x1000; here: 0 size=0x2000');
  });

  test('one without the IOVA ranges of the probed machine', async () => {
    expect([...(await wrongOf(new Container())).keys()]).toEqual([
      '2.iommu_cap id=1',
      '3.map-msi-window',
      '3.map-high-iova-1<<48',
      '3.unmap-all',
    ]);
  });

  test('one whose entries reach what is gone, as stale entries do', async () => {
    class Stale extends Container {
      override translate(iova: number, size: number, write: boolean, out: Translation): DmaFault | null {
        const fault = super.translate(iova, size, write, out);
        const mapping = this.find(iova);
        if (fault === null || mapping === undefined) return fault;
        out.add(mapping, mapping.sourceOffset + iova - mapping.iova, size);
        return null;
      }
    }
    const wrong = await wrongOf(new Stale(PROBED_RANGES));
    // What edu reads there is zeros in the record, and from a device that is gone also here: only its faults tell.
    expect([...wrong]).toEqual([
      ['6.ivshmem.i.edu-dma-read-of-BAR-IOVA', missed('memory decode is off')],
      ['6.ivshmem.iv.edu-dma-read-after-release', missed('device is released')],
      ['6.ivshmem.iv.edu-dma-read-after-unset', missed('device is released')],
      ['6.nvmecmb.i.edu-dma-read-of-BAR-IOVA', missed('memory decode is off')],
      ['6.nvmecmb.iii.PM-D3hot-dma', missed('device is in D3hot')],
      ['6.nvmecmb.iv.edu-dma-read-after-release', missed('device is released')],
      ['6.nvmecmb.iv.edu-dma-read-after-unset', missed('device is released')],
      ['6.pcitestdev.i.edu-dma-read-of-BAR-IOVA', missed('memory decode is off')],
      ['6.pcitestdev.iv.edu-dma-read-after-release', missed('device is released')],
      ['6.pcitestdev.iv.edu-dma-read-after-unset', missed('device is released')],
    ]);
  });

  const missed = (reason: string): string => `edu's transfers met [] and not [${reason}]`;
});

describe('the verdict', () => {
  const line: GoldenLine = { id: '3.map', answer: '0' };
  const answer = (says: string | null): Answer => ({ says, wrongFaults: null });
  const nothing: Lists = { differences: [], absent: [], outOfScope: [] };
  const difference = (ours: string, worlds?: string[]): Lists => {
    const record = worlds === undefined ? { id: '3.map', ours } : { id: '3.map', ours, worlds };
    const texts = { matter: '', linux: '', ours: '', why: '', rule: '' };
    return { ...nothing, differences: [{ ...texts, records: [record] }] };
  };
  const absent: Lists = { ...nothing, absent: [{ records: /^3\.map$/, worlds: ['w'], why: '' }] };
  const outside: Lists = { ...nothing, outOfScope: [{ records: /^3\./, why: '' }] };

  test.each([
    ['the same', answer('0'), nothing, 'equal'],
    ['another answer', answer('-1 EINVAL'), nothing, 'wrong'],
    ['another answer, as listed', answer('-1 EINVAL'), difference('-1 EINVAL'), 'deliberate'],
    ['another answer than listed', answer('-1 EFAULT'), difference('-1 EINVAL'), 'wrong'],
    ['the same, listed as different', answer('0'), difference('-1 EINVAL'), 'wrong'],
    ['a difference that is none', answer('0'), difference('0'), 'wrong'],
    ['a difference of another world', answer('-1 EINVAL'), difference('-1 EINVAL', ['v']), 'wrong'],
    ['no answer', answer(null), nothing, 'wrong'],
    ['no answer, as listed', answer(null), absent, 'absent'],
    ['an answer, listed as absent', answer('0'), absent, 'wrong'],
    ['no step', undefined, nothing, 'wrong'],
    ['no step, as listed', undefined, outside, 'out of scope'],
    ['a step, listed as out of scope', answer('0'), outside, 'wrong'],
    ['wrong faults', { says: '0', wrongFaults: 'a fault' }, nothing, 'wrong'],
  ] as const)('on %s', (_name, given, lists, kind) => {
    expect(judge(line, given, 'w', lists).kind).toBe(kind);
  });
});

describe('the lists', () => {
  test('a record that the kernel did not make, a step twice, and patterns of nothing are seen', () => {
    const lists: Lists = {
      differences: [
        {
          matter: 'm',
          linux: '',
          ours: '',
          why: '',
          rule: '',
          records: [{ id: 'x', ours: '', worlds: ['y'] }],
        },
      ],
      absent: [{ records: /^z$/, worlds: ['y'], why: '' }],
      outOfScope: [{ records: /^q$/, why: '' }],
    };
    expect(listProblems(lines, ['3.map', '3.map', '3.mop'], ['core'], lists)).toEqual([
      'a step asks 3.mop, which is no record',
      'two steps ask 3.map',
      'OUT_OF_SCOPE: /^q$/ is no record',
      'ABSENT: /^z$/ is no step',
      'ABSENT: there is no world y',
      'm: x is no step',
      'm: there is no world y',
    ]);
  });

  test('a record that nothing accounts for is seen', () => {
    const [added] = parseGolden('3.map-of-tomorrow|0');
    expect(judge(added!, undefined, 'core').kind).toBe('wrong');
  });

  test('every record has an id of its own', () => {
    expect(new Set(lines.map(({ id }) => id)).size).toBe(lines.length);
    expect(asked.length).toBeGreaterThan(0);
    expect(LISTS.differences.length).toBeGreaterThan(0);
  });
});

test.each([
  ['6.x.iii.cmd-after(was |BME)|0107', '6.x.iii.cmd-after(was |BME)', '0107'],
  ['region|0000:00:04.0[0] rc=0 flags=0x7', 'region 0000:00:04.0[0]', 'rc=0 flags=0x7'],
  ['1.ext|CHECK_EXTENSION 9 (v2 set) 1', '1.ext CHECK_EXTENSION 9 (v2 set)', '1'],
])('reads %s', (text, id, answer) => {
  expect(parseGolden(text)).toEqual([{ id, answer }]);
});
