/*
 * A device with one region of each kind and registers that misbehave on demand, for tests of the server and of clients.
 */
import {
  type AccessResult,
  type Consent,
  type DmaFault,
  type DmaWindow,
  isDmaFault,
  type MaybePromise,
  type RegionHandler,
  type RegionSpec,
  VfioDevice,
} from '../../src/core/index.ts';
import type { IoEventfd } from '../../src/server/index.ts';

/** Registers of region 0 that do not behave; all others are plain bytes. */
export const REGISTER = {
  /** Reads and writes wait for `device.gate`. */
  SLOW: 0x100,
  THROWS: 0x108,
  /** Answers errno 19 (ENODEV). */
  ENODEV: 0x110,
  /** Answers undefined. */
  NONSENSE: 0x118,
  /** A write of an IOVA fetches 16 bytes from there by DMA to `device.fetched`. */
  FETCH: 0x120,
  /** Written value + 1 is read back: the handler waits a moment before it looks at what was written. */
  LATE: 0x128,
  /** Reads the errno of the last FETCH or WINDOW: 0 if it went well. */
  STATUS: 0x130,
  /** A write of an IOVA opens a window of 4096 bytes there, instead of the one before. */
  WINDOW: 0x138,
  /** Reads the first 4 bytes of the window; all ones when it is dead. */
  TOUCH: 0x140,
} as const;

export const BAR2_BYTES: number = 1 << 20;
export const INTX = 0;
export const MSIX = 2;
export const MSIX_VECTORS = 16;

/** Regions: 0 registers, 1 read-only, 2 mappable, 3 sparse, 4 write-only, 7 config, 9 typed and mappable. */
export class TestDevice extends VfioDevice implements RegionHandler {
  readonly bytes: Uint8Array = new Uint8Array(0x1000);
  readonly fetched: Uint8Array = new Uint8Array(16);
  readonly writes: { offset: number; count: number; value: number }[] = [];
  readonly calls: string[] = [];
  readonly ioEventfds: IoEventfd[];
  rings = 0;
  /** What slow accesses and resets wait for. */
  gate: Promise<void> | null = null;
  fetchResult: DmaFault | null | 'not started' = 'not started';
  #status = 0;
  #window: DmaWindow | null = null;

  constructor(name = 'test', options: { dma?: Consent; ioEventfds?: number } = {}) {
    const dma = options.dma ?? 'allow';
    const config = new Uint8Array(256);
    const regions: RegionSpec[] = [
      { index: 0, sizeBytes: 0x1000 },
      { index: 1, sizeBytes: 0x1000, write: false, handler: plain(new Uint8Array(0x1000).fill(0x11)) },
      { index: 2, sizeBytes: BAR2_BYTES, areas: [{ offset: 0, size: BAR2_BYTES, dma }] },
      {
        index: 3,
        sizeBytes: 0x10000,
        areas: [
          { offset: 0x1000, size: 0x1000, dma: 'allow' },
          { offset: 0x8000, size: 0x8000, dma: 'deny' },
        ],
        handler: plain(new Uint8Array(0x10000)),
      },
      { index: 4, sizeBytes: 0x1000, read: false, handler: plain(new Uint8Array(0x1000)) },
      { index: 7, sizeBytes: 256, handler: plain(config) },
      {
        index: 9,
        sizeBytes: 0x2000,
        areas: [{ offset: 0x1000, size: 0x1000, dma: 'deny' }],
        handler: plain(new Uint8Array(0x2000)),
        type: { type: 0x80001234, subtype: 7 },
      },
    ];
    super({
      name,
      kind: 'pci',
      resettable: true,
      regions,
      irqs: [
        { index: INTX, count: 1, flags: 7 },
        { index: MSIX, count: MSIX_VECTORS, flags: 1 },
        { index: 3, count: 1, flags: 1 },
        { index: 4, count: 1, flags: 1 },
      ],
    });
    this.region(0).handler = this;
    const ring = (): void => {
      this.rings += 1;
    };
    this.ioEventfds = Array.from({ length: options.ioEventfds ?? 0 }, (_, i) => ({
      regionIndex: 0,
      offset: 0x800 + 4 * i,
      sizeBytes: 4,
      ...(i % 2 === 1 ? { datamatch: i } : {}),
      // The first two share one eventfd.
      onSignal: i < 2 ? ring : () => ring(),
    }));
  }

