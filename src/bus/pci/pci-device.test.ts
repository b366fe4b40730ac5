/*
 * The function as a whole: what decode, power states, opening and resets do to its regions (R4, R5, R7, R8) and its
 * DMA. Rules of the core itself have their tests there.
 */
import { describe, expect, test } from 'vitest';
import {
  attachPlainMemory,
  type DmaFault,
  type DmaPort,
  type DmaWindow,
  indexToOffset,
  isDmaFault,
  type MaybePromise,
  REGION_SPAN,
} from '../../core/index.ts';
import { PciDevice, type PciDeviceSpec, type PciReset, type RegisterTable } from './index.ts';
import { readConfig, regionRead, regionWrite, writeConfig } from './testing.ts';

const SPEC: PciDeviceSpec = {
  name: 'pci',
  vendorId: 0x1234,
  deviceId: 0x5678,
  classCode: 0xff_0000,
  interruptPin: 1,
  bars: {
    0: { type: 'mem32', sizeBytes: 8192, mappable: true, dma: 'allow' },
    2: { type: 'mem64', sizeBytes: 16_384, mappable: [{ offset: 4096, size: 4096, dma: 'deny' }] },
  },
  capabilities: [{ type: 'power-management' }, { type: 'express' }],
};
const PMCSR = 0x44;
const DEVCTL = 0x50;

class Recorder extends PciDevice {
  readonly resets: PciReset[] = [];
  /** What the next onReset returns. */
  answer: MaybePromise<void> = undefined;

  registersAt<const T extends RegisterTable>(bar: 0 | 2, table: T) {
    return this.addRegisters(bar, table);
  }

  protected override onReset(kind: PciReset): MaybePromise<void> {
    this.resets.push(kind);
    return this.answer;
  }
}

/** The device, opened, with memory, and a log of what its notifier says. */
function opened(spec: Partial<PciDeviceSpec> = {}) {
  const device = new Recorder({ ...SPEC, ...spec });
  const memories = attachPlainMemory(device);
  device.opened();
  const log: string[] = [];
  for (const event of ['suspend', 'resume'] as const) {
    device.on(event, ({ start, length, reason }) => {
      log.push(`${event} ${start / REGION_SPAN}+${length / REGION_SPAN}: ${reason}`);
    });
  }
  return { device, memories, log };
}

describe('memory decode', () => {
  test('is off after power-on and on when a client opens the device', () => {
    const device = new Recorder(SPEC);
    expect(device.accessible(device.region(0))).toBe('memory decode is off');
    device.opened();
    expect(device.accessible(device.region(0))).toBeNull();
    expect(readConfig(device, 4, 2)).toBe('0200');
  });

  test('off: nobody reaches the BARs, exactly BAR0 to BAR5 are taken away, contents stay (R4, R5, R7, R8)', () => {
    const { device, memories, log } = opened();
    regionWrite(device, 0, 0, 'a5');
    writeConfig(device, 4, '0000');
    expect(device.region(0).read(0, 1, new DataView(new ArrayBuffer(1)), 0)).toBe(5);
    expect(memories.get(0)!.suspended).toBe(true);
    writeConfig(device, 4, '0200');
    expect(regionRead(device, 0, 0, 1)).toBe('a5');
    expect(log).toEqual(['suspend 0+6: memory decode is off', 'resume 0+6: memory decode is off']);
    expect(indexToOffset(6)).toBe(6 * REGION_SPAN);
  });

  test('a write that does not change it tells nobody', () => {
    const { device, log } = opened();
    writeConfig(device, 4, '0604');
    writeConfig(device, 5, '01');
    expect(log).toEqual([]);
  });

  test('switches memory BARs, I/O decode the others', () => {
    const { device, log } = opened({
      bars: {
        0: { type: 'mem32', sizeBytes: 4096 },
        1: { type: 'io', sizeBytes: 32 },
        2: { type: 'mem32', sizeBytes: 16 },
      },
    });
    expect(readConfig(device, 4, 2)).toBe('0300');
    writeConfig(device, 4, '01');
    expect([0, 1, 2].map((index) => device.accessible(device.region(index)))).toEqual([
      'memory decode is off',
      null,
      'memory decode is off',
    ]);
    writeConfig(device, 4, '02');
    expect([0, 1, 2].map((index) => device.accessible(device.region(index)))).toEqual([
      null,
      'I/O decode is off',
      null,
    ]);
    expect(log).toEqual([
      'suspend 0+1: memory decode is off',
      'suspend 2+1: memory decode is off',
      'suspend 1+1: I/O decode is off',
      'resume 0+1: memory decode is off',
      'resume 2+1: memory decode is off',
    ]);
  });

  test('the ROM can be read while it is on, and never written', () => {
    const { device } = opened({ rom: Uint8Array.of(0x55, 0xaa) });
    expect(regionRead(device, 6, 0, 4)).toBe('55aaffff');
    const view = new DataView(new ArrayBuffer(4));
    expect(device.region(6).write(0, 4, view, 0)).toBe(22);
    writeConfig(device, 4, '0000');
    expect(device.region(6).read(0, 4, view, 0)).toBe(5);
  });

  test('commandAtOpen overrides what opening sets', () => {
    const { device } = opened({ commandAtOpen: 0 });
    expect(device.accessible(device.region(0))).toBe('memory decode is off');
  });
});

