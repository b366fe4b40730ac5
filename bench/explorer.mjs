/*
 * How fast our model checker goes through states, and how many it needs, beside SPIN on a model of the same program: `decode`
 * under node-vfio, with everything done several times. Both searches are exhaustive, and each leaves out interleavings that
 * make no difference. The models are not the same step for step, so the states needed say more of the models than of the checkers.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { PROGRAMS, search } from 'vfio/explore';
import { DESIGNS } from 'vfio/sim';
import { jsonLines, median } from './tools.mjs';

/** Enough states to measure: SPIN counts time in steps of 10 ms. */
const ROUNDS = 5;
const spin = fileURLToPath(new URL('./spin.ts', import.meta.url));

/** Whether SPIN is there. */
export function canAskSpin() {
  return spawnSync('spin', ['-V'], { stdio: 'ignore' }).error === undefined;
}

/** Rows of the table: states a second and states needed; without SPIN only ours. */
export async function explorerRows(times) {
  const results = [];
  for (let time = 0; time < times; time++) {
    const theirs = canAskSpin() ? await askSpin() : null;
    results.push({ ours: measureOurs(), theirs });
  }
  const [{ ours, theirs }] = results;
  const rate = ({ states, elapsedSeconds }) => states / elapsedSeconds / 1e6;
  const middle = (pick) => median(results.map(pick));
  const name = `explorer: decode, ${ROUNDS} rounds`;
  const speed = { name: `${name}, states a second`, value: middle((each) => rate(each.ours)), unit: 'M/s' };
  const needed = { name: `${name}, states needed`, value: ours.states, unit: 'states' };
  if (theirs === null) return [speed, needed];
  return [
    {
      ...speed,
      floor: middle((each) => rate(each.theirs)),
      floorName: 'SPIN, pan -O2',
      ratio: middle((each) => rate(each.ours) / rate(each.theirs)),
      ratioKind: 'speed',
    },
    { ...needed, floor: theirs.states, floorName: 'SPIN', ratio: ours.states / theirs.states },
  ];
}

async function askSpin() {
  const [answer] = await jsonLines(process.execPath, ['--import', 'tsx', spin, ROUNDS]);
  if (answer.broken.length > 0) throw new Error(`SPIN finds ${answer.broken.join(', ')} broken`);
  return answer;
}

function measureOurs() {
  const decode = PROGRAMS.find(({ name }) => name === 'decode');
  const design = DESIGNS.find(({ name }) => name === 'node-vfio');
  const threads = Object.entries(decode.threads).map(([thread, actions]) => [
    thread,
    Array.from({ length: ROUNDS }, () => actions).flat(),
  ]);
  const program = { ...decode, threads: Object.fromEntries(threads) };
  const started = process.hrtime.bigint();
  const { states, complete, findings } = search(program, design);
  const elapsedSeconds = Number(process.hrtime.bigint() - started) / 1e9;
  if (!complete || findings.length > 0) throw new Error('the search was cut short, or found something');
  return { states, elapsedSeconds };
}
