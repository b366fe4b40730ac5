/*
 * A device object in this process, opened as a client opens it: with a container of its own, its DMA through an engine
 * like that of a server's session, interrupts as callbacks, and the same errors. What differs is that no message is
 * sent. A driver's tests run on this, and programs that have no need of a second process.
 */
import type { Container } from '../core/container.ts';
import { attempt, NoClientDma, type Region, rethrow, type VfioDevice, VfioError } from '../core/index.ts';
import { openSys } from '../sys/index.ts';
import type {
  DeviceHandle,
  DeviceInfo,
  DmaMapOptions,
  DmaMemory,
  DmaMemoryOptions,
  InterruptListener,
  IrqInfo,
  MappedRegion,
  PeerMapOptions,
  RegionInfo,
  RegisterWrite,
  SetIrqsRequest,
} from './device-handle.ts';
import { InProcessAccess } from './in-process-access.ts';
import { InProcessDma } from './in-process-dma.ts';
import { InProcessIrqs } from './in-process-irqs.ts';
import { attachForLife, InProcessRegions } from './in-process-regions.ts';
import type { OpenOptions } from './options.ts';
import type { PeerPlace, PeerSource } from './peer-memory.ts';
import { writeValue } from './register-value.ts';

export class InProcessDevice implements DeviceHandle, PeerSource {
  readonly address: string;
  readonly info: DeviceInfo;
  readonly closed: Promise<VfioError | null>;
  readonly device: VfioDevice;

  readonly #access: InProcessAccess;
  readonly #regions: InProcessRegions;
  readonly #irqs: InProcessIrqs;
  readonly #dma: InProcessDma;
  readonly #forgetRelease: () => void;
  #error: VfioError | null = null;
  #closing: Promise<void> | null = null;
  #tellClosed: (error: VfioError | null) => void = () => {};

  /** EBUSY if the device has a client already, ENODEV if it was released. */
  constructor(device: VfioDevice, options: OpenOptions) {
    if (device.released) {
      throw new VfioError('ENODEV', `${device.name} was released, which is final; make a new device`);
    }
    if (device.dma.attached) {
      throw new VfioError('EBUSY', `${device.name} has a client already; close that one first`);
    }
    const sys = options.sys ?? openSys();
    attachForLife(device, sys);
    this.address = `in-process:${device.name}`;
    this.device = device;
    this.info = describe(device);
    this.closed = new Promise((resolve) => {
      this.#tellClosed = resolve;
    });
    this.#access = new InProcessAccess(device, () => this.#error);
    this.#regions = new InProcessRegions(device, sys);
    this.#irqs = new InProcessIrqs(device, sys);
    this.#dma = new InProcessDma(sys, options.container ?? {});
    this.#forgetRelease = device.on('release', () => this.#onRelease());
    device.dma = this.#dma.port;
    device.opened();
  }

  get open(): boolean {
    return this.#error === null;
  }

  /** The device's IOMMU as this client fills it, for tests and for people who look. */
  get container(): Container {
    return this.#dma.container;
  }

  regionInfo(index: number): Promise<RegionInfo> {
    return this.#now(() => this.#regions.info(index));
  }

  irqInfo(index: number): Promise<IrqInfo> {
    return this.#now(() => this.#irqs.info(index));
  }

  read(index: number, offset: number, target: Uint8Array): Promise<void> {
    return this.#access.read(index, offset, target);
  }

  write(index: number, offset: number, source: Uint8Array): Promise<void> {
    return this.#access.write(index, offset, source);
  }

  readRegister(index: number, offset: number, widthBytes: 1 | 2 | 4): Promise<number>;
  readRegister(index: number, offset: number, widthBytes: 8): Promise<bigint>;
  readRegister(index: number, offset: number, widthBytes: 1 | 2 | 4 | 8): Promise<number> | Promise<bigint> {
    return this.#access.readRegister(index, offset, widthBytes) as Promise<number> | Promise<bigint>;
  }

