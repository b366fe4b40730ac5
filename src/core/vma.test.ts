/* What can happen to a VMA, and that its pgoff follows. R1 and R2 themselves are tested in test/rules. */
import { describe, expect, it } from 'vitest';
import { AddressSpace } from './address-space.ts';
import { ForeignFile } from './device-file.ts';
import { PAGE_SIZE } from './offset.ts';
import { Vma } from './vma.ts';

const PAGE = PAGE_SIZE;

function vmaOf(pages: number, pgoff: number = 100): Vma {
  return new Vma({
    file: new ForeignFile('ram'),
    process: 'p',
    start: 16 * PAGE,
    sizeBytes: pages * PAGE,
    pgoff,
  });
}

const shape = (vma: Vma): number[] => [vma.start / PAGE, vma.end / PAGE, vma.pgoff, vma.endPgoff];

describe('Vma', () => {
  it('splits into a low part that stays itself and a high part that goes on where it ends', () => {
    const vma = vmaOf(8);
    const [low, high] = vma.split(19 * PAGE);
    expect(low).toBe(vma);
    expect(shape(low)).toEqual([16, 19, 100, 103]);
    expect(shape(high)).toEqual([19, 24, 103, 108]);
    expect([high.file, high.process]).toEqual([vma.file, 'p']);
  });

  it('shrinks at the tail without, at the head with a new pgoff', () => {
    const tail = vmaOf(8);
    tail.shrink(3 * PAGE);
    expect(shape(tail)).toEqual([16, 19, 100, 103]);
    const head = vmaOf(8);
    head.shrink(3 * PAGE, 'head');
    expect(shape(head)).toEqual([21, 24, 105, 108]);
  });

  it('moves without changing what it shows', () => {
    const vma = vmaOf(8);
    vma.move(1000 * PAGE);
    expect(shape(vma)).toEqual([1000, 1008, 100, 108]);
  });

  it('stays findable in its address space by the pages it shows now', () => {
    const space = new AddressSpace();
    const vma = vmaOf(8);
    space.insert(vma);
    const [, high] = vma.split(20 * PAGE);
    high.shrink(PAGE, 'head');
    vma.move(64 * PAGE);
    expect(space.vmasIn(100 * PAGE, 4 * PAGE)).toEqual([vma]);
    expect(space.vmasIn(104 * PAGE, 3 * PAGE)).toEqual([]);
    expect(space.vmasIn(107 * PAGE, PAGE)).toEqual([high]);
    expect([vma.space, high.space, space.size]).toEqual([space, space, 2]);
  });

  it.each([
    { start: 1, sizeBytes: PAGE, pgoff: 0 },
    { start: 0, sizeBytes: PAGE + 1, pgoff: 0 },
    { start: -PAGE, sizeBytes: PAGE, pgoff: 0 },
    { start: 0, sizeBytes: PAGE, pgoff: 0.5 },
    { start: 0, sizeBytes: PAGE, pgoff: 2 ** 41 },
  ])('is whole pages that exact numbers can name: $start+$sizeBytes@$pgoff is EINVAL', (options) => {
    const file = new ForeignFile('ram');
    expect(() => new Vma({ file, process: 'p', ...options })).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
  });

  it('refuses what leaves nothing, cuts outside, or grows', () => {
    expect(() => vmaOf(0)).toThrow('at least one page');
    expect(() => vmaOf(2, 2 ** 41 - 1)).toThrow('below 2^53');
    expect(() => vmaOf(4).split(16 * PAGE)).toThrow('not inside');
    expect(() => vmaOf(4).split(20 * PAGE)).toThrow('not inside');
    expect(() => vmaOf(4).split(17 * PAGE + 1)).toThrow('not a multiple');
    expect(() => vmaOf(4).shrink(0)).toThrow('not a part');
    expect(() => vmaOf(4).shrink(5 * PAGE)).toThrow('not a part');
    expect(() => vmaOf(4).move(2 ** 53 - PAGE)).toThrow('below 2^53');
  });
});
