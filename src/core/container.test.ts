/* Container: what it adds to the kernel's answers (those are in test/parity), and which refusal wins. */
import { describe, expect, it } from 'vitest';
import { Container, DMA_ENTRY_LIMIT } from './container.ts';
import type { DmaFaultReason } from './dma.ts';
import type { DmaMapping } from './dma-mapping.ts';
import type { VfioError } from './error.ts';
import { PAGE_SIZE } from './offset.ts';
import type { DmaSource } from './source.ts';
import { Translation } from './translation.ts';

const PAGE = PAGE_SIZE;

/** Memory of a client: what it answers can be set. */
class StubSource implements DmaSource {
  readonly kind = 'client';
  readonly description = 'stub memory';
  /** Bytes from here on are unavailable. */
  end: number;
  detached = 0;

  constructor(end = Infinity) {
    this.end = end;
  }

  unavailable(offset: number, size: number): DmaFaultReason | null {
    return offset + size > this.end ? 'memory was lost' : null;
  }

  detach(): void {
    this.detached++;
  }
}

function map(
  container: Container,
  iova: number,
  size: number,
  source: DmaSource = new StubSource(),
): DmaMapping {
  return container.map({ iova, size, read: true, write: true, source });
}

function codeOf(action: () => unknown): string {
  try {
    action();
    return '0';
  } catch (error) {
    return (error as VfioError).code;
  }
}

