/*
 * A device behind a vfio-user socket: puts together the channel, regions, interrupts and DMA of one connection, and
 * ends them together.
 */
import {
  ERRNO,
  QEMU_MAX_IRQS,
  QEMU_MAX_REGIONS,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_USER_DEVICE_GET_INFO,
  VFIO_USER_DEVICE_RESET,
  vfio_user_device_info,
} from '../abi/index.ts';
import { kindOfFlags, VfioError } from '../core/index.ts';
import type { Connection, SysLayer } from '../sys/sys-layer.ts';
import { Channel, type ChannelOptions, type Reply, type RequestOptions } from './channel.ts';
import { makeOffer, negotiate, sleep } from './connect.ts';
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
import { DmaServer, type DmaServerCounts } from './dma-server.ts';
import { DmaTable } from './dma-table.ts';
import {
  CLOSE_DRAIN_MS,
  MESSAGE_OVERHEAD_BYTES,
  MIN_MESSAGE_BYTES,
  POLL_MS,
  SEND_BATCH_BYTES,
} from './limits.ts';
import type { Agreement } from './negotiate.ts';
import type { SocketOptions } from './options.ts';
import type { PeerPlace, PeerSource } from './peer-memory.ts';
import { RegionAccess } from './region-access.ts';
import { protocolError } from './reply-error.ts';
import { SocketDma } from './socket-dma.ts';
import { SocketIrqs } from './socket-irqs.ts';
import { SocketRegions } from './socket-regions.ts';
import { TwinSocket } from './twin-socket.ts';

/** What came out of connecting. */
interface Parts {
  readonly sys: SysLayer;
  readonly address: string;
  readonly channel: Channel;
  readonly twin: TwinSocket | null;
  readonly agreement: Agreement;
  readonly info: DeviceInfo;
  readonly table: DmaTable;
  readonly dmaServer: DmaServer;
  readonly transferBytes: number;
  /** Tells when the server has gone; may have happened already. */
  readonly gone: Promise<VfioError>;
}

export class SocketDevice implements DeviceHandle, PeerSource {
  readonly address: string;
  readonly info: DeviceInfo;
  readonly closed: Promise<VfioError | null>;
  /** What the server takes and can do. */
  readonly agreement: Agreement;

  readonly #parts: Parts;
  readonly #access: RegionAccess;
  readonly #regions: SocketRegions;
  readonly #irqs: SocketIrqs;
  readonly #dma: SocketDma;
  #closing: Promise<void> | null = null;
  #tellClosed: (error: VfioError | null) => void = () => {};

