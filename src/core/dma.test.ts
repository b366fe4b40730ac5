/* A device without a client: every DMA is a fault value. */
import { describe, expect, it } from 'vitest';
import { ERRNO } from '../abi/errno.ts';
import { isDmaFault, NoClientDma } from './dma.ts';

describe('NoClientDma', () => {
  it('faults every access at its address and says why', () => {
    const port = new NoClientDma();
    const fault = { iova: 0x1000, reason: 'no client is attached', errno: ERRNO.ENODEV };
    expect(port.attached).toBe(false);
    expect(port.read(0x1000)).toEqual(fault);
    expect(port.write(0x1000)).toEqual(fault);
    expect(port.window(0x1000)).toEqual(fault);
  });
});

describe('isDmaFault', () => {
  it('tells a fault from a window and from success', () => {
    expect(isDmaFault(new NoClientDma().window(0))).toBe(true);
    expect(isDmaFault({ bytes: new Uint8Array(1), dead: null, close: () => {} })).toBe(false);
    expect(isDmaFault(null)).toBe(false);
  });
});
