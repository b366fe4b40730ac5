/*
 * A program from a file: checked before it runs, so that a slip is named where it was made.
 */
import { VfioError } from '../core/index.ts';
import type { Operation, Program } from './program.ts';

/** The names that each operation needs, and those that it may have. */
const OPERATIONS: Readonly<
  Record<Operation['op'], readonly [needs: readonly string[], may: readonly string[]]>
> = {
  open: [['process', 'device'], []],
  close: [['process', 'device'], []],
  mmap: [
    ['process', 'device', 'region', 'as'],
    ['page', 'pages', 'protection'],
  ],
  mprotect: [['vma', 'protection'], []],
  mmapForeign: [['process', 'as'], []],
  munmap: [['vma'], ['part', 'pages']],
  mremap: [['vma'], []],
  fork: [['process', 'child'], []],
  read: [['vma'], ['page']],
  write: [['vma'], ['page', 'value']],
  mapDma: [
    ['container', 'vma', 'as'],
    ['page', 'pages', 'iova', 'access'],
  ],
  unmapDma: [['mapping'], []],
  unmapRange: [['container', 'iova', 'sizeBytes'], ['all']],
  closeContainer: [['container'], []],
  dmaRead: [['mapping'], ['page']],
  dmaWrite: [['mapping'], ['page', 'value']],
  disable: [['device'], []],
  enable: [['device'], []],
  sleep: [['device'], []],
  wake: [['device'], []],
  reset: [['device'], []],
  relocate: [['device'], []],
  allow: [['device', 'region'], []],
  deny: [['device', 'region'], []],
};

const NUMBERS: readonly string[] = ['region', 'page', 'pages', 'value', 'iova', 'sizeBytes'];
const CHOICES: Readonly<Record<string, readonly unknown[]>> = {
  protection: ['none', 'r', 'w', 'rw'],
  access: ['none', 'r', 'w', 'rw'],
  part: ['all', 'head', 'tail'],
  all: [true, false],
};
const KINDS: readonly unknown[] = ['pci', 'platform', 'fsl-mc', 'mdev', 'memory'];

/** The program in a file's contents. EINVAL says where it is wrong. Names are checked when it is run. */
export function parseProgram(value: unknown): Program {
  const program = record(value, 'a program');
  check(typeof program['name'] === 'string', 'a program has a "name"');
  const devices = record(program['devices'], '"devices"');
  for (const [name, device] of Object.entries(devices)) parseDevice(name, record(device, `device ${name}`));
  for (const key of ['processes', 'containers']) list(program[key], `"${key}"`);
  for (const [i, each] of list(program['setup'], '"setup"').entries()) parseOperation(each, `setup[${i}]`);
  for (const [name, actions] of Object.entries(record(program['threads'], '"threads"'))) {
    for (const [i, action] of list(actions, `thread ${name}`).entries()) {
      const where = `threads.${name}[${i}]`;
      const given = record(action, where);
      if (given['any'] === undefined) parseOperation(given, where);
      else {
        check(
          Number.isInteger(given['times']) && Number(given['times']) > 0,
          `${where} has "times", 1 or more`,
        );
        for (const each of list(given['any'], `${where}.any`)) parseOperation(each, `${where}.any`);
      }
    }
  }
  return program as unknown as Program;
}

function parseDevice(name: string, device: Record<string, unknown>): void {
  check(KINDS.includes(device['kind']), `"kind" of ${name} is one of ${KINDS.join(', ')}`);
  for (const region of list(device['regions'], `"regions" of ${name}`)) {
    const { index } = record(region, `a region of ${name}`);
    check(Number.isInteger(index) && Number(index) >= 0, `each region of ${name} has an "index"`);
  }
}

function parseOperation(value: unknown, where: string): void {
  const operation = record(value, where);
  const known = Object.entries(OPERATIONS).find(([op]) => op === operation['op']);
  check(known !== undefined, `${where}: "op" is one of ${Object.keys(OPERATIONS).join(', ')}`);
  const [needs, may] = known[1];
  for (const key of needs) check(operation[key] !== undefined, `${where}: ${known[0]} needs "${key}"`);
  for (const [key, given] of Object.entries(operation)) {
    check(key === 'op' || needs.includes(key) || may.includes(key), `${where}: ${known[0]} has no "${key}"`);
    const choices = CHOICES[key];
    if (choices !== undefined) {
      check(choices.includes(given), `${where}: "${key}" is one of ${choices.join(', ')}`);
      continue;
    }
    const fits = NUMBERS.includes(key)
      ? Number.isInteger(given) && Number(given) >= 0
      : typeof given === 'string';
    check(fits, `${where}: "${key}" is a ${NUMBERS.includes(key) ? 'number' : 'name'}`);
  }
}

function record(value: unknown, what: string): Record<string, unknown> {
  check(typeof value === 'object' && value !== null && !Array.isArray(value), `${what} is an object`);
  return value as Record<string, unknown>;
}

function list(value: unknown, what: string): unknown[] {
  check(Array.isArray(value), `${what} is a list`);
  return value;
}

function check(holds: boolean, message: string): asserts holds {
  if (!holds) throw new VfioError('EINVAL', message);
}