  private constructor(parts: Parts) {
    const { sys, channel, agreement, info, table } = parts;
    this.#parts = parts;
    this.address = parts.address;
    this.info = info;
    this.agreement = agreement;
    this.#access = new RegionAccess(channel, parts.transferBytes, agreement.writeMultiple);
    this.#regions = new SocketRegions(sys, channel, info);
    this.#irqs = new SocketIrqs(sys, channel, agreement, info.irqCount);
    this.#dma = new SocketDma(sys, channel, agreement, table);
    this.closed = new Promise((resolve) => {
      this.#tellClosed = resolve;
    });
    void parts.gone.then((error) => this.#onGone(error));
  }

  /** Negotiates over a connected socket. Owns `fd`, also when it fails. */
  static async open(fd: number, address: string, options: SocketOptions): Promise<SocketDevice> {
    const { sys, maxTransferBytes } = options;
    const channelOptions: ChannelOptions = {
      address,
      requestTimeoutMs: options.requestTimeoutMs,
      maxMessageBytes: Math.max(maxTransferBytes + MESSAGE_OVERHEAD_BYTES, MIN_MESSAGE_BYTES),
      sendBufferBytes: maxTransferBytes + MESSAGE_OVERHEAD_BYTES + SEND_BATCH_BYTES,
      maxMessageFds: options.maxMessageFds,
      busyPollUs: options.busyPollUs,
    };
    const table = new DmaTable();
    const dmaServer = new DmaServer(table, maxTransferBytes);
    let tellGone: (error: VfioError) => void = () => {};
    const gone = new Promise<VfioError>((resolve) => {
      tellGone = resolve;
    });
    const channel: Channel = new Channel(sys, fd, channelOptions, {
      onCommand: (connection, start, size, outbox) => {
        if (twin === null) dmaServer.onCommand(connection, start, size, outbox);
        else
          channel.fail(protocolError('a command on the main socket, though there is a twin socket for them'));
      },
      onOversizedCommand: (header, outbox) => dmaServer.refuse(header, 0, ERRNO.E2BIG, outbox),
      onClose: (error) => tellGone(error),
    });
    let twin: TwinSocket | null = null;
    try {
      const { agreement, twinFd } = await negotiate(sys, channel, makeOffer(options));
      if (twinFd !== null) {
        twin = new TwinSocket(sys, twinFd, channelOptions, dmaServer, (error) => channel.fail(error));
      }
      const info = await readDeviceInfo(channel, address);
      const transferBytes = Math.min(agreement.maxTransferBytes, maxTransferBytes);
      return new SocketDevice({
        sys,
        address,
        channel,
        twin,
        agreement,
        info,
        table,
        dmaServer,
        transferBytes,
        gone,
      });
    } catch (error) {
      channel.close(new VfioError('ECANCELED', `opening ${address} failed`));
      twin?.close();
      throw error;
    }
  }

  get open(): boolean {
    return this.#closing === null && this.#parts.channel.error === null;
  }

  /** What the server asked for by DMA messages. */
  get dmaMessages(): DmaServerCounts {
    return this.#parts.dmaServer.counts;
  }

  /** Whether the server's DMA messages come on a socket of their own. */
  get twinSocket(): boolean {
    return this.#parts.twin !== null;
  }

  /** The connection of requests, for tests and metrics. */
  get connection(): Connection {
    return this.#parts.channel.connection;
  }

  /** Sends any command of the protocol and resolves to the payload of its reply; for what has no method here. */
  request(command: number, payload: Uint8Array, options?: RequestOptions): Promise<Reply> {
    return this.#parts.channel.request(command, payload, options);
  }

  regionInfo(index: number): Promise<RegionInfo> {
    return this.#regions.info(index);
  }

  irqInfo(index: number): Promise<IrqInfo> {
    return this.#irqs.info(index);
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
    this.#access.postRegister(index, offset, widthBytes, value);
  }

  writeMulti(writes: readonly RegisterWrite[]): Promise<void> {
    return this.#access.writeMulti(writes);
  }

  mmap(index: number, offset?: number, sizeBytes?: number): Promise<MappedRegion> {
    return this.#regions.map(index, offset, sizeBytes);
  }

  regionFd(index: number): Promise<number> {
    return this.#regions.fd(index);
  }

  onInterrupt(index: number, vector: number, listener: InterruptListener): Promise<() => Promise<void>> {
    return this.#irqs.on(index, vector, listener);
  }

  unmask(index: number, vector: number = 0): Promise<void> {
    return this.#irqs.set({ index, action: 'unmask', data: 'none', start: vector, count: 1 });
  }

  setIrqs(request: SetIrqsRequest): Promise<void> {
    return this.#irqs.set(request);
  }

  dmaMemory(sizeBytes: number, options?: DmaMemoryOptions): Promise<DmaMemory> {
    return this.#dma.allocate(sizeBytes, options);
  }

  dmaMap(request: DmaMapOptions): Promise<void> {
    return this.#dma.map(request);
  }

  mapPeer(peer: DeviceHandle, request: PeerMapOptions): Promise<void> {
    return this.#dma.mapPeer(peer, request);
  }

  dmaUnmap(iova: number, sizeBytes: number, options?: { readonly all?: boolean }): Promise<number> {
    return this.#dma.unmap(iova, sizeBytes, options?.all ?? false);
  }

  async reset(): Promise<void> {
    await this.#parts.channel.request(VFIO_USER_DEVICE_RESET, new Uint8Array(0));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  localRegion(): null {
    return null;
  }

  locateRegion(index: number, offset: number, sizeBytes: number): Promise<PeerPlace> {
    return this.#regions.locate(index, offset, sizeBytes);
  }

  async #close(): Promise<void> {
    const { channel } = this.#parts;
    if (channel.error === null) {
      // Posted writes that the server has not read yet still count; a server that never reads does not hold us up.
      channel.outbox.flush();
      for (
        let waitedMs = 0;
        channel.connection.queuedBytes > 0 && waitedMs < CLOSE_DRAIN_MS;
        waitedMs += POLL_MS
      ) {
        await sleep(POLL_MS);
      }
      const message = `${this.address} was closed by this program; open it again with openDevice`;
      channel.close(new VfioError('EBADF', message));
    }
    this.#endConnection();
    this.#regions.close();
    this.#dma.close();
    this.#tellClosed(null);
  }

  /** Mappings and memory stay until `close`: somebody may want to read what is left in them. */
  #onGone(error: VfioError): void {
    this.#endConnection();
    this.#tellClosed(error);
  }

  #endConnection(): void {
    this.#parts.twin?.close();
    this.#irqs.close();
  }
}

async function readDeviceInfo(channel: Channel, address: string): Promise<DeviceInfo> {
  const payload = new Uint8Array(vfio_user_device_info.size);
  vfio_user_device_info.encode(new DataView(payload.buffer), 0, { argsz: payload.length });
  const reply = await channel.request(VFIO_USER_DEVICE_GET_INFO, payload);
  if (reply.payload.length < vfio_user_device_info.size) {
    throw protocolError(`device info of ${reply.payload.length} bytes`);
  }
  const { flags, num_regions: regionCount, num_irqs: irqCount } = vfio_user_device_info.decode(reply.view, 0);
  if (regionCount > QEMU_MAX_REGIONS || irqCount > QEMU_MAX_IRQS) {
    throw protocolError(`a device with ${regionCount} regions and ${irqCount} interrupt indexes`);
  }
  const resettable = (flags & VFIO_DEVICE_FLAGS_RESET) !== 0;
  return { name: address, kind: kindOfFlags(flags) ?? 'unknown', flags, regionCount, irqCount, resettable };
}
