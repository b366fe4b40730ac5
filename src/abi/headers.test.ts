/*
 * Compares our constants and layouts with the C headers of this system. The C program is generated from our own
 * tables, so a name that is added to them is compared without anybody remembering to. Needs `cc` and linux-libc-dev.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ERRNO } from './errno.ts';
import * as pciRegs from './pci-regs.ts';
import type { Fields, Struct } from './struct.ts';
import * as structs from './structs.ts';
import * as vfio from './vfio.ts';
import * as vfioUser from './vfio-user.ts';

type AnyStruct = Struct<Fields>;

/** Names that came after Linux 6.1, with the version of the header that has them. Older headers lack them. */
const NEWER: Readonly<Record<string, readonly [number, number]>> = {
  VFIO_MIGRATION_PRE_COPY: [6, 2],
  VFIO_DEVICE_STATE_PRE_COPY: [6, 2],
  VFIO_DEVICE_STATE_PRE_COPY_P2P: [6, 2],
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE: [6, 2],
  PCI_HEADER_TYPE_MFD: [6, 7],
};

/** C structs that a vfio-user struct is the front part of; renamed members in the last column. */
const PREFIX_OF: readonly (readonly [AnyStruct, string, Readonly<Record<string, string>>])[] = [
  [structs.vfio_user_device_info, 'vfio_device_info', {}],
  [structs.vfio_user_dma_map, 'vfio_iommu_type1_dma_map', { offset: 'vaddr', addr: 'iova' }],
  [structs.vfio_user_dma_unmap, 'vfio_iommu_type1_dma_unmap', { addr: 'iova' }],
  [structs.vfio_user_bitmap, 'vfio_bitmap', {}],
  [
    structs.vfio_user_device_feature_dma_logging_control,
    'vfio_device_feature_dma_logging_control',
    { reserved: '__reserved' },
  ],
  [structs.vfio_user_device_feature_dma_logging_report, 'vfio_device_feature_dma_logging_report', {}],
];

/** Our table of one fact a C compiler can confirm: a label and the number we say it is. */
interface Fact {
  readonly label: string;
  readonly expression: string;
  readonly ours: number;
  readonly since?: readonly [number, number] | undefined;
}

function constantFacts(): Fact[] {
  const all: Record<string, unknown> = { ...vfio, ...pciRegs, ...ERRNO };
  for (const [name, value] of Object.entries(vfioUser)) if (name.startsWith('KVM_')) all[name] = value;
  return Object.entries(all).map(([name, value]) =>
    typeof value === 'string'
      ? { label: name, expression: `strcmp(${name}, "${value}") == 0`, ours: 1 }
      : { label: name, expression: name, ours: value as number, since: NEWER[name] },
  );
}

function kernelStructs(): AnyStruct[] {
  const found: AnyStruct[] = [];
  for (const [name, value] of Object.entries(structs)) {
    if (/^vfio_(?!user_)/.test(name)) found.push(value as unknown as AnyStruct);
  }
  return found;
}

/** A capability's own struct nests the common header that our flat layout spells out. */
function memberPath(cStruct: string, field: string): string {
  const nested = /_cap_(sparse_mmap|type)$/.test(cStruct) && ['id', 'version', 'next'].includes(field);
  return nested ? `header.${field}` : field;
}

function layoutFacts(layout: AnyStruct, cStruct: string, renamed: Readonly<Record<string, string>>): Fact[] {
  return Object.keys(layout.fields).flatMap((field) => {
    const member = renamed[field] ?? memberPath(cStruct, field);
    const width = { u8: 1, u16: 2, u32: 4, s32: 4, u64: 8 }[layout.fields[field]!];
    const label = `${layout.name}.${field}`;
    return [
      { label, expression: `offsetof(struct ${cStruct}, ${member})`, ours: layout.at[field]! },
      { label: `${label} width`, expression: `sizeof(((struct ${cStruct} *)0)->${member})`, ours: width },
    ];
  });
}

function allFacts(): Fact[] {
  const facts = constantFacts();
  for (const layout of kernelStructs()) {
    facts.push(...layoutFacts(layout, layout.name, {}));
    facts.push({
      label: `sizeof ${layout.name}`,
      expression: `sizeof(struct ${layout.name})`,
      ours: layout.size,
    });
  }
  for (const [layout, cStruct, renamed] of PREFIX_OF) facts.push(...layoutFacts(layout, cStruct, renamed));
  return facts;
}