describe('Container.map', () => {
  it('answers with the first refusal in the kernel order when several apply', () => {
    const container = new Container({ limit: 1, iovaRanges: [{ start: 0, end: 64 * PAGE }] });
    const bad = new StubSource(0);
    const good = { read: true, write: true, source: bad };
    const answer = (iova: number, size: number, more: object = {}): string =>
      codeOf(() => container.map({ ...good, iova, size, ...more }));
    // The source alone, then with one more mistake each, from the last check to the first.
    expect(answer(0, PAGE)).toBe('EFAULT');
    expect(answer(64 * PAGE, PAGE)).toBe('EINVAL');
    map(container, 32 * PAGE, 2 * PAGE);
    expect(answer(64 * PAGE, PAGE)).toBe('ENOSPC');
    expect(answer(32 * PAGE, 64 * PAGE)).toBe('EEXIST');
    expect(answer(32 * PAGE, 2 ** 53)).toBe('EOVERFLOW');
    expect(answer(32 * PAGE + 1, 2 ** 53)).toBe('EINVAL');
    expect(answer(32 * PAGE, 2 ** 53, { read: false, write: false })).toBe('EINVAL');
    expect(container.size).toBe(1);
  });

  it('tells alignment from access by what it says', () => {
    const container = new Container();
    const source = new StubSource();
    expect(() => container.map({ iova: 1, size: 0, read: false, write: false, source })).toThrow(
      /read, write or both/,
    );
    expect(() => container.map({ iova: 1, size: PAGE, read: true, write: false, source })).toThrow(
      /multiples of 4096/,
    );
    expect(() =>
      container.map({ iova: 0, size: PAGE, read: true, write: false, source, sourceOffset: 1 }),
    ).toThrow(/multiples of 4096/);
  });

  it('has no address at 2^53 and above, but every one below', () => {
    const container = new Container();
    for (const iova of [2 ** 53, 2 ** 60, 2 ** 64 - PAGE, 2 ** 64]) {
      expect(codeOf(() => map(container, iova, PAGE))).toBe('EOVERFLOW');
      expect(iova + PAGE > 2 ** 64 ? 'wraps' : container.unmap(iova, PAGE)).toBe(
        iova === 2 ** 64 ? 'wraps' : 0,
      );
    }
    expect(codeOf(() => map(container, 2 ** 53 - PAGE, 2 * PAGE))).toBe('EOVERFLOW');
    map(container, 2 ** 53 - PAGE, PAGE);
    const out = new Translation();
    expect(container.translate(2 ** 53 - 1, 1, true, out)).toBeNull();
    // From 2^53 on, iova + size may be iova again: that must not pass for an empty transfer.
    for (const iova of [2 ** 53, 2 ** 60, Infinity, -1, Number.NaN]) {
      expect(container.translate(iova, 1, true, out)).toMatchObject({ reason: 'not mapped' });
    }
    expect(container.translate(2 ** 53 - 1, 2, true, out)).toMatchObject({
      iova: 2 ** 53,
      reason: 'not mapped',
    });
  });

  it('keeps the limit of type1 and gives entries back', () => {
    const container = new Container();
    expect([container.limit, container.available]).toEqual([DMA_ENTRY_LIMIT, 65_535]);
    for (let i = 0; i < DMA_ENTRY_LIMIT; i++) map(container, i * PAGE, PAGE);
    expect(container.available).toBe(0);
    expect(codeOf(() => map(container, 65_535 * PAGE, PAGE))).toBe('ENOSPC');
    expect(container.unmap(7 * PAGE, PAGE)).toBe(PAGE);
    map(container, 65_535 * PAGE, PAGE);
    expect(container.unmap(0, 0, { all: true })).toBe(DMA_ENTRY_LIMIT * PAGE);
    expect([container.size, container.available]).toEqual([0, 65_535]);
  });

  it('maps in the smallest of its page sizes', () => {
    const container = new Container({ pageSizes: 0x40210000 });
    expect(container.pageSizeBytes).toBe(0x10000);
    expect(codeOf(() => map(container, 0, 0x1000))).toBe('EINVAL');
    map(container, 0, 0x10000);
    expect(codeOf(() => container.unmap(0, 0x1000))).toBe('EINVAL');
    expect(() => new Container({ pageSizes: 0x800 })).toThrow(/4 KiB or larger/);
  });

  it('leaves the source to the caller when it refuses', () => {
    const container = new Container();
    const source = new StubSource();
    map(container, 0, PAGE);
    expect(codeOf(() => map(container, 0, PAGE, source))).toBe('EEXIST');
    expect(source.detached).toBe(0);
  });

  it('takes the MSI window out of any ranges', () => {
    const ranges = (start: number, end: number): unknown =>
      new Container({ msiHole: true, iovaRanges: [{ start, end }] }).iovaRanges;
    expect(ranges(0, 2 ** 48)).toEqual([
      { start: 0, end: 0xfee0_0000 },
      { start: 0xfef0_0000, end: 2 ** 48 },
    ]);
    expect(ranges(0xfee0_0000, 0xfef0_0000)).toEqual([]);
    expect(ranges(0, PAGE)).toEqual([{ start: 0, end: PAGE }]);
  });
});

