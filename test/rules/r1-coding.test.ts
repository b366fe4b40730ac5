/*
 * R1 coding: one address space per device, `index << 40`, kept by every mapping of every kind of device;
 * computed from the VMA as it is now, however it was split, shrunk and moved.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DeviceRange, deviceFromVma, VfioDevice, type Vma } from '../../src/core/index.ts';
import { card, INDEXES, KINDS, mmap, PAGE, PAGES } from '../support/pure-world.ts';

describe.each(KINDS)('a %s device', (kind) => {
  it('has each region at its index shifted left by 40', () => {
    const device = card(kind);
    for (const index of INDEXES) expect(BigInt(device.region(index).offset)).toBe(BigInt(index) << 40n);
  });

  it('has VMAs whose pgoff is (index << 28) + page, and nothing physical', () => {
    const device = card(kind);
    for (const index of INDEXES) {
      const vma = mmap(device.region(index), 'p', 3, 5);
      expect(BigInt(vma.pgoff)).toBe((BigInt(index) << 28n) + 3n);
    }
  });

  it('finds region and place again from the pgoff alone', () => {
    const device = card(kind);
    for (const index of INDEXES) {
      const region = device.region(index);
      expect(deviceFromVma(mmap(region, 'p', 3, 5))).toEqual({ device, region, offset: 3 * PAGE });
    }
  });
});

it('region indexes whose offset is not exact are EOVERFLOW', () => {
  const regions = [{ index: 8192, sizeBytes: PAGE }];
  expect(() => new VfioDevice({ name: 'd', kind: 'pci', regions, irqs: [] })).toThrow(/index 8192/);
});

/**
 * Pieces of one mapping; `pages[i]` is the region's page that address `start + i` pages showed from the
 * beginning.
 */
interface Piece {
  readonly vma: Vma;
  pages: number[];
}

type Lookup = (vma: Vma, address: number) => DeviceRange | null;

/** Splits, shrinks and moves a mapping of BAR 2, and looks up every page of every piece after each step. */
function mangle(steps: readonly (readonly [number, number, number])[], lookup: Lookup): void {
  const region = card().region(2);
  const pieces: Piece[] = [{ vma: mmap(region, 'p'), pages: Array.from({ length: PAGES }, (_, i) => i) }];
  for (const [kind, pick, amount] of steps) {
    const piece = pieces[pick % pieces.length]!;
    const keep = 1 + (amount % piece.pages.length);
    if (kind === 0 && keep < piece.pages.length) {
      const [, high] = piece.vma.split(piece.vma.start + keep * PAGE);
      pieces.push({ vma: high, pages: piece.pages.splice(keep) });
    } else if (kind === 1) {
      piece.vma.shrink(keep * PAGE, 'tail');
      piece.pages.splice(keep);
    } else if (kind === 2) {
      piece.vma.shrink(keep * PAGE, 'head');
      piece.pages.splice(0, piece.pages.length - keep);
    } else piece.vma.move(amount * PAGE);
    for (const { vma, pages } of pieces) {
      const found = pages.map((_, i) => lookup(vma, vma.start + i * PAGE)?.offset);
      expect(found).toEqual(pages.map((page) => page * PAGE));
    }
  }
}

describe('a mapping that user space mangles', () => {
  const steps = fc.array(fc.tuple(fc.nat(3), fc.nat(100), fc.nat(100_000)), { maxLength: 30 });

  it('still shows what its pages showed at the mmap', () => {
    const lookup: Lookup = (vma, address) => deviceFromVma(vma, address, PAGE);
    fc.assert(
      fc.property(steps, (script) => mangle(script, lookup)),
      { seed: 20_210_309, numRuns: 500 },
    );
  });

  it('canary: a lookup that keeps the offset of the first mmap is seen to be wrong', () => {
    const kept = new Map<Vma, DeviceRange | null>();
    const lookup: Lookup = (vma, address) => {
      const range = kept.get(vma) ?? deviceFromVma(vma);
      kept.set(vma, range);
      return range && { ...range, offset: range.offset + (address - vma.start) };
    };
    const property = fc.property(steps, (script) => mangle(script, lookup));
    const result = fc.check(property, { seed: 20_210_309, numRuns: 500 });
    expect(String(result.errorInstance)).toMatch(/^AssertionError/);
  });
});