describe('regions', () => {
  test('are those of vfio-pci: BARs, config at 7, nine in all', () => {
    const { device } = opened({ rom: new Uint8Array(10) });
    expect(device.regionCount).toBe(9);
    expect([...device.regions.values()].map(({ index, sizeBytes }) => [index, sizeBytes])).toEqual([
      [0, 8192],
      [2, 16_384],
      [6, 2048],
      [7, 4096],
    ]);
    expect(new PciDevice({ ...SPEC, capabilities: [] }).region(7).sizeBytes).toBe(256);
  });

  test('device-specific ones follow', () => {
    const { device } = opened({
      extraRegions: [{ index: 9, sizeBytes: 4096, type: { type: 0x8000_1234, subtype: 1 } }],
    });
    expect([device.regionCount, device.region(9).sizeBytes]).toEqual([10, 4096]);
    writeConfig(device, 4, '0000');
    expect(device.accessible(device.region(9))).toBeNull();
  });

  test('a BAR that is partly mappable: areas are memory, the rest is registers', () => {
    const { device, memories } = opened();
    const regs = device.registersAt(2, { ID: { offset: 0xffc, width: 4, access: 'rw', reset: 0x1234_5678 } });
    regionWrite(device, 2, 0xffe, 'aaaabbbb');
    expect(regs.ID).toBe(0xaaaa_5678);
    expect([...memories.get(2)!.bytesAt(4096).subarray(4096, 4098)]).toEqual([0xbb, 0xbb]);
    expect(regionRead(device, 2, 0xffc, 8)).toBe('7856aaaabbbb0000');
    expect(regionRead(device, 2, 0x2000, 2)).toBe('ffff');
  });

  test('registers that nobody could reach are a mistake', () => {
    const { device } = opened();
    const at = (offset: number) => ({ LOST: { offset, width: 4, access: 'rw' } }) as const;
    expect(() => device.registersAt(2, at(4096))).toThrow('register LOST lies under');
    expect(() => device.registersAt(2, at(16_384))).toThrow('registers end at 16388');
    expect(() => device.registersAt(0, at(0))).toThrow('lies under MSI-X or a mappable area');
  });
});

describe('power states', () => {
  test('D3hot takes the BARs away, D0 gives them back with their contents', () => {
    const { device, log } = opened();
    regionWrite(device, 0, 0, 'a5');
    writeConfig(device, PMCSR, '0300');
    expect(device.accessible(device.region(0))).toBe('device is in D3hot');
    expect(readConfig(device, 0, 2)).toBe('3412');
    writeConfig(device, PMCSR, '0000');
    expect(regionRead(device, 0, 0, 1)).toBe('a5');
    expect(log).toEqual(['suspend 0+6: device is in D3hot', 'resume 0+6: device is in D3hot']);
    expect(device.resets).toEqual([]);
  });

  test('D1 and D2 do not exist: the write changes nothing', () => {
    const { device, log } = opened();
    writeConfig(device, PMCSR, '01');
    writeConfig(device, PMCSR, '02');
    expect([readConfig(device, PMCSR, 2), log]).toEqual(['0800', []]);
    writeConfig(device, PMCSR, '03');
    writeConfig(device, PMCSR, '01');
    expect(readConfig(device, PMCSR, 2)).toBe('0b00');
  });

  test('decode off within D3hot: both reasons have to go', () => {
    const { device, memories } = opened();
    writeConfig(device, PMCSR, '03');
    writeConfig(device, 4, '00');
    writeConfig(device, PMCSR, '00');
    expect(device.accessible(device.region(0))).toBe('memory decode is off');
    writeConfig(device, 4, '02');
    expect(memories.get(0)!.calls).toEqual(['suspend', 'resume', 'suspend', 'resume']);
  });

  test('without No_Soft_Reset, leaving D3hot resets the function', () => {
    const { device } = opened({ capabilities: [{ type: 'power-management', noSoftReset: false }] });
    writeConfig(device, 0x10, '0000adfe');
    writeConfig(device, PMCSR, '03');
    expect(device.resets).toEqual([]);
    writeConfig(device, PMCSR, '00');
    expect(device.resets).toEqual(['power']);
    // vfio-pci saves the header on the way into D3hot and restores it on the way out.
    expect([readConfig(device, 0x10, 4), readConfig(device, 4, 2), readConfig(device, PMCSR, 2)]).toEqual([
      '0000adfe',
      '0200',
      '0000',
    ]);
    expect(device.accessible(device.region(0))).toBeNull();
  });

  test('a client that opens a sleeping device finds it awake', () => {
    const { device } = opened();
    writeConfig(device, PMCSR, '03');
    device.closed();
    device.opened();
    expect(device.accessible(device.region(0))).toBeNull();
  });
});

