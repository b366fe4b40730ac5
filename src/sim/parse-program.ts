/*
 * A program from a file: checked before it runs, so that a slip is named where it was made.
 */
import { PAGE_SIZE, VfioError } from '../core/index.ts';
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
const KEYS: Readonly<Record<string, readonly string[]>> = {
  program: ['name', 'title', 'devices', 'processes', 'containers', 'iommu', 'setup', 'threads'],
  device: ['kind', 'regions', 'resettable'],
  region: ['index', 'pages', 'dma', 'clearedByReset', 'below4GiB', 'address'],
  iommu: ['iovaRanges', 'msiHole', 'limit'],
};
const KINDS: readonly unknown[] = ['pci', 'platform', 'fsl-mc', 'mdev', 'memory'];

/**
 * The program in a file's contents. EINVAL says where it is wrong. Whether what it names is there, and not too much, is seen when a
 * `SimulatedHost` is made of it.
 */
export function parseProgram(value: unknown): Program {
  const program = record(value, 'a program');
  checkKeys(program, 'program', 'a program');
  check(typeof program['name'] === 'string' && program['name'] !== '', 'a program has a "name"');
  check(['string', 'undefined'].includes(typeof program['title']), '"title" is a text');
  const devices = record(program['devices'], '"devices"');
  for (const [name, device] of Object.entries(devices)) parseDevice(name, record(device, `device ${name}`));
  for (const key of ['processes', 'containers']) {
    const names = list(program[key], `"${key}"`);
    check(
      names.every((name) => typeof name === 'string') && new Set(names).size === names.length,
      `"${key}" are names, each once`,
    );
  }
  if (program['iommu'] !== undefined) parseIommu(record(program['iommu'], '"iommu"'));
  for (const [i, each] of list(program['setup'], '"setup"').entries()) parseOperation(each, `setup[${i}]`);
  for (const [name, actions] of Object.entries(record(program['threads'], '"threads"'))) {
    for (const [i, action] of list(actions, `thread ${name}`).entries())
      parseAction(record(action, `threads.${name}[${i}]`), `threads.${name}[${i}]`);
  }
  return program as unknown as Program;
}

function parseAction(action: Record<string, unknown>, where: string): void {
  if (action['any'] === undefined) {
    parseOperation(action, where);
    return;
  }
  check(isCount(action['times']) && action['times'] > 0, `${where} has "times", 1 or more`);
  const offered = list(action['any'], `${where}.any`);
  for (const [i, each] of offered.entries()) parseOperation(each, `${where}.any[${i}]`);
}

function parseDevice(name: string, device: Record<string, unknown>): void {
  checkKeys(device, 'device', name);
  check(KINDS.includes(device['kind']), `"kind" of ${name} is one of ${KINDS.join(', ')}`);
  checkFlag(device, 'resettable', name);
  for (const each of list(device['regions'], `"regions" of ${name}`)) {
    const region = record(each, `a region of ${name}`);
    checkKeys(region, 'region', `a region of ${name}`);
    check(isCount(region['index']), `each region of ${name} has an "index"`);
    const what = `region ${region['index']} of ${name}`;
    for (const key of ['pages', 'address'])
      check(region[key] === undefined || isCount(region[key]), `"${key}" of ${what} is a number`);
    check(
      [undefined, 'allow', 'deny'].includes(region['dma'] as undefined),
      `"dma" of ${what} is allow or deny`,
    );
    for (const key of ['clearedByReset', 'below4GiB']) checkFlag(region, key, what);
  }
}

function parseIommu(iommu: Record<string, unknown>): void {
  checkKeys(iommu, 'iommu', '"iommu"');
  checkFlag(iommu, 'msiHole', '"iommu"');
  const { limit = 1, iovaRanges = [] } = iommu;
  check(isCount(limit) && limit > 0, '"limit" of "iommu" is 1 or more');
  const ranges = list(iovaRanges, '"iovaRanges"').map((each) => record(each, 'each of "iovaRanges"'));
  let free = 0;
  for (const { start, end } of ranges) {
    const fits = isCount(start) && isCount(end) && start >= free && end > start;
    check(
      fits && start % PAGE_SIZE === 0 && end % PAGE_SIZE === 0,
      '"iovaRanges" have "start" and "end" in bytes, whole pages, one range after the other',
    );
    free = end;
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
    const fits = NUMBERS.includes(key) ? isCount(given) : typeof given === 'string';
    check(fits, `${where}: "${key}" is a ${NUMBERS.includes(key) ? 'number' : 'name'}`);
  }
}

function checkKeys(value: Record<string, unknown>, kind: string, what: string): void {
  for (const key of Object.keys(value))
    check(KEYS[kind]!.includes(key), `${what} has no "${key}"; a ${kind} may have ${KEYS[kind]!.join(', ')}`);
}

function checkFlag(value: Record<string, unknown>, key: string, what: string): void {
  check(['boolean', 'undefined'].includes(typeof value[key]), `"${key}" of ${what} is true or false`);
}

/** Above 2^53 numbers of bytes are not exact. */
function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
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
