/*
 * Bits of the things that steps read and write, for the checker's reduction: steps that share no bit can be done in either order.
 */
import type { Machine } from '../machine.ts';

/** Decode, power, places and counts of a device, and the core's objects of it. */
export function deviceBit(machine: Machine, device: number): number {
  return machine.bit(`device ${device}`);
}

/** The memory of a device. */
export function contentBit(machine: Machine, device: number): number {
  return machine.bit(`contents ${device}`);
}

/** The page table entries of a VMA, and the VMA. */
export function pageTableBit(machine: Machine, vma: number): number {
  return machine.bit(`page table ${vma}`);
}

/** IOMMU and IOTLB entry of a mapping, and the mapping. */
export function entryBit(machine: Machine, mapping: number): number {
  return machine.bit(`entry ${mapping}`);
}

/** DMA in flight through a mapping. */
export function flightBit(machine: Machine, mapping: number): number {
  return machine.bit(`flight ${mapping}`);
}
