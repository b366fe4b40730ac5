import { describe, expect, it } from 'vitest';
import { ERRNO } from '../../abi/index.ts';
import { type DmaFault, type DmaPort, NoClientDma } from '../../core/index.ts';
import { BusMasterPort, type DmaObserver } from './bus-master.ts';

const FAULT: DmaFault = { iova: 0x2000, reason: 'not mapped', errno: ERRNO.EFAULT };

/** Reads go well at once, writes fault later. */
class HalfMemory extends NoClientDma implements DmaPort {
  override read(): never {
    return null as never;
  }

  override write(): never {
    return Promise.resolve(FAULT) as never;
  }
}

describe("an observer of a function's DMA", () => {
  it('sees every transfer with its address, length and result', async () => {
    const port = new BusMasterPort(new HalfMemory());
    const seen: Parameters<DmaObserver>[] = [];
    port.observer = (...args) => seen.push(args);
    const bytes = new Uint8Array(16);
    expect(port.read(0x1000, bytes)).toBeNull();
    port.read(0x1000, bytes, 4);
    expect(await port.write(0x2000, bytes, 4, 8)).toBe(FAULT);
    port.blocked = 'bus master is off';
    port.read(0x3000, bytes);
    port.window(0x4000, 4096, true);
    const results = await Promise.all(
      seen.map(async ([what, iova, size, result]) => [what, iova, size, await result]),
    );
    const off = { reason: 'bus master is off', errno: ERRNO.EIO };
    expect(results).toEqual([
      ['read', 0x1000, 16, null],
      ['read', 0x1000, 12, null],
      ['write', 0x2000, 8, FAULT],
      ['read', 0x3000, 16, { ...off, iova: 0x3000 }],
      ['window', 0x4000, 4096, { ...off, iova: 0x4000 }],
    ]);
  });
});