describe('VFIO_DEVICE_RESET', () => {
  test('keeps COMMAND, BARs and link control; clears errors, wakes the device', () => {
    const { device, log } = opened();
    writeConfig(device, 4, '0605');
    writeConfig(device, 0x10, '0000adfe');
    writeConfig(device, DEVCTL, '1f28');
    writeConfig(device, PMCSR, '03');
    device.config.set16(6, 0xf910);
    log.length = 0;
    expect(device.reset()).toBeUndefined();
    expect(readConfig(device, 4, 4)).toBe('06051000');
    expect(readConfig(device, 0x10, 4)).toBe('0000adfe');
    expect(readConfig(device, DEVCTL, 2)).toBe('1f28');
    expect(readConfig(device, PMCSR, 2)).toBe('0800');
    expect(device.resets).toEqual(['device']);
    expect(device.accessible(device.region(0))).toBeNull();
  });

  test('is refused by a function that has none, and changes nothing', () => {
    const { device } = opened({ resettable: false, capabilities: [{ type: 'power-management' }] });
    expect(device.resettable).toBe(false);
    expect(() => device.reset()).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect([device.resets, device.accessible(device.region(0))]).toEqual([[], null]);
  });

  test.each([
    ['FLR', { type: 'express' }],
    ['leaving D3hot', { type: 'power-management', noSoftReset: false }],
  ] as const)('cannot be switched off where %s resets the function', (_name, capability) => {
    expect(() => opened({ resettable: false, capabilities: [capability] })).toThrow(/not resettable/);
  });

  test('clears what the device says it clears, and registers; nothing else (R8)', () => {
    const { device } = opened({
      bars: {
        0: { type: 'mem32', sizeBytes: 4096, mappable: true },
        1: { type: 'mem32', sizeBytes: 4096, mappable: true, resetClears: true },
        2: { type: 'mem32', sizeBytes: 4096 },
      },
    });
    const regs = device.registersAt(2, { A: { offset: 0, width: 4, access: 'rw', reset: 7 } });
    for (const bar of [0, 1, 2]) regionWrite(device, bar, 0, '11223344');
    device.reset();
    expect(regs.A).toBe(7);
    expect([regionRead(device, 0, 0, 4), regionRead(device, 1, 0, 4)]).toEqual(['11223344', '00000000']);
  });

  test('while it takes time nobody reaches the BARs, and further resets join it', async () => {
    const { device } = opened();
    let finish = () => {};
    device.answer = new Promise((resolve) => {
      finish = resolve;
    });
    const first = device.reset();
    expect(device.accessible(device.region(0))).toBe('device is in reset');
    expect(readConfig(device, 0, 2)).toBe('3412');
    const second = device.reset();
    finish();
    await Promise.all([first, second]);
    expect(device.accessible(device.region(0))).toBeNull();
    expect(device.resets).toEqual(['device']);
  });

  test('a device that throws in its reset is reachable again', () => {
    const { device } = opened();
    device.answer = undefined;
    Object.defineProperty(device, 'answer', {
      get: () => {
        throw new Error('broken device');
      },
    });
    expect(() => device.reset()).toThrow('broken device');
    expect(device.accessible(device.region(0))).toBeNull();
  });
});

describe('function level reset', () => {
  test('keeps COMMAND, BARs and link control as vfio-pci does; the bit reads as 0', () => {
    const { device } = opened();
    writeConfig(device, 4, '0605');
    writeConfig(device, 0x10, '0000adfe');
    writeConfig(device, 0x3c, '0b');
    writeConfig(device, DEVCTL, '1fa8');
    expect(device.resets).toEqual(['function']);
    expect(readConfig(device, 4, 2)).toBe('0605');
    expect(readConfig(device, 0x10, 4)).toBe('0000adfe');
    expect(readConfig(device, 0x3c, 2)).toBe('0b01');
    expect(readConfig(device, DEVCTL, 2)).toBe('1f28');
    expect(device.accessible(device.region(0))).toBeNull();
  });

  test('the write is answered at once though the reset takes time; another one meanwhile joins', async () => {
    const { device } = opened();
    let finish = () => {};
    device.answer = new Promise((resolve) => {
      finish = resolve;
    });
    writeConfig(device, DEVCTL + 1, 'a8');
    writeConfig(device, 4, '0200');
    expect(device.accessible(device.region(0))).toBe('device is in reset');
    writeConfig(device, DEVCTL + 1, '80');
    expect(device.resets).toEqual(['function']);
    finish();
    await device.reset();
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(device.accessible(device.region(0))).toBeNull();
  });

  test('a function without it has no such bit', () => {
    const { device } = opened({ capabilities: [{ type: 'express', functionLevelReset: false }] });
    expect(readConfig(device, 0x44, 4)).toBe('20800000');
    writeConfig(device, 0x48, '0080');
    expect([device.resets, readConfig(device, 0x48, 2)]).toEqual([[], '0000']);
  });
});