describe('Container.translate', () => {
  function twoAndAHole(): { container: Container; out: Translation } {
    const container = new Container();
    container.map({
      iova: PAGE,
      size: PAGE,
      read: true,
      write: true,
      source: new StubSource(),
      sourceOffset: 7 * PAGE,
    });
    container.map({ iova: 2 * PAGE, size: 2 * PAGE, read: true, write: false, source: new StubSource() });
    container.map({ iova: 5 * PAGE, size: PAGE, read: false, write: true, source: new StubSource() });
    return { container, out: new Translation() };
  }

  const segments = (out: Translation): unknown[] =>
    Array.from({ length: out.count }, (_, i) => [out.mapping[i]!.iova, out.offset[i], out.length[i]]);

  it('spans mappings', () => {
    const { container, out } = twoAndAHole();
    expect(container.translate(PAGE + 8, 2 * PAGE, false, out)).toBeNull();
    expect(segments(out)).toEqual([
      [PAGE, 7 * PAGE + 8, PAGE - 8],
      [2 * PAGE, 0, PAGE + 8],
    ]);
  });

  it('names the first byte that is not mapped', () => {
    const { container, out } = twoAndAHole();
    const fault = (iova: number, size: number, write: boolean): unknown =>
      container.translate(iova, size, write, out);
    expect(fault(PAGE - 1, 2, false)).toMatchObject({ iova: PAGE - 1, reason: 'not mapped' });
    expect(fault(PAGE, 5 * PAGE, false)).toMatchObject({ iova: 4 * PAGE, reason: 'not mapped' });
    expect(fault(PAGE, 5 * PAGE, true)).toMatchObject({ iova: 2 * PAGE, reason: 'write is not allowed' });
    expect(fault(5 * PAGE + 9, 1, false)).toMatchObject({
      iova: 5 * PAGE + 9,
      reason: 'read is not allowed',
    });
    expect(fault(5 * PAGE, PAGE + 1, true)).toMatchObject({ iova: 6 * PAGE, reason: 'not mapped' });
    expect(out.count).toBe(0);
  });

  it('names the first byte that its source cannot give', () => {
    const container = new Container();
    const source = new StubSource();
    container.map({
      iova: 16 * PAGE,
      size: 4 * PAGE,
      read: true,
      write: true,
      source,
      sourceOffset: 8 * PAGE,
    });
    const out = new Translation();
    for (const end of [8 * PAGE, 8 * PAGE + 1, 9 * PAGE + 77, 12 * PAGE - 1]) {
      source.end = end;
      const first = 16 * PAGE + (end - 8 * PAGE);
      expect(container.translate(16 * PAGE, 4 * PAGE, false, out)).toMatchObject({
        iova: first,
        reason: 'memory was lost',
      });
      expect(container.translate(19 * PAGE, PAGE, false, out)).toMatchObject({
        iova: Math.max(first, 19 * PAGE),
      });
      if (first > 16 * PAGE) expect(container.translate(16 * PAGE, first - 16 * PAGE, false, out)).toBeNull();
    }
  });

  it('has an empty result for an empty transfer, wherever it points', () => {
    const { container, out } = twoAndAHole();
    expect(container.translate(100 * PAGE, 0, true, out)).toBeNull();
    expect(out.count).toBe(0);
  });

  it('does not answer from a mapping that has been replaced', () => {
    const container = new Container();
    const out = new Translation();
    map(container, 0, PAGE);
    expect(container.translate(0, 8, true, out)).toBeNull();
    container.unmap(0, PAGE);
    expect(container.translate(0, 8, true, out)).toMatchObject({ iova: 0, reason: 'not mapped' });
    const next = map(container, 0, 2 * PAGE);
    expect(container.translate(0, 8, true, out)).toBeNull();
    expect(out.mapping[0]).toBe(next);
  });

  it('makes room for as many segments as there are', () => {
    const container = new Container();
    for (let i = 0; i < 100; i++) map(container, i * PAGE, PAGE);
    const out = new Translation();
    expect(container.translate(0, 100 * PAGE, false, out)).toBeNull();
    expect([out.count, out.mapping[99]!.iova, out.length[99]]).toEqual([100, 99 * PAGE, PAGE]);
    out.clear();
    expect([out.count, out.mapping.length]).toEqual([0, 0]);
  });
});

