/*
 * The simulated worlds beyond their answers: which rules the probe's questions break on the simulated hardware, and that the checker
 * of parity sees a design that is another one than it says.
 */
import { describe, expect, test } from 'vitest';
import { DESIGNS, type Design } from '../../src/sim/index.ts';
import { judge } from './check.ts';
import { golden } from './golden.ts';
import { type Answer, runProbe } from './probe.ts';
import { SimulatedWorld } from './simulated-world.ts';
import { STEPS } from './steps.ts';

const lines = golden();
const design = (name: string): Design => DESIGNS.find((each) => each.name === name)!;

interface Asked {
  readonly broken: readonly string[];
  readonly answers: ReadonlyMap<string, Answer>;
}

const all = new Map<string, Promise<Asked>>();

async function ask(under: Design): Promise<Asked> {
  const world = new SimulatedWorld('simulated', under);
  const answers = await runProbe(world, STEPS);
  world.end();
  return { broken: world.brokenRules, answers };
}

/** The rules that break under a design, and the records that a world of that name may not answer so. */
async function asked(name: string, under: Design): Promise<{ broken: readonly string[]; wrong: string[] }> {
  const key = JSON.stringify(under);
  const asking = all.get(key) ?? ask(under);
  all.set(key, asking);
  const { broken, answers } = await asking;
  const wrong = lines.filter(
    (line) => answers.has(line.id) && judge(line, answers.get(line.id), name).kind === 'wrong',
  );
  return { broken, wrong: wrong.map(({ id }) => id) };
}

const stale = (device: string): string[] => [
  `6.${device}.iv.edu-dma-read-after-release`,
  `6.${device}.iv.edu-dma-read-after-unset`,
];

test('all of the probe breaks no rule under our design', async () => {
  expect(await asked('simulated', design('node-vfio'))).toEqual({ broken: [], wrong: [] });
});

test('under that of Linux it breaks R4 and R6: the stale entries', async () => {
  expect(await asked('simulated Linux', design('linux-6.12'))).toEqual({ broken: ['R4', 'R6'], wrong: [] });
});

describe('another design is seen', () => {
  test("Linux's in the place of ours", async () => {
    // While decode is off zeros come back either way, and this IOMMU reports no fault: there only the broken rules tell.
    const { wrong } = await asked('simulated', design('linux-6.12'));
    expect(wrong).toEqual([...stale('ivshmem'), ...stale('pcitestdev')]);
  });

  test("ours in the place of Linux's", async () => {
    const { wrong } = await asked('simulated Linux', design('node-vfio'));
    expect(wrong).toEqual([...stale('ivshmem'), ...stale('pcitestdev')]);
  });

  test('the patches of 2021, which miss the BAR when they take it away: a touch is no SIGBUS', async () => {
    const { wrong } = await asked('simulated Linux', design('rfc-2021'));
    expect(wrong).toContain('6.ivshmem.i.touch-read');
    expect(wrong).toContain('6.nvmecmb.iii.PM-D3hot');
  });

  test('a revocation that has no way back', async () => {
    const { wrong } = await asked('simulated', design('dma-buf-6.19'));
    expect(wrong).toContain('6.ivshmem.ii.edu-dma-read');
  });

  test('a revocation that leaves the IOTLB as it is: the DMA goes out while decode is off', async () => {
    const ours = design('node-vfio');
    const revoke = ours.order.revoke.filter((word) => word !== 'flush');
    const { broken, wrong } = await asked('simulated', { ...ours, order: { ...ours.order, revoke } });
    expect(broken).toContain('R6');
    expect(wrong).toContain('6.ivshmem.i.edu-dma-read-of-BAR-IOVA');
  });
});