  read(offset: number, count: number, view: DataView, at: number): AccessResult {
    if (offset === REGISTER.THROWS) throw new Error('the register throws');
    if (offset === REGISTER.ENODEV) return 19;
    if (offset === REGISTER.NONSENSE) return undefined as unknown as number;
    if (offset === REGISTER.SLOW && this.gate !== null) {
      return this.gate.then(() => this.#fill(offset, count, view, at));
    }
    if (offset === REGISTER.STATUS) return this.#answer(this.#status, view, at);
    if (offset === REGISTER.TOUCH) return this.#touch(view, at);
    return this.#fill(offset, count, view, at);
  }

  write(offset: number, count: number, view: DataView, at: number): AccessResult {
    if (offset === REGISTER.THROWS) throw new Error('the register throws');
    if (offset === REGISTER.ENODEV) return 19;
    if (offset === REGISTER.NONSENSE) return undefined as unknown as number;
    if (offset === REGISTER.SLOW && this.gate !== null) {
      return this.gate.then(() => this.#store(offset, count, view, at));
    }
    if (offset === REGISTER.LATE) return this.#storeLate(view, at);
    if (offset === REGISTER.FETCH) return this.#fetch(view, at);
    if (offset === REGISTER.WINDOW) return this.#open(view, at);
    return this.#store(offset, count, view, at);
  }

  override opened(): void {
    this.calls.push('opened');
  }

  override closed(): void {
    this.calls.push('closed');
  }

  protected override resetState(): MaybePromise<void> {
    this.calls.push('reset');
    this.bytes.fill(0);
    return this.gate ?? undefined;
  }

  #fill(offset: number, count: number, view: DataView, at: number): number {
    for (let i = 0; i < count; i++) view.setUint8(at + i, this.bytes[offset + i]!);
    return 0;
  }

  #store(offset: number, count: number, view: DataView, at: number): number {
    let value = 0;
    for (let i = count - 1; i >= 0; i--) {
      this.bytes[offset + i] = view.getUint8(at + i);
      if (i < 4) value = value * 256 + view.getUint8(at + i);
    }
    this.writes.push({ offset, count, value });
    return 0;
  }

  async #storeLate(view: DataView, at: number): Promise<number> {
    await new Promise((resolve) => setTimeout(resolve, 20));
    const value = view.getUint32(at, true);
    new DataView(this.bytes.buffer).setUint32(REGISTER.LATE, value + 1, true);
    return 0;
  }

  async #fetch(view: DataView, at: number): Promise<number> {
    this.fetchResult = await this.dma.read(view.getUint32(at, true), this.fetched);
    this.#status = this.fetchResult?.errno ?? 0;
    return 0;
  }

  #open(view: DataView, at: number): number {
    this.#window?.close();
    const window = this.dma.window(view.getUint32(at, true), 4096, false);
    this.#window = isDmaFault(window) ? null : window;
    this.#status = isDmaFault(window) ? window.errno : 0;
    return 0;
  }

  #touch(view: DataView, at: number): number {
    const bytes = this.#window?.bytes ?? new Uint8Array(0);
    const [a, b, c, d] = bytes;
    const dead = a === undefined || b === undefined || c === undefined || d === undefined;
    return this.#answer(dead ? 0xffffffff : a + b * 2 ** 8 + c * 2 ** 16 + d * 2 ** 24, view, at);
  }

  #answer(value: number, view: DataView, at: number): number {
    view.setUint32(at, value, true);
    return 0;
  }
}

function plain(bytes: Uint8Array): RegionHandler {
  return {
    read(offset, count, view, at) {
      for (let i = 0; i < count; i++) view.setUint8(at + i, bytes[offset + i]!);
      return 0;
    },
    write(offset, count, view, at) {
      for (let i = 0; i < count; i++) bytes[offset + i] = view.getUint8(at + i);
      return 0;
    },
  };
}
