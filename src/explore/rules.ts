/*
 * The properties that are checked, as sentences for people.
 */
import type { Property } from '../sim/machine.ts';

/** A property, and what it says. */
export interface Rule {
  readonly id: Property;
  /** One word, or two. */
  readonly name: string;
  readonly sentence: string;
}

/** Every property; R1 to R8 in the words of docs/architecture.md, in short. */
export const RULES: Readonly<Record<Property, Rule>> = {
  R1: {
    id: 'R1',
    name: 'coding',
    sentence:
      "Every mapping of every kind of device keeps the region's offset in vm_pgoff, and none stores a physical page there.",
  },
  R2: {
    id: 'R2',
    name: 'lookup',
    sentence:
      'A VMA leads to its device, region and offset, or to nothing where its memory must not reach an IOMMU.',
  },
  R3: {
    id: 'R3',
    name: 'consent',
    sentence: 'A region is a DMA target only while its driver allows that, region by region.',
  },
  R4: {
    id: 'R4',
    name: 'reach',
    sentence:
      'Memory that cannot be accessed (decode off, D3hot, in reset, released) is reached by nobody, neither by a CPU nor by DMA.',
  },
  R5: {
    id: 'R5',
    name: 'scope',
    sentence:
      'When the BARs go, every CPU mapping of a BAR is taken away, and no mapping of anything else is.',
  },
  R6: {
    id: 'R6',
    name: 'lifetime',
    sentence:
      'An IOMMU mapping of device memory ends with that memory: when the revocation returns, nothing translates and no DMA is in flight.',
  },
  R7: {
    id: 'R7',
    name: 'return',
    sentence:
      'When the memory is back, CPU mappings fault in again and IOMMU mappings translate again, with no action by their owner.',
  },
  R8: {
    id: 'R8',
    name: 'nothing lost',
    sentence:
      'Device memory keeps its contents while it is away; only a reset clears what the device says a reset clears.',
  },
  deadlock: {
    id: 'deadlock',
    name: 'deadlock',
    sentence: 'No lock is left behind, and no thread waits for ever for a lock or for another thread.',
  },
  leak: {
    id: 'leak',
    name: 'leak',
    sentence: 'When nothing is mapped, no reference to a device and no listener is left.',
  },
  progress: {
    id: 'progress',
    name: 'progress',
    sentence: 'Every load, store and DMA that begins comes to its end: it arrives, or it faults.',
  },
};

/** 'R5 (scope)', 'deadlock'. */
export function ruleTitle(property: Property): string {
  const { id, name } = RULES[property];
  return id === name ? id : `${id} (${name})`;
}