  writeRegister(
    index: number,
    offset: number,
    widthBytes: 1 | 2 | 4 | 8,
    value: number | bigint,
  ): Promise<void> {
    return this.#access.writeRegister(index, offset, widthBytes, value);
  }

  post(index: number, offset: number, source: Uint8Array): void {
    this.#access.post(index, offset, source);
  }

  postRegister(index: number, offset: number, widthBytes: 1 | 2 | 4 | 8, value: number | bigint): void {
    const source = new Uint8Array(widthBytes);
    writeValue(new DataView(source.buffer), 0, widthBytes, value);
    this.#access.post(index, offset, source);
  }

  writeMulti(writes: readonly RegisterWrite[]): Promise<void> {
    return this.#access.writeMulti(writes);
  }

  mmap(index: number, offset?: number, sizeBytes?: number): Promise<MappedRegion> {
    return this.#now(() => this.#regions.map(index, offset, sizeBytes));
  }

  regionFd(index: number): Promise<number> {
    return this.#now(() => this.#regions.fd(index));
  }

  onInterrupt(index: number, vector: number, listener: InterruptListener): Promise<() => Promise<void>> {
    return this.#now(() => this.#irqs.on(index, vector, listener));
  }

  unmask(index: number, vector: number = 0): Promise<void> {
    return this.setIrqs({ index, action: 'unmask', data: 'none', start: vector, count: 1 });
  }

  setIrqs(request: SetIrqsRequest): Promise<void> {
    return this.#access.inOrder(() => this.#irqs.set(request));
  }

  dmaMemory(sizeBytes: number, options?: DmaMemoryOptions): Promise<DmaMemory> {
    return this.#now(() => this.#dma.allocate(sizeBytes, options));
  }

  dmaMap(request: DmaMapOptions): Promise<void> {
    return this.#now(() => this.#dma.map(request));
  }

  mapPeer(peer: DeviceHandle, request: PeerMapOptions): Promise<void> {
    return this.#now(() => this.#dma.mapPeer(peer, request));
  }

  dmaUnmap(iova: number, sizeBytes: number, options?: { readonly all?: boolean }): Promise<number> {
    return this.#now(() => this.#dma.unmap(iova, sizeBytes, options?.all ?? false));
  }

  reset(): Promise<void> {
    return this.#access.inOrder(() => this.device.reset());
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  localRegion(index: number): Region {
    return this.device.region(index);
  }

  async locateRegion(index: number, offset: number, sizeBytes: number): Promise<PeerPlace> {
    return this.#regions.locate(index, offset, sizeBytes);
  }

  /** Runs what needs no order among accesses, with its errors as rejections. */
  async #now<T>(work: () => T | Promise<T>): Promise<T> {
    if (this.#error !== null) throw this.#error;
    return work();
  }

  async #close(): Promise<void> {
    this.#forgetRelease();
    this.#error ??= new VfioError(
      'EBADF',
      `${this.address} was closed by this program; open it again with openDevice`,
    );
    this.#access.abandon(this.#error);
    this.#regions.close();
    this.#detach();
    this.#tellClosed(null);
  }

  /** Takes the client away from the device, which keeps its state. What the device throws comes out. */
  #detach(): void {
    const errors: unknown[] = [];
    const { device } = this;
    attempt(() => {
      device.dma = new NoClientDma();
    }, errors);
    attempt(() => this.#dma.close(), errors);
    attempt(() => this.#irqs.close(), errors);
    for (const irq of device.irqs) attempt(() => irq.disable(), errors);
    attempt(() => device.closed(), errors);
    rethrow(errors, `closing ${device.name}`);
  }

  #onRelease(): void {
    if (this.#error !== null) return;
    this.#error = new VfioError(
      'ENODEV',
      `${this.device.name} was released; close this handle and open another device`,
    );
    this.#access.abandon(this.#error);
    this.#irqs.close();
    this.#tellClosed(this.#error);
  }
}

function describe(device: VfioDevice): DeviceInfo {
  const { name, kind, flags, regionCount, irqs, resettable } = device;
  return { name, kind, flags, regionCount, irqCount: irqs.length, resettable };
}
