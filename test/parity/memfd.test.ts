/*
 * What the page of differences says of processes that map a region's file themselves, beyond what a record shows: while the
 * region cannot be reached, and behind its end.
 */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { indexToOffset } from '../../src/core/index.ts';
import { attachMemory, type LiveRegionMemory } from '../../src/memory/index.ts';
import { openSys } from '../../src/sys/index.ts';
import { type Answerer, HolderProgram } from '../support/holder.ts';
import { makeDevice } from './devices.ts';
import { PROT_READ, PROT_WRITE } from './world.ts';

const MAP_SHARED = 1;
const PROT = PROT_READ | PROT_WRITE;
const BAR2_BYTES = 2 ** 20;

let program: HolderProgram;
let device: ReturnType<typeof makeDevice>;
let detach: () => void;
let process: Answerer;

beforeAll(() => {
  program = new HolderProgram(new URL('prober.c', import.meta.url));
});

afterAll(() => program.remove());

beforeEach(() => {
  device = makeDevice('ivshmem');
  detach = attachMemory(device, openSys());
  device.opened();
  process = program.start((device.region(2).memory as LiveRegionMemory).shareFd());
});

afterEach(async () => {
  await process.stop();
  detach();
});

const map = (length: number): Promise<string> =>
  process.ask(`map ${length} ${PROT} ${MAP_SHARED} ${indexToOffset(2)}`);

test('while decode is off the mapping succeeds and the touch is SIGBUS, as with /dev/vfio', async () => {
  device.suspend('memory decode is off');
  expect(await map(BAR2_BYTES)).toBe('0');
  expect(await process.ask('read 0 0')).toBe('SIGBUS code=2');
  device.resume('memory decode is off');
  expect(await process.ask('read 0 0')).toBe('read 0x00000000');
});

test('a mapping that grew beyond its region is SIGBUS there', async () => {
  await map(BAR2_BYTES);
  expect(await process.ask(`mremap 0 ${2 * BAR2_BYTES}`)).toBe('ok');
  expect(await process.ask(`write 0 ${BAR2_BYTES - 4} 7`)).toBe('wrote 0x00000007');
  expect(await process.ask(`read 0 ${BAR2_BYTES}`)).toBe('SIGBUS code=2');
});

test('a private mapping is a copy: its stores stay with the process', async () => {
  await process.ask(`map ${BAR2_BYTES} ${PROT} 2 ${indexToOffset(2)}`);
  expect(await process.ask('write 0 0 1')).toBe('wrote 0x00000001');
  await map(BAR2_BYTES);
  expect(await process.ask('read 1 0')).toBe('read 0x00000000');
});
