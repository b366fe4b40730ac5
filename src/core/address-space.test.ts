/* unmap_mapping_range: which VMAs are told, with which part of them. */
import { describe, expect, it } from 'vitest';
import { AddressSpace } from './address-space.ts';
import { ForeignFile } from './device-file.ts';
import { PAGE_SIZE } from './offset.ts';
import { Vma } from './vma.ts';

const PAGE = PAGE_SIZE;
const file = new ForeignFile('the device');

function vma(process: string, startPage: number, pages: number, pgoff: number): Vma {
  return new Vma({ file, process, start: startPage * PAGE, sizeBytes: pages * PAGE, pgoff });
}

function spaceOf(...vmas: Vma[]): { space: AddressSpace; zapped: unknown[] } {
  const space = new AddressSpace();
  const zapped: unknown[] = [];
  space.onZap = (v, start, length) => zapped.push([v.process, start / PAGE, length / PAGE]);
  for (const each of vmas) space.insert(each);
  return { space, zapped };
}

describe('AddressSpace', () => {
  it('zaps the overlapping part of each VMA, in virtual addresses of its process', () => {
    const { space, zapped } = spaceOf(
      vma('inside', 50, 2, 12),
      vma('before', 70, 4, 8),
      vma('around', 90, 100, 0),
    );
    expect(space.unmapMappingRange(10 * PAGE, 5 * PAGE)).toBe(3);
    expect(zapped).toEqual([
      ['around', 100, 5],
      ['before', 72, 2],
      ['inside', 50, 2],
    ]);
  });

  it('leaves VMAs alone that end where the range begins or begin where it ends', () => {
    const { space, zapped } = spaceOf(vma('low', 0, 10, 0), vma('high', 20, 10, 15));
    expect(space.unmapMappingRange(10 * PAGE, 5 * PAGE)).toBe(0);
    expect(zapped).toEqual([]);
  });

  it('takes whole pages for parts of pages', () => {
    const { space, zapped } = spaceOf(vma('p', 0, 10, 0));
    space.unmapMappingRange(3 * PAGE + 1, 1);
    space.unmapMappingRange(4 * PAGE - 1, 2);
    expect(zapped).toEqual([
      ['p', 3, 1],
      ['p', 3, 2],
    ]);
  });

  it('does nothing for a length of 0', () => {
    const { space, zapped } = spaceOf(vma('p', 0, 10, 0));
    expect([space.unmapMappingRange(0, 0), zapped]).toEqual([0, []]);
    expect(space.vmasIn(PAGE, 0)).toEqual([]);
  });

  it('keeps the VMAs: a zap takes pages, not mappings', () => {
    const one = vma('p', 0, 10, 0);
    const { space, zapped } = spaceOf(one);
    space.unmapMappingRange(0, PAGE);
    space.unmapMappingRange(0, PAGE);
    expect([zapped.length, space.size, [...space.vmas()]]).toEqual([2, 1, [one]]);
  });

  it('does not zap a VMA that the port itself removed or shrank out of the range', () => {
    const first = vma('first', 0, 2, 0);
    const removed = vma('removed', 10, 2, 0);
    const shrunk = vma('shrunk', 20, 4, 0);
    const { space, zapped } = spaceOf(first, removed, shrunk);
    space.onZap = (v, start) => {
      zapped.push([v.process, start / PAGE]);
      space.remove(removed);
      shrunk.shrink(PAGE, 'head');
    };
    space.unmapMappingRange(0, 2 * PAGE);
    expect(zapped).toEqual([['first', 0]]);
  });

  it('refuses a VMA that it has, one that it has not, and one of another space', () => {
    const one = vma('p', 0, 1, 0);
    const { space } = spaceOf(one);
    expect(() => space.insert(one)).toThrow(expect.objectContaining({ code: 'EEXIST' }));
    expect(() => new AddressSpace().insert(one)).toThrow('one address space at a time');
    space.remove(one);
    expect(() => space.remove(one)).toThrow(expect.objectContaining({ code: 'ENOENT' }));
    expect(one.space).toBeNull();
  });

  it('refuses ranges that end beyond 2^53', () => {
    const { space } = spaceOf();
    expect(space.unmapMappingRange(0, 2 ** 53)).toBe(0);
    for (const [start, length] of [
      [-1, 1],
      [0, -1],
      [2 ** 53, 4096],
      [0, Number.NaN],
    ] as const) {
      expect(() => space.unmapMappingRange(start, length)).toThrow(
        expect.objectContaining({ code: 'EOVERFLOW' }),
      );
    }
  });
});
