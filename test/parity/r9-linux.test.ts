/*
 * R9: what Linux 7.3's VFIO answered to the probe's questions is what we answer, in every world, or a difference that is
 * listed, with its reason, and is exactly as listed.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LINUX_TYPE1 } from '../../src/cli/demo/linux-type1.ts';
import { judge, listProblems } from './check.ts';
import { golden } from './golden.ts';
import { type Answer, runProbe } from './probe.ts';
import { STEPS } from './steps.ts';
import { WORLDS } from './worlds.ts';

const lines = golden();
const asked = STEPS.flatMap(({ id }) => id ?? []);

test('every record is asked or out of scope for a reason; no list names what is not there', () => {
  const worlds = WORLDS.map(([name]) => name);
  expect(listProblems(lines, asked, worlds)).toEqual([]);
  const unaccounted = lines.filter(
    ({ id }) => !asked.includes(id) && judge(line(id), undefined, '').kind === 'wrong',
  );
  expect(unaccounted).toEqual([]);
});

test('what the demo quotes of Linux is what the records say', () => {
  for (const { records } of Object.values(LINUX_TYPE1)) {
    for (const { name, answer } of records)
      expect(`${name}: ${line(name).answer}`).toContain(`${name}: ${answer}`);
  }
});

function line(id: string) {
  return lines.find((each) => each.id === id)!;
}

describe.each(WORLDS)('in the %s world', (name, make) => {
  const counts = new Map<string, number>();
  let answers: Map<string, Answer>;

  beforeAll(async () => {
    const world = await make();
    try {
      answers = await runProbe(world, STEPS);
    } finally {
      await world.end();
    }
  });

  afterAll(() => {
    const summary = [...counts].map(([kind, count]) => `${count} ${kind}`).join(', ');
    process.stdout.write(`parity with Linux 7.3, ${name} world: ${summary}\n`);
  });

  test.each(asked)('%s', (id) => {
    const verdict = judge(line(id), answers.get(id), name);
    counts.set(verdict.kind, (counts.get(verdict.kind) ?? 0) + 1);
    expect(verdict.kind === 'wrong' ? verdict.why : verdict.kind).toMatch(/^(equal|deliberate|absent)/);
  });
});
