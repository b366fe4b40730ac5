/*
 * The live worlds: devices wherever hosts.ts puts them (behind sockets of this process, of another one, or in process), our
 * client, memfds, and a process of its own for each region that maps and touches it.
 *
 * The container is that of edu's session. What a vaddr is to the kernel is an fd and a place in it here. Fields of messages
 * that our client cannot be made to send go by hand to a second edu, which nobody else uses.
 */
import { closeSync, openSync } from 'node:fs';
import { errnoName } from '../../src/abi/index.ts';
import { type DeviceHandle, openDevice } from '../../src/client/index.ts';
import { offsetInRegion, offsetToIndex, type VfioDevice, VfioError } from '../../src/core/index.ts';
import { openSys } from '../../src/sys/index.ts';
import { type Answerer, HolderProgram } from '../support/holder.ts';
import { memfd } from '../support/memory.ts';
import type { RawClient } from '../support/raw-client.ts';
import { ERROR } from '../support/raw-client.ts';
import { type Served, serveDevice } from '../support/served-device.ts';
import { PROBED_RANGES } from './core-world.ts';
import { DEVICES, makeDevice } from './devices.ts';
import type { Host } from './hosts.ts';
import { LiveMapping, LiveMemory } from './live-memory.ts';
import {
  type DeviceName,
  type InfoAnswer,
  type IrqAnswer,
  type MapRequest,
  type MemoryRequest,
  type MessageAnswer,
  type MmapRequest,
  NoCounterpart,
  type ParityMapping,
  type ParityWorld,
  type ProcessMemory,
  type RegionAnswer,
} from './world.ts';

const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MESSAGE_MEMORY_BYTES = 0x1_0000;

const sys = openSys();

type MakeHost = (told: (reason: string) => void) => Host;

export class LiveWorld implements ParityWorld {
  readonly name: string;
  readonly peerFault: string | null;
  readonly #host: Host;
  readonly #program: HolderProgram = new HolderProgram(new URL('prober.c', import.meta.url));
  readonly #places: Map<DeviceName, string | VfioDevice> = new Map();
  readonly #handles: Map<DeviceName, DeviceHandle> = new Map();
  /** The process that maps a region, by device and index; a new device's region is another file. */
  readonly #processes: Map<string, Answerer> = new Map();
  readonly #memories: Set<LiveMemory> = new Set();
  readonly #faults: string[] = [];
  readonly #byHand: Served<VfioDevice> | null;
  readonly #messages: RawClient | null;

  private constructor(
    name: string,
    makeHost: MakeHost,
    byHand: Served<VfioDevice> | null,
    raw: RawClient | null,
  ) {
    this.name = name;
    this.peerFault = name === 'two processes' ? 'memory was lost' : null;
    this.#host = makeHost((reason) => this.#faults.push(reason));
    this.#byHand = byHand;
    this.#messages = raw;
  }

  /** All devices placed and open. `messages`: whether there are sockets to write messages to. */
  static async start(name: string, makeHost: MakeHost, messages: boolean): Promise<LiveWorld> {
    const container = { container: PROBED_RANGES };
    const byHand = messages ? await serveDevice<VfioDevice>(makeDevice('edu'), container) : null;
    const world = new LiveWorld(name, makeHost, byHand, (await byHand?.open()) ?? null);
    for (const device of DEVICES) await world.open(device);
    return world;
  }

  async deviceInfo(name: DeviceName): Promise<InfoAnswer> {
    const { flags, regionCount, irqCount } = this.#handle(name).info;
    return { flags, regionCount, irqCount };
  }

  async regionInfo(name: DeviceName, index: number): Promise<RegionAnswer> {
    const { flags, sizeBytes, offset, areas } = await this.#handle(name).regionInfo(index);
    const whole = areas.length === 1 && areas[0]!.size === sizeBytes;
    return { flags, sizeBytes, offset, sparse: whole ? [] : areas };
  }

  async irqInfo(name: DeviceName, index: number): Promise<IrqAnswer> {
    const { flags, count } = await this.#handle(name).irqInfo(index);
    return { flags, count };
  }

  async read(name: DeviceName, index: number, offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    await this.#handle(name).read(index, offset, bytes);
    return bytes;
  }

  async write(name: DeviceName, index: number, offset: number, bytes: Uint8Array): Promise<number> {
    await this.#handle(name).write(index, offset, bytes);
    return bytes.length;
  }

  reset(name: DeviceName): Promise<void> {
    return this.#handle(name).reset();
  }

