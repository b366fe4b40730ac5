/*
 * A design: the choices that were argued about, as data. The simulated host runs the same programs under any of them, so that
 * what a choice costs is found by trying and not by arguing.
 *
 * Linux: Documentation/driver-api/vfio.rst and the threads of the RFC "vfio: Device memory DMA mapping improvements" (2021).
 */
import { type DeviceKind, VfioError } from '../core/index.ts';

/** What mmap leaves in a VMA's vm_pgoff: the region coding (R1), or the physical page number. */
export type PgoffCoding = 'region' | 'pfn';

/**
 * What a device takes away from CPU mappings when its memory goes: every VMA on a list that it keeps; the range BAR0..ROM of
 * its address space (R5); the whole address space; or nothing.
 */
export type Zap = 'vma-list' | 'bar-range' | 'everything' | 'nothing';

/** Steps of one operation, in order; see `ORDERS` for the words of each. */
export type Order = readonly string[];

/** The order of steps inside each operation that has a choice. */
export interface Orders {
  /** Of a page fault. */
  readonly fault: Order;
  /** Of a decode off, a D3hot, a BAR move and the withdrawal before a reset. */
  readonly disable: Order;
  readonly enable: Order;
  readonly reset: Order;
  /** Of the last close. */
  readonly release: Order;
  /** Of taking one IOMMU mapping's translation away. */
  readonly revoke: Order;
  /** Of giving it back. */
  readonly restore: Order;
  /** Of MAP_DMA. */
  readonly map: Order;
  /** Of UNMAP_DMA. */
  readonly unmap: Order;
  readonly fork: Order;
}

/** The words that each order is made of. An order may leave words out: that is how mistakes are written down. */
export const ORDERS: { readonly [Name in keyof Orders]: readonly string[] } = {
  fault: ['lock mm', 'lock memory', 'look up', 'insert', 'unlock'],
  disable: ['lock memory', 'withdraw', 'hardware off', 'unlock'],
  enable: ['lock memory', 'hardware on', 'return', 'unlock'],
  reset: ['lock memory', 'withdraw', 'hardware off', 'hardware on', 'return', 'unlock'],
  release: ['withdraw', 'hardware off'],
  revoke: ['lock container', 'clear', 'flush', 'drain', 'drop reference', 'unlock'],
  restore: ['lock container', 'program', 'unlock'],
  map: ['fault in', 'walk', 'lock memory', 'lock container', 'insert', 'reference', 'program', 'unlock'],
  unmap: ['lock container', 'remove', 'let go', 'unlock'],
  fork: ['lock mm', 'insert', 'copy', 'unlock'],
};

/** One design. */
export interface Design {
  readonly name: string;
  /** One line for people. */
  readonly title: string;
  readonly pgoff: Readonly<Record<DeviceKind, PgoffCoding>>;
  readonly zap: Readonly<Record<DeviceKind, Zap>>;
  /** How MAP_DMA learns what a VMA leads to: from the page table, once, or from the device. */
  readonly learn: 'page-walk' | 'lookup';
  /** Whether an IOMMU mapping of device memory holds a reference to the device. */
  readonly reference: boolean;
  /** What an IOMMU mapping of device memory is told. */
  readonly notifier: 'none' | 'release' | 'suspend-and-release';
  /** What happens to IOMMU mappings when the memory is back. */
  readonly resume: 'nothing' | 'come-back';
  /** Who must have agreed that memory becomes a DMA target. */
  readonly consent: 'none' | 'device' | 'region';
  /** Whether the contents are moved out of reach while the memory is away, as our live world does. */
  readonly park: boolean;
  readonly order: Orders;
}

/** The same choice for every kind of device. */
export function everyKind<Choice>(choice: Choice): Record<DeviceKind, Choice> {
  return { pci: choice, platform: choice, 'fsl-mc': choice, mdev: choice };
}

const KINDS: readonly DeviceKind[] = ['pci', 'platform', 'fsl-mc', 'mdev'];
const CHOICES: Readonly<Record<string, readonly unknown[]>> = {
  learn: ['page-walk', 'lookup'],
  reference: [true, false],
  notifier: ['none', 'release', 'suspend-and-release'],
  resume: ['nothing', 'come-back'],
  consent: ['none', 'device', 'region'],
  park: [true, false],
};
const KIND_CHOICES: Readonly<Record<string, readonly string[]>> = {
  pgoff: ['region', 'pfn'],
  zap: ['vma-list', 'bar-range', 'everything', 'nothing'],
};

/**
 * Makes a design of a file's contents: every key of `Design`, or `extends` with the design that the missing ones are taken
 * from. EINVAL names the first thing that is wrong, and what would be right.
 */
export function parseDesign(value: unknown, known: readonly Design[]): Design {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new VfioError(
      'EINVAL',
      'a design is a JSON object, for example {"name": "mine", "extends": "node-vfio"}',
    );
  const given = value as Record<string, unknown>;
  const base = known.find(({ name }) => name === (given['extends'] ?? ''));
  if (given['extends'] !== undefined && base === undefined) {
    const names = known.map(({ name }) => name).join(', ');
    throw new VfioError('EINVAL', `"extends" names no design: ${String(given['extends'])}; known: ${names}`);
  }
  if (base === undefined && given['order'] === undefined)
    throw new VfioError('EINVAL', 'a design has every key, or "extends" with the name of one that has');
  const { extends: _, ...own } = given;
  const merged = {
    ...base,
    ...own,
    pgoff: { ...base?.pgoff, ...(own['pgoff'] as object) },
    zap: { ...base?.zap, ...(own['zap'] as object) },
    order: { ...base?.order, ...(own['order'] as object) },
  } as unknown as Record<string, unknown>;
  return checkedDesign(merged);
}

function checkedDesign(design: Record<string, unknown>): Design {
  const known = ['name', 'title', 'order', ...Object.keys(CHOICES), ...Object.keys(KIND_CHOICES)];
  for (const key of Object.keys(design)) oneOf(key, known, 'key of a design');
  if (typeof design['name'] !== 'string' || design['name'] === '')
    throw new VfioError('EINVAL', 'a design has a "name"');
  for (const [key, choices] of Object.entries(CHOICES)) oneOf(design[key], choices, `"${key}"`);
  for (const [key, choices] of Object.entries(KIND_CHOICES)) {
    const byKind = design[key] as Record<string, unknown>;
    for (const kind of Object.keys(byKind)) oneOf(kind, KINDS, `kind in "${key}"`);
    for (const kind of KINDS) oneOf(byKind[kind], choices, `"${key}" of ${kind}`);
  }
  const order = design['order'] as Record<string, unknown>;
  for (const name of Object.keys(order)) oneOf(name, Object.keys(ORDERS), 'operation in "order"');
  for (const [name, words] of Object.entries(ORDERS)) {
    const steps = order[name];
    if (!Array.isArray(steps))
      throw new VfioError('EINVAL', `"order" of ${name} is a list of ${words.join(', ')}`);
    for (const step of steps) oneOf(step, words, `step of ${name}`);
  }
  return { title: 'a design of your own', ...design } as unknown as Design;
}

function oneOf(value: unknown, choices: readonly unknown[], what: string): void {
  if (choices.includes(value)) return;
  throw new VfioError('EINVAL', `${what} is ${JSON.stringify(value)}; possible: ${choices.join(', ')}`);
}
