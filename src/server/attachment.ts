/*
 * What a client has of a device once VERSION is agreed on: its IOMMU, its DMA messages, its interrupts and doorbells,
 * and the table of what it may ask. It is made as a whole and ends as a whole; the device keeps its state.
 */
import {
  VFIO_USER_DEVICE_FEATURE,
  VFIO_USER_DEVICE_GET_INFO,
  VFIO_USER_DEVICE_GET_IRQ_INFO,
  VFIO_USER_DEVICE_GET_REGION_INFO,
  VFIO_USER_DEVICE_GET_REGION_IO_FDS,
  VFIO_USER_DEVICE_RESET,
  VFIO_USER_DEVICE_SET_IRQS,
  VFIO_USER_DMA_MAP,
  VFIO_USER_DMA_UNMAP,
  VFIO_USER_REGION_READ,
  VFIO_USER_REGION_WRITE,
  VFIO_USER_REGION_WRITE_MULTI,
} from '../abi/index.ts';
import { attempt, Container, type MaybePromise, NoClientDma, type VfioDevice } from '../core/index.ts';
import { DmaEngine, type FileShares, type Share } from '../memory/index.ts';
import { getDeviceInfo } from './device-info.ts';
import { DmaMaps } from './dma-maps.ts';
import { deviceFeature } from './feature.ts';
import { IoEventfds } from './io-fds.ts';
import { getIrqInfo, setDeviceIrqs } from './irqs.ts';
import type { Message } from './message.ts';
import type { Negotiated } from './negotiate.ts';
import type { RegionAccess } from './region-access.ts';
import { getRegionInfo } from './region-info.ts';
import type { MessageMemory } from './remote-memory.ts';
import { resetDevice } from './reset.ts';
import type { SessionContext } from './session-context.ts';

/** Answers one command: 0 when the reply is written, else an errno. May throw; a VfioError's errno is the answer then. */
export type Handler = (message: Message) => MaybePromise<number>;

/** One client attached to one device. */
export class Attachment {
  readonly container: Container;
  readonly remote: MessageMemory;
  /** By command number. What is missing is refused. */
  readonly handlers: readonly (Handler | undefined)[];

  readonly #context: SessionContext;
  readonly #peerPid: number | null;
  #engine: DmaEngine;
  readonly #ioEventfds: IoEventfds;
  readonly #letGoOfFiles: () => void;
  #leavePeers: () => void;

  constructor(
    context: SessionContext,
    negotiated: Negotiated,
    access: RegionAccess,
    remote: MessageMemory,
    shares: FileShares,
    peerPid: number | null,
  ) {
    const { device, sys, files, registry, peers, observer } = context;
    this.#context = context;
    this.#peerPid = peerPid;
    this.remote = remote;
    this.container = new Container({
      ...context.container,
      limit: negotiated.maxDmaMaps,
      pageSizes: negotiated.pageSizes,
    });
    this.#engine = new DmaEngine(this.container, sys, remote);
    this.#ioEventfds = new IoEventfds(device, sys, negotiated.clientMessageFds, (error) =>
      observer.handlerError({ during: 'a doorbell', error }),
    );
    const peerBars = peers === null ? {} : { peerBars: peers.find };
    const maps = new DmaMaps(this.container, { sys, files, shares, registry, ...peerBars }, peerPid);
    access.writeMultiple = negotiated.writeMultiple;
    this.handlers = handlerTable(context, negotiated, access, maps, remote, shares.fds, this.#ioEventfds);
    this.#letGoOfFiles = files.hold();
    this.#leavePeers = this.#joinPeers();
  }

  /** Gives the device its client. What the device throws comes out. */
  open(): void {
    this.#context.device.dma = this.#engine;
    this.#context.device.opened();
  }

  /** Ends the DMA of the device that is about to be replaced: its windows are empty, its transfers fault. */
  cutOff(errors: unknown[]): void {
    this.#engine.close();
    this.remote.disown('no client is attached');
    attempt(() => {
      this.#context.device.dma = new NoClientDma();
    }, errors);
  }

  /** Gives the client to the device that has taken the place of `old`. Its IOMMU is the same: nothing is mapped again. */
  replaceDevice(old: VfioDevice, errors: unknown[]): void {
    const { device, sys } = this.#context;
    this.#engine = new DmaEngine(this.container, sys, this.remote);
    this.#ioEventfds.replaceDevice(device);
    this.#leavePeers();
    this.#leavePeers = this.#joinPeers();
    attempt(() => old.closed(), errors);
    attempt(() => this.open(), errors);
  }

  #joinPeers(): () => void {
    const { peers, device } = this.#context;
    return peers === null || this.#peerPid === null ? () => {} : peers.add(this.#peerPid, device);
  }

  /** Takes the client away: nothing of it is left when this returns. Throws nothing; `errors` gets what the device threw. */
  close(errors: unknown[]): void {
    const { device } = this.#context;
    this.remote.close();
    attempt(() => {
      device.dma = new NoClientDma();
    }, errors);
    attempt(() => this.#engine.close(), errors);
    attempt(() => this.container.close(), errors);
    for (const irq of device.irqs) attempt(() => irq.disable(), errors);
    attempt(() => this.#ioEventfds.close(), errors);
    this.#letGoOfFiles();
    this.#leavePeers();
    attempt(() => device.closed(), errors);
  }
}

function handlerTable(
  context: SessionContext,
  negotiated: Negotiated,
  access: RegionAccess,
  maps: DmaMaps,
  remote: MessageMemory,
  share: Share,
  ioEventfds: IoEventfds,
): (Handler | undefined)[] {
  const { sys } = context;
  const clientTakesFds = negotiated.clientMessageFds > 0;
  const handlers: (Handler | undefined)[] = [];
  handlers[VFIO_USER_DMA_MAP] = (message) => maps.map(message);
  handlers[VFIO_USER_DMA_UNMAP] = (message) => maps.unmap(message);
  handlers[VFIO_USER_DEVICE_GET_INFO] = (message) => getDeviceInfo(context.device, message);
  handlers[VFIO_USER_DEVICE_GET_REGION_INFO] = (message) =>
    getRegionInfo(context.device, clientTakesFds, message);
  handlers[VFIO_USER_DEVICE_GET_REGION_IO_FDS] = (message) => ioEventfds.get(message);
  handlers[VFIO_USER_DEVICE_GET_IRQ_INFO] = (message) => getIrqInfo(context.device, message);
  handlers[VFIO_USER_DEVICE_SET_IRQS] = (message) => setDeviceIrqs(sys, context.device, share, message);
  handlers[VFIO_USER_REGION_READ] = ({ view, at, size, noReply }) => access.read(view, at, size, noReply);
  const { background } = access;
  handlers[VFIO_USER_REGION_WRITE] = ({ view, at, size, noReply }) =>
    background.size === 0
      ? access.write(view, at, size, noReply)
      : access.writeBehind(view, at, size, noReply);
  handlers[VFIO_USER_REGION_WRITE_MULTI] = ({ view, at, size, noReply }) =>
    background.size === 0
      ? access.writeMulti(view, at, size, noReply)
      : access.writeMultiBehind(view, at, size, noReply);
  handlers[VFIO_USER_DEVICE_RESET] = (message) => resetDevice(context, access.background, remote, message);
  handlers[VFIO_USER_DEVICE_FEATURE] = (message) => deviceFeature(message);
  return handlers;
}