describe('DMA in flight', () => {
  it('holds an unmapped mapping until its last use ends', async () => {
    const container = new Container();
    const source = new StubSource();
    const mapping = map(container, PAGE, PAGE, source);
    const out = new Translation();
    container.acquire(mapping);
    container.acquire(mapping);
    expect(container.idle()).toBeNull();
    expect(container.unmap(0, 4 * PAGE)).toBe(PAGE);

    expect(container.translate(PAGE + 5, 1, false, out)).toMatchObject({
      iova: PAGE + 5,
      reason: 'mapping is being removed',
    });
    expect(codeOf(() => map(container, PAGE, PAGE))).toBe('EEXIST');
    expect(container.unmap(0, 4 * PAGE)).toBe(0);
    expect(container.unmap(PAGE, PAGE)).toBe(0);
    expect(() => container.acquire(mapping)).toThrow(/being removed/);

    let idle = false;
    const waiting = container.idle()!.then(() => {
      idle = true;
    });
    container.release(mapping);
    await Promise.resolve();
    expect([idle, source.detached, container.size]).toEqual([false, 0, 1]);
    container.release(mapping);
    expect([source.detached, container.size, container.idle()]).toEqual([1, 0, null]);
    await waiting;
    expect(idle).toBe(true);
    expect(container.translate(PAGE, 1, false, out)).toMatchObject({ reason: 'not mapped' });
    expect(() => container.release(mapping)).toThrow(/more often/);
  });

  it('waits for one mapping or for all that are dying', async () => {
    const container = new Container();
    const [a, b] = [map(container, 0, PAGE), map(container, PAGE, PAGE)];
    const events: string[] = [];
    container.acquire(a);
    container.acquire(b);
    container.unmap(0, 0, { all: true });
    const all = container.idle()!.then(() => events.push('all'));
    const one = container.idle(a)!.then(() => events.push('a'));
    container.release(a);
    await one;
    expect([events, container.idle(a)]).toEqual([['a'], null]);
    container.release(b);
    await all;
    expect(events).toEqual(['a', 'all']);
  });

  it('can wait for a mapping that stays', async () => {
    const container = new Container();
    const mapping = map(container, 0, PAGE);
    container.acquire(mapping);
    const waiting = container.idle(mapping)!;
    container.release(mapping);
    await waiting;
    expect(container.find(0)).toBe(mapping);
  });
});

describe('what Container tells', () => {
  it('tells listeners of each mapping, when nothing new can go through it', () => {
    const container = new Container();
    const out = new Translation();
    const told: unknown[] = [];
    const stop = container.onUnmap((mapping) => {
      told.push([mapping.iova, mapping.dying, container.translate(mapping.iova, 1, true, out)?.reason]);
    });
    map(container, 0, PAGE);
    map(container, PAGE, PAGE);
    container.unmap(0, 2 * PAGE);
    expect(told).toEqual([
      [0, true, 'mapping is being removed'],
      [PAGE, true, 'mapping is being removed'],
    ]);
    stop();
    map(container, 0, PAGE);
    container.unmap(0, PAGE);
    expect(told).toHaveLength(2);
  });

  it('unmaps everything even when a listener and a source throw', () => {
    const container = new Container();
    const broken = new StubSource();
    broken.detach = () => {
      throw new Error('close failed');
    };
    const good = new StubSource();
    map(container, 0, PAGE, broken);
    map(container, PAGE, PAGE, good);
    container.onUnmap(() => {
      throw new Error('window failed');
    });
    expect(() => container.unmap(0, 2 * PAGE)).toThrow(AggregateError);
    expect([container.size, good.detached]).toEqual([0, 1]);
  });

  it('lets a listener end the last use', () => {
    const container = new Container();
    const source = new StubSource();
    const mapping = map(container, 0, PAGE, source);
    container.acquire(mapping);
    container.onUnmap((each) => container.release(each));
    expect(container.unmap(0, PAGE)).toBe(PAGE);
    expect([container.size, container.idle(), source.detached]).toEqual([0, null, 1]);
  });

  it('lists mappings by IOVA', () => {
    const container = new Container();
    for (const page of [9, 3, 5, 1]) map(container, page * PAGE, PAGE);
    expect([...container.mappings()].map((mapping) => mapping.iova / PAGE)).toEqual([1, 3, 5, 9]);
  });

  it('ends everything when it is closed, once', () => {
    const container = new Container();
    const sources = [new StubSource(), new StubSource()];
    const busy = map(container, 0, PAGE, sources[0]);
    map(container, PAGE, PAGE, sources[1]);
    container.acquire(busy);
    container.close();
    container.close();
    expect([container.closed, container.size, sources.map((each) => each.detached)]).toEqual([
      true,
      1,
      [0, 1],
    ]);
    expect(codeOf(() => map(container, 8 * PAGE, PAGE))).toBe('EINVAL');
    container.release(busy);
    expect([container.size, sources[0]!.detached]).toEqual([0, 1]);
  });
});