  async open(name: DeviceName): Promise<void> {
    const place = this.#places.get(name) ?? (await this.#host.place(name));
    this.#places.set(name, place);
    this.#handles.set(name, await openDevice(place, { container: PROBED_RANGES }));
  }

  async close(name: DeviceName): Promise<void> {
    await this.#handle(name).close();
    this.#handles.delete(name);
  }

  async release(name: DeviceName): Promise<void> {
    await this.#host.release(name);
    this.#places.delete(name);
    for (const [key, process] of this.#processes) {
      if (!key.startsWith(name)) continue;
      this.#processes.delete(key);
      await process.stop();
    }
  }

  /** Our client says whether the range may be mapped; a process that has the fd maps it. */
  async mmap(request: MmapRequest): Promise<ParityMapping> {
    const { device, fileOffset, length, protection, shared } = request;
    const index = offsetToIndex(fileOffset);
    const place = offsetInRegion(fileOffset);
    (await this.#handle(device).mmap(index, place, length)).unmap();
    const process = await this.#process(device, index);
    const flags = shared ? MAP_SHARED : MAP_PRIVATE;
    const said = await process.ask(`map ${length} ${protection} ${flags} ${fileOffset}`);
    if (!/^\d+$/.test(said)) throw new VfioError(said as VfioError['code'], 'mmap failed');
    return new LiveMapping(process, Number(said), { device, index, place, length });
  }

  memory(request: MemoryRequest): ProcessMemory {
    const memory = new LiveMemory(request);
    this.#memories.add(memory);
    return memory;
  }

  async map({ iova, size, read, write, from, offset = 0, readOnlyVma }: MapRequest): Promise<void> {
    const edu = this.#handle('edu');
    const range = { iova, sizeBytes: size, read, write };
    if (from instanceof LiveMemory) {
      await edu.dmaMap({ ...range, fd: from.fd, offset });
      return;
    }
    const { device, index, place, length } = from as LiveMapping;
    // A DMA_MAP names a file and not a VMA: where the VMA ends, the region goes on.
    if (offset + size > length) throw new NoCounterpart();
    const peer = this.#handle(device);
    if (!readOnlyVma) {
      await edu.mapPeer(peer, { ...range, index, offset: place + offset });
      return;
    }
    const { offset: start } = await peer.regionInfo(index);
    const fd = openSync(`/proc/self/fd/${await peer.regionFd(index)}`, 'r');
    try {
      await edu.dmaMap({ ...range, fd, offset: start + place + offset });
    } finally {
      closeSync(fd);
    }
  }

  unmap(iova: number, size: number, all: boolean): Promise<number> {
    return this.#handle('edu').dmaUnmap(iova, size, { all });
  }

  /** What the server would map is in no message but the version's, as a number of mappings. */
  container(): never {
    throw new NoCounterpart();
  }

  /** The container is the session's: nobody is left who could ask it anything. */
  closeContainer(): Promise<void> {
    return this.close('edu');
  }

  takeFaults(): string[] {
    return this.#faults.splice(0);
  }

  async message(command: number, body: Uint8Array, withMemory: boolean): Promise<MessageAnswer> {
    if (this.#messages === null) throw new NoCounterpart();
    const fd = withMemory ? memfd(sys, MESSAGE_MEMORY_BYTES, true) : null;
    const reply = await this.#messages.ask(command, body, fd === null ? [] : [fd]);
    if (fd !== null) sys.close(fd);
    for (const received of reply.fds) sys.close(received);
    return { errno: (reply.flags & ERROR) === 0 ? null : errnoName(reply.errno), body: reply.body };
  }

  async end(): Promise<void> {
    for (const handle of this.#handles.values()) await handle.close();
    for (const process of this.#processes.values()) await process.stop();
    await this.#host.end();
    await this.#byHand?.close();
    for (const memory of this.#memories) memory.free();
    this.#program.remove();
  }

  #handle(name: DeviceName): DeviceHandle {
    const handle = this.#handles.get(name);
    if (handle === undefined) throw new NoCounterpart(`${name} is closed: there is nobody to ask`);
    return handle;
  }

  async #process(name: DeviceName, index: number): Promise<Answerer> {
    const key = `${name} ${index}`;
    let process = this.#processes.get(key);
    if (process === undefined) {
      process = this.#program.start(await this.#handle(name).regionFd(index));
      this.#processes.set(key, process);
    }
    return process;
  }
}
