/*
 * `npm run bench [-- --json] [-- --quick]`: what node-vfio costs, as ratios against floors that are measured in the same run with
 * the same pinning. Every figure is the median of several rounds; a round measures floor and subject back to back.
 */
import { parseArgs } from 'node:util';
import { canAskSpin, explorerRows } from './explorer.mjs';
import { buildTools, memcpyFloor, pingpong } from './floors.mjs';
import { canBootGuests, guestRows } from './guest.mjs';
import { printTable } from './report.mjs';
import { withServer } from './server.mjs';
import { measureSuspend } from './suspend.mjs';
import { median, vubench } from './tools.mjs';
import { measureTranslate } from './translate.mjs';

const { values: options } = parseArgs({
  options: { json: { type: 'boolean' }, quick: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
});
if (options.help) {
  console.log('usage: npm run bench -- [--quick] [--json]\n\nexample: npm run bench -- --json > bench.json');
  process.exit(0);
}

const ROUNDS = options.quick ? 1 : 5;
const OPERATIONS = options.quick ? 20_000 : 100_000;
const rows = [];

function say(text) {
  if (!options.json) process.stderr.write(`${text}\n`);
}

/**
 * Adds a figure. `ratio` is value/floor for costs and floor/value for speeds; `goal` is what the ratio or value is held to.
 */
function add(row) {
  rows.push(row);
}

async function rounds(measure) {
  const results = [];
  for (let round = 0; round < ROUNDS; round++) results.push(await measure());
  return results;
}

const middle = (results, pick) => median(results.map(pick));

async function readRoundTrip(name, serverArgs, { clientCpu, serverCpu, spin, goal }) {
  say(`read round trip: ${name}`);
  const results = await rounds(async () => {
    const floor = await pingpong({ operations: OPERATIONS, clientCpu, serverCpu, spin });
    const read = await withServer(serverArgs, serverCpu, (socket) =>
      vubench(socket, ['-n', OPERATIONS, '-c', clientCpu, ...(spin ? ['-S'] : []), 'read']),
    );
    return { floor: floor[spin ? 'floor-spin' : 'floor-whole'].median_ns, value: read[0].median_ns };
  });
  const value = middle(results, (r) => r.value);
  const floor = middle(results, (r) => r.floor);
  const ratio = middle(results, (r) => r.value / r.floor);
  add({
    name: `REGION_READ round trip, ${name}`,
    value,
    unit: 'ns',
    floor,
    ratio,
    goal: goal && { ratioAtMost: goal },
  });
}

/** A client that does not wait fills its own CPU; the server has the other one. */
async function throughput() {
  say('posted writes, reads in flight');
  const results = await rounds(() =>
    withServer([], 0, async (socket) => {
      const common = ['-c', 1, '-n', OPERATIONS];
      const [single] = await vubench(socket, [...common, 'write-nr']);
      const [batch] = await vubench(socket, ['-c', 1, '-n', OPERATIONS * 20, '-b', 64, 'write-batch']);
      const [inFlight] = await vubench(socket, [...common, '-w', 32, 'read-window']);
      return { single: single.ns_per_msg, batch: batch.msgs_s / 1e6, inFlight: inFlight.ns_per_op };
    }),
  );
  add({
    name: 'REGION_WRITE posted, one a send, two CPUs',
    value: middle(results, (r) => r.single),
    unit: 'ns',
  });
  const batch = middle(results, (r) => r.batch);
  add({
    name: 'REGION_WRITE posted, 64 a send, two CPUs',
    value: batch,
    unit: 'M/s',
    goal: { valueAtLeast: 15 },
  });
  add({
    name: 'REGION_READ, 32 in flight, two CPUs',
    value: middle(results, (r) => r.inFlight),
    unit: 'ns',
  });
}

async function mapPairs() {
  say('DMA_MAP + DMA_UNMAP pairs');
  const standing = [1, 100, 10_000];
  const results = await rounds(() =>
    withServer([], 0, async (socket) => {
      const [read] = await vubench(socket, ['-c', 0, '-n', OPERATIONS, 'read']);
      const pairs = await vubench(socket, [
        '-c',
        0,
        '-p',
        OPERATIONS / 4,
        '-k',
        standing.join(','),
        'dma-fd',
      ]);
      return { floor: read.median_ns, pairs: pairs.map((pair) => pair.median_ns) };
    }),
  );
  standing.forEach((count, index) => {
    add({
      name: `DMA_MAP + DMA_UNMAP, ${count} standing`,
      value: middle(results, (r) => r.pairs[index]),
      unit: 'ns',
      floor: middle(results, (r) => r.floor),
      floorName: 'our read round trip',
      ratio: middle(results, (r) => r.pairs[index] / r.floor),
      goal: { ratioAtMost: 2.2 },
    });
  });
}

async function copies() {
  say('DMA copies');
  const results = await rounds(async () => ({
    floor: await memcpyFloor(0),
    engine: await withServer([], 0, (socket) => vubench(socket, ['-c', 0, '-i', 500_000, 'engine-map'])),
  }));
  for (const bytes of [64, 4096, 65536, 1048576]) {
    for (const direction of ['read', 'write']) {
      const of = (list) => list.find((r) => r.len === bytes && r.dir === direction).ns_per_op;
      const value = middle(results, (r) => of(r.engine));
      const floor = middle(results, (r) => of(r.floor));
      const ratio = middle(results, (r) => of(r.floor) / of(r.engine));
      const goal = bytes >= 65536 ? { ratioAtLeast: 0.9 } : undefined;
      add({
        name: `DMA ${direction} ${bytes} B`,
        value,
        unit: 'ns',
        floor,
        floorName: 'memcpy',
        ratio,
        ratioKind: 'speed',
        goal,
      });
    }
  }
}

function translation() {
  say('translation');
  for (const standing of [1, 100, 1_000, 10_000, 100_000]) {
    const value = median(Array.from({ length: ROUNDS }, () => measureTranslate(standing, 2_000_000)));
    const goal = standing === 10_000 ? { valueAtMost: 60 } : undefined;
    add({ name: `translate, ${standing} mappings, random`, value, unit: 'ns', goal });
  }
}

async function suspension() {
  say('suspend + resume');
  for (const mebibytes of [0, 1, 16]) {
    const value = await measureSuspend(mebibytes, ROUNDS * 3);
    add({ name: `suspend + resume, ${mebibytes} MiB populated`, value: value / 1000, unit: 'us' });
  }
}

async function explorer() {
  say(canAskSpin() ? 'explorer' : 'explorer, without SPIN beside it: apt-get install spin');
  // A search takes most of a second; three are enough.
  for (const row of await explorerRows(Math.min(ROUNDS, 3))) add(row);
}

async function guests() {
  if (!canBootGuests()) {
    say('in a guest: left out, `npm run test:vm -- --setup` fetches what it needs');
    return;
  }
  say('in a guest');
  for (const row of await guestRows(ROUNDS)) add(row);
}

await buildTools();
await readRoundTrip('main loop', [], { clientCpu: 0, serverCpu: 0, goal: 1.6 });
await readRoundTrip('worker', ['--worker'], { clientCpu: 0, serverCpu: 0, goal: 1.25 });
await readRoundTrip('busy-poll across cores', ['--busy-poll-us=1000'], {
  clientCpu: 1,
  serverCpu: 0,
  spin: true,
});
await throughput();
await mapPairs();
await copies();
translation();
await suspension();
await explorer();
await guests();
if (options.json) console.log(JSON.stringify({ node: process.version, rounds: ROUNDS, rows }, null, 2));
else printTable(rows);
