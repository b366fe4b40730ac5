/*
 * What Linux 7.3 answered: one line a question, `id|answer`, as the probe printed it. The file is a copy of its output and
 * never changes.
 *
 * The probe is a C program that asks VFIO (legacy group and container, VFIO_TYPE1v2_IOMMU behind an emulated Intel IOMMU)
 * in a QEMU q35 guest. Its devices: 04.0 edu, 05.0 ivshmem-plain (BAR0 0x100 bytes, BAR2 1 MiB), 06.0 nvme with a
 * controller memory buffer, 07.0 pci-testdev. A call that failed
 * shows -1 and the errno's name.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** One answer of the kernel. */
export interface GoldenLine {
  /** The record's id; where several records share one, followed by what tells them apart. */
  readonly id: string;
  readonly answer: string;
}

/** `id|answer`; a bar in parentheses belongs to the id. */
const RECORD = /^((?:[^|(]|\([^)]*\))+)\|(.*)$/;
/** Records that carry what they are about in their answer: its first word belongs to the id. */
const SUBJECT_IN_ANSWER = /^(dev|region|irq|2\.iommu_cap|9\.feature-probe)$/;
/** The same in two words: CHECK_EXTENSION 3 (v2 set). */
const EXTENSION = /^(CHECK_EXTENSION \d+ \([^)]*\)) (.*)$/;

export function parseGolden(text: string): GoldenLine[] {
  const lines: GoldenLine[] = [];
  for (const line of text.split('\n')) {
    const [, id, answer] = RECORD.exec(line) ?? [];
    if (id !== undefined && answer !== undefined) lines.push(distinct(id, answer));
    else if (line !== '') throw new Error(`no record: ${line}`);
  }
  return numberRepeated(lines);
}

function distinct(id: string, answer: string): GoldenLine {
  const extension = EXTENSION.exec(answer);
  if (extension !== null) return { id: `${id} ${extension[1]}`, answer: extension[2]! };
  if (!SUBJECT_IN_ANSWER.test(id)) return { id, answer };
  const space = answer.indexOf(' ');
  return { id: `${id} ${answer.slice(0, space)}`, answer: answer.slice(space + 1) };
}

/** A second record of the same id gets '#2'. */
function numberRepeated(lines: readonly GoldenLine[]): GoldenLine[] {
  const seen = new Map<string, number>();
  return lines.map(({ id, answer }) => {
    const count = (seen.get(id) ?? 0) + 1;
    seen.set(id, count);
    return { id: count === 1 ? id : `${id} #${count}`, answer };
  });
}

/** The record of Linux 7.3, in the order of the questions. */
export function golden(): GoldenLine[] {
  return parseGolden(readFileSync(fileURLToPath(new URL('golden/linux-7.3.txt', import.meta.url)), 'utf8'));
}