describe('capabilities of the author', () => {
  test('a vendor capability tells the device what was written', () => {
    const seen: number[][] = [];
    const onWrite = (data: Uint8Array) => seen.push([...data]);
    const { device } = opened({
      capabilities: [
        { type: 'vendor', data: Uint8Array.of(1, 2), writable: Uint8Array.of(0xff, 0), onWrite },
        { type: 'express' },
      ],
      extendedCapabilities: [
        { type: 'vendor-extended', id: 1, data: Uint8Array.of(3), writable: Uint8Array.of(0x0f), onWrite },
      ],
    });
    writeConfig(device, 0x40, 'ffffffff77');
    writeConfig(device, 0x108, 'ff');
    writeConfig(device, 0x10, 'ff');
    expect(seen).toEqual([[0xff, 2], [0x0f]]);
    expect(device.capabilityOffsets.get(device.spec.capabilities![0]!)).toBe(0x40);
  });
});

describe('DMA', () => {
  class Port implements DmaPort {
    readonly attached = true;
    calls: unknown[][] = [];
    read(...args: unknown[]): DmaFault | null {
      this.calls.push(['read', ...args]);
      return null;
    }
    write(...args: unknown[]): DmaFault | null {
      this.calls.push(['write', ...args]);
      return null;
    }
    check(...args: unknown[]): DmaFault | null {
      this.calls.push(['check', ...args]);
      return null;
    }
    window(iova: number, size: number): DmaWindow | DmaFault {
      return iova === 0
        ? { iova, reason: 'not mapped', errno: 14 }
        : { bytes: new Uint8Array(size), dead: null, close: () => this.calls.push(['close']) };
    }
  }
  const bytes = new Uint8Array(8);

  test('needs the bus master bit; with it the session’s port answers', () => {
    const { device } = opened();
    const port = new Port();
    expect(device.dma.attached).toBe(false);
    device.dma = port;
    expect(device.dma.attached).toBe(true);
    expect(device.dma.read(0x1000, bytes)).toMatchObject({ iova: 0x1000, reason: 'bus master is off' });
    expect(device.dma.write(0x2000, bytes)).toMatchObject({ iova: 0x2000, reason: 'bus master is off' });
    expect(device.dma.window(0x3000, 8, true)).toMatchObject({ iova: 0x3000, reason: 'bus master is off' });
    expect(device.dma.check(0x4000, 8, true)).toMatchObject({ iova: 0x4000, reason: 'bus master is off' });
    expect(port.calls).toEqual([]);
    writeConfig(device, 4, '06');
    expect(device.dma.read(0x1000, bytes, 2, 4)).toBeNull();
    expect(device.dma.write(0x1000, bytes)).toBeNull();
    expect(port.calls).toEqual([
      ['read', 0x1000, bytes, 2, 4],
      ['write', 0x1000, bytes, undefined, undefined],
    ]);
    expect(device.dma.window(0, 8, false)).toMatchObject({ reason: 'not mapped' });
  });

  test('a window is empty while the device is not bus master or sleeps', () => {
    const { device } = opened();
    const port = new Port();
    device.dma = port;
    writeConfig(device, 4, '06');
    const window = device.dma.window(0x1000, 64, false);
    if (isDmaFault(window)) throw new Error(window.reason);
    expect([window.bytes.length, window.dead]).toEqual([64, null]);
    writeConfig(device, 4, '02');
    expect([window.bytes.length, window.dead]).toEqual([0, 'bus master is off']);
    writeConfig(device, 4, '06');
    writeConfig(device, PMCSR, '03');
    expect([window.bytes.length, window.dead]).toEqual([0, 'device is in D3hot']);
    writeConfig(device, PMCSR, '00');
    expect([window.bytes.length, window.dead]).toEqual([64, null]);
    window.close();
    expect(port.calls).toEqual([['close']]);
  });

  test('stops when the client leaves', () => {
    const { device } = opened();
    device.dma = new Port();
    writeConfig(device, 4, '06');
    device.closed();
    expect(device.dma.read(0, bytes)).toMatchObject({ reason: 'bus master is off' });
    expect(device.accessible(device.region(0))).toBeNull();
  });
});