/** What the headers say for each fact, by label. A fact newer than the headers is absent. */
function compileAndRun(facts: readonly Fact[]): Map<string, number> {
  const lines = facts.map((fact) => {
    // The cast keeps the low 32 bits of masks that the header writes as unsigned long or as a negative int.
    const print = `printf("%s\\t%u\\n", "${fact.label}", (unsigned)(${fact.expression}));`;
    if (!fact.since) return print;
    return `#if LINUX_VERSION_CODE >= KERNEL_VERSION(${fact.since[0]}, ${fact.since[1]}, 0)\n${print}\n#endif`;
  });
  const headers = [
    'errno.h',
    'stddef.h',
    'stdio.h',
    'string.h',
    'linux/kvm.h',
    'linux/pci_regs.h',
    'linux/version.h',
  ];
  const includes = [...headers, 'linux/vfio.h'].map((header) => `#include <${header}>`);
  const source = [...includes, 'int main(void) {', ...lines, 'return 0; }', ''].join('\n');
  const folder = mkdtempSync(join(tmpdir(), 'vfio-abi-'));
  try {
    writeFileSync(join(folder, 'facts.c'), source);
    execFileSync('cc', ['-o', join(folder, 'facts'), join(folder, 'facts.c')]);
    const output = execFileSync(join(folder, 'facts'), { encoding: 'utf8' });
    const rows = output.trim().split('\n');
    return new Map(rows.map((row) => row.split('\t')).map(([label, value]) => [label!, Number(value)]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** One line for each fact that the headers contradict. */
function disagreements(facts: readonly Fact[], headers: ReadonlyMap<string, number>): string[] {
  return facts.flatMap(({ label, ours, since }) => {
    const theirs = headers.get(label);
    if (theirs === undefined) return since ? [] : [`${label}: not printed`];
    return theirs === ours ? [] : [`${label}: ours ${ours}, header ${theirs}`];
  });
}

describe('the system headers', () => {
  const facts = allFacts();
  const headers = compileAndRun(facts);

  test('agree with every constant and layout we share with them', () => {
    expect(disagreements(facts, headers)).toEqual([]);
    expect(headers.size).toBeGreaterThanOrEqual(facts.length - Object.keys(NEWER).length);
    expect(headers.size).toBeGreaterThan(600);
  });

  test('canary: a wrong offset, constant or size is reported, and nothing else', () => {
    const wrong = facts.map((fact) =>
      ['vfio_irq_set.start', 'PCI_COMMAND_MASTER', 'sizeof vfio_region_info'].includes(fact.label)
        ? { ...fact, ours: fact.ours + 1 }
        : fact,
    );
    expect(disagreements(wrong, headers)).toEqual([
      'PCI_COMMAND_MASTER: ours 5, header 4',
      'sizeof vfio_region_info: ours 33, header 32',
      'vfio_irq_set.start: ours 13, header 12',
    ]);
  });

  test('canary: a string that is another in the header is reported', () => {
    const label = 'VFIO_DEVICE_API_AP_STRING';
    const wrong: Fact = { label, expression: `strcmp(${label}, "vfio-pa") == 0`, ours: 1 };
    expect(disagreements([wrong], compileAndRun([wrong]))).toEqual([`${label}: ours 1, header 0`]);
  });

  test('canary: a fact that the program did not print is reported', () => {
    const invented: Fact = { label: 'NOT_PRINTED', expression: '0', ours: 0 };
    expect(disagreements([invented], headers)).toEqual(['NOT_PRINTED: not printed']);
  });

  test('names newer than old headers have the numbers of the header that brought them', () => {
    // linux/vfio.h of 6.2 (migration v2 pre-copy, data size) and linux/pci_regs.h of 6.7.
    expect(vfio.VFIO_MIGRATION_PRE_COPY).toBe(1 << 2);
    expect(vfio.VFIO_DEVICE_STATE_PRE_COPY).toBe(6);
    expect(vfio.VFIO_DEVICE_STATE_PRE_COPY_P2P).toBe(7);
    expect(vfio.VFIO_DEVICE_FEATURE_MIG_DATA_SIZE).toBe(9);
    expect(pciRegs.PCI_HEADER_TYPE_MFD).toBe(0x80);
  });
});
