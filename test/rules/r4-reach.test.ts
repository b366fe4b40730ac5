/*
 * R4 reach: memory that cannot be accessed is reached by nobody. Every reason against every way to the
 * memory; the live world has its own tests of the same rule.
 */
import { describe, expect, it } from 'vitest';
import { ERRNO } from '../../src/abi/index.ts';
import { Container, type Reason } from '../../src/core/index.ts';
import {
  card,
  dma,
  KINDS,
  mapDma,
  memoryOf,
  mmap,
  PAGE,
  PAGES,
  PageTables,
  readMessage,
  writeMessage,
} from '../support/pure-world.ts';

const REASONS: readonly Reason[] = [
  'memory decode is off',
  'I/O decode is off',
  'device is in D3hot',
  'device is in reset',
  'device is in low power',
  'device is stopped',
];

describe.each(KINDS)('memory of a %s device', (kind) => {
  it.each([...REASONS, 'device is released' as const])('is reached by nobody while %s', (reason) => {
    const device = card(kind);
    const region = device.region(0);
    const tables = new PageTables(device);
    const container = new Container();
    const [touched, untouched] = [mmap(region, 'p'), mmap(region, 'q')];
    const iova = mapDma(container, region);
    const last = touched.start + (PAGES - 1) * PAGE;
    expect([tables.touch(touched), tables.touch(touched, last), dma(container, iova)]).toEqual([
      'ok',
      'ok',
      'ok',
    ]);
    expect([readMessage(region), writeMessage(region, 5, 1)]).toEqual([0, 0]);

    if (reason === 'device is released') device.release();
    else device.suspend(reason);

    expect(device.accessible(region)).toBe(reason);
    expect(region.dmaReason(0, PAGE)).toBe(reason);
    expect([tables.touch(touched), tables.touch(touched, last), tables.touch(untouched)]).toEqual(
      new Array(3).fill('SIGBUS'),
    );
    expect(tables.touch(mmap(region, 'r'))).toBe('SIGBUS');
    expect([readMessage(region), writeMessage(region, 5, 2)]).toEqual([ERRNO.EIO, ERRNO.EIO]);
    expect(dma(container, iova)).toBe(reason);
    expect(memoryOf(region).suspended || memoryOf(region).released).toBe(true);
  });

  it('cannot be mapped for DMA meanwhile: EFAULT', () => {
    const device = card(kind);
    device.suspend('device is in D3hot');
    const map = (): number => mapDma(new Container(), device.region(0));
    expect(map).toThrow(expect.objectContaining({ code: 'EFAULT' }));
  });
});

describe('several reasons at once', () => {
  it('hold until the last one ends, whichever that is', () => {
    for (const first of REASONS) {
      for (const second of REASONS.filter((reason) => reason !== first)) {
        const device = card();
        const tables = new PageTables(device);
        const vma = mmap(device.region(2), 'p');
        device.suspend(first);
        device.suspend(second);
        expect(device.accessible(device.region(2))).toBe(first);
        device.resume(first);
        expect([device.accessible(device.region(2)), tables.touch(vma)]).toEqual([second, 'SIGBUS']);
        device.resume(second);
        expect([device.accessible(device.region(2)), tables.touch(vma)]).toEqual([null, 'ok']);
      }
    }
  });
});

describe('a handler', () => {
  it('is not asked while its region cannot be reached', () => {
    const device = card();
    let asked = 0;
    const answer = (): number => {
      asked++;
      return 0;
    };
    device.region(0).handler = { read: answer, write: answer };
    device.suspend('memory decode is off');
    expect([readMessage(device.region(0)), writeMessage(device.region(0), 0, 1), asked]).toEqual([
      ERRNO.EIO,
      ERRNO.EIO,
      0,
    ]);
    device.resume('memory decode is off');
    expect([readMessage(device.region(0)), asked]).toEqual([0, 1]);
  });

  it('of another region is asked all the time', () => {
    const device = card();
    device.suspend('memory decode is off');
    for (const index of [6, 7, 8, 9, 10]) expect(readMessage(device.region(index))).toBe(0);
  });
});

describe('bytes beyond the region', () => {
  it('are EINVAL and not EIO, suspended or not', () => {
    const device = card();
    expect(readMessage(device.region(0), PAGES * PAGE)).toBe(ERRNO.EINVAL);
    device.suspend('memory decode is off');
    expect(readMessage(device.region(0), PAGES * PAGE)).toBe(ERRNO.EINVAL);
  });
});
