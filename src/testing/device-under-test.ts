/*
 * A PCI device under test: everything that a guest and its driver can do to it, in one line each. It is the driver's
 * side, so what a test sees is what a guest would see; only the logs know more.
 */

import type { BarIndex } from '../bus/pci/index.ts';
import { BusMasterPort, PciDevice, type PciReset, type RegisterTable } from '../bus/pci/index.ts';
import type { DeviceHandle } from '../client/index.ts';
import { assert, VfioError } from '../core/index.ts';
import { ConfigAccess } from './config-access.ts';
import { type Connection, connect } from './connection.ts';
import { DmaLog, type DmaOperation } from './dma-log.ts';
import { GuestMemories, type GuestMemory, type GuestMemoryOptions } from './guest-memory.ts';
import { type GuestRegisters, guestRegisters } from './guest-registers.ts';
import { IncidentLog, type IncidentRecord } from './incident-log.ts';
import { InterruptCounter } from './interrupt-counter.ts';
import {
  chooseInterrupts,
  enableInterrupts,
  type InterruptChoice,
  type InterruptMechanism,
} from './interrupt-mechanism.ts';
import { DEFAULT_TIMEOUT_MS, type TestDeviceOptions } from './options.ts';
import { type MappedPeer, mapPeer, type PeerOptions } from './peer.ts';
import { realNow } from './real-timers.ts';
import { settle } from './settle.ts';
import { explainSilence } from './silence.ts';

/** What one client has; the next one starts anew. */
interface Client {
  readonly handle: DeviceHandle;
  readonly memories: GuestMemories;
  readonly interrupts: InterruptCounter;
}

/**
 * Opens a device for a test: decode and bus mastering on, interrupts listened to. The device is the test's from now on:
 * `close` releases it. With `await using` that happens by itself at the end of the test.
 *
 * Rejects with VfioError: EBUSY if the device has a client already, ENXIO if it lacks the interrupts asked for.
 *
 * @example
 * await using dut = await testDevice(new Counter());
 */
export async function testDevice<D extends PciDevice>(
  device: D,
  options: TestDeviceOptions = {},
): Promise<DeviceUnderTest<D>> {
  assert(
    device instanceof PciDevice,
    'testDevice needs an instance of a class that extends PciDevice; if it is one, two copies of vfio are loaded',
  );
  if (device.dma.attached) {
    throw new VfioError('EBUSY', `${device.name} has a client already; close that one, or make a new device`);
  }
  const choice = chooseInterrupts(device, options.interrupts ?? 'auto', options.vectors);
  const connection = await connect(device, options.over ?? 'process');
  const dut = new DeviceUnderTest(device, connection, choice, options);
  try {
    await dut.reopen();
  } catch (error) {
    await dut.close();
    throw error;
  }
  return dut;
}

export class DeviceUnderTest<D extends PciDevice = PciDevice> {
  /** The device object itself. */
  readonly device: D;
  /** Config space, and what is done there: decode, bus mastering, sleep. */
  readonly config: ConfigAccess;
  readonly #connection: Connection;
  readonly #choice: InterruptChoice;
  readonly #options: TestDeviceOptions;
  readonly #dma: DmaLog = new DmaLog();
  readonly #incidents: IncidentLog;
  #client: Client | null = null;
  #closing: Promise<void> | null = null;

  /** @internal */
  constructor(device: D, connection: Connection, choice: InterruptChoice, options: TestDeviceOptions) {
    this.device = device;
    this.#connection = connection;
    this.#choice = choice;
    this.#options = options;
    this.config = new ConfigAccess(device, () => this.handle);
    const port = device.dma;
    assert(port instanceof BusMasterPort, `${device.name} replaced its dma port; leave it to the session`);
    port.observer = this.#dma.observe;
    this.#incidents = new IncidentLog(device);
  }

  /** The open device, for what this class does not cover: mapped BARs, ROM, raw accesses. */
  get handle(): DeviceHandle {
    return this.#opened.handle;
  }

  /** Registers by name. `offset`: where the table begins in the BAR. */
  registers<const T extends RegisterTable>(bar: BarIndex, table: T, offset: number = 0): GuestRegisters<T> {
    const { sizeBytes } = this.device.region(bar);
    return guestRegisters(table, { handle: () => this.handle, bar, sizeBytes, offset });
  }

  /** Guest memory that the device can reach; whole pages. */
  memory(sizeBytes: number, options: GuestMemoryOptions = {}): Promise<GuestMemory> {
    return this.#opened.memories.allocate(sizeBytes, options);
  }

  /** Makes a BAR of another device a DMA target of this one. EINVAL if its driver did not consent. */
  mapPeer(peer: DeviceUnderTest, options: PeerOptions): Promise<MappedPeer> {
    const { handle, memories } = this.#opened;
    return mapPeer(handle, memories, peer.handle, options);
  }

  /** What interrupts come by. */
  get interruptMechanism(): InterruptMechanism {
    return this.#choice.mechanism;
  }

  /** Interrupts so far on all vectors, waited for or not. Those that are under way count after `settle`. */
  get interrupts(): number {
    return this.#opened.interrupts.arrived;
  }

  /** The same for one vector. */
  interruptsOn(vector: number): number {
    return this.#opened.interrupts.arrivedOn(vector);
  }

  /**
   * Resolves at the next interrupt that was not waited for yet, at once if it came already. ETIMEDOUT says what was seen
   * instead. INTx: it also ends the interrupt that was waited for before, so a device that still asserts fires again.
   */
  async interrupt(vector: number = 0): Promise<void> {
    const { interrupts } = this.#opened;
    const timeoutMs = this.#options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    await interrupts.next(vector, timeoutMs, () =>
      explainSilence(this.device, interrupts, this.#dma, vector, timeoutMs),
    );
  }

  /** Lets INTx through again, for tests that count interrupts and do not wait for them. Messages need none. */
  endOfInterrupt(): Promise<void> {
    return this.#opened.interrupts.endOfInterrupt();
  }

  /** DMA that ended, oldest first; the last 1000. */
  get dma(): readonly DmaOperation[] {
    return this.#dma.operations;
  }

  /** The guest's mistakes that register blocks noticed, oldest first; the last 1000. */
  get incidents(): readonly IncidentRecord[] {
    return this.#incidents.records;
  }

  /**
   * Resets the device and waits until it is over. 'device': VFIO_DEVICE_RESET. 'function': by the express capability.
   * 'power': to D3hot and back. ENXIO if the device does not have it.
   */
  async reset(kind: PciReset = 'device'): Promise<void> {
    if (kind === 'device') {
      await this.handle.reset();
      return;
    }
    if (kind === 'function') await this.config.functionLevelReset();
    else await this.config.powerReset();
    await this.#resetOver();
  }

  /** Lets everything happen that the device has queued: microtasks, promises, DMA, timers of 0. */
  settle(): Promise<void> {
    return settle(
      () => this.#dma.ended + this.interrupts,
      () => this.#dma.inFlight > 0,
    );
  }

  /** The client leaves and the next one comes. Guest memory, counts of interrupts and mapped peers were the old one's. */
  async reopen(): Promise<void> {
    await this.#leave();
    const handle = await this.#connection.open();
    try {
      const interrupts = new InterruptCounter(handle, this.#choice);
      this.#client = { handle, memories: new GuestMemories(handle), interrupts };
      const bars = Object.values(this.device.spec.bars ?? {});
      await this.config.memoryDecode(bars.some((bar) => bar.type !== 'io'));
      await this.config.ioDecode(bars.some((bar) => bar.type === 'io'));
      await this.config.busMaster(this.#options.busMaster ?? true);
      await interrupts.listen();
      await enableInterrupts(this.config, this.#choice);
    } catch (error) {
      this.#client = null;
      await handle.close();
      throw error;
    }
  }

  /** The client leaves, and the device is released. A second call waits for the same end. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #opened(): Client {
    if (this.#client !== null) return this.#client;
    throw new VfioError('EBADF', `${this.device.name} is not open; testDevice opens a new one`);
  }

  async #leave(): Promise<void> {
    const client = this.#client;
    this.#client = null;
    client?.interrupts.close();
    await client?.handle.close();
  }

  async #close(): Promise<void> {
    try {
      await this.#leave();
      await this.#connection.close();
    } finally {
      this.#incidents.close();
      (this.device.dma as BusMasterPort).observer = null;
      this.device.release();
    }
  }

  /** A reset by config space is answered before it is over. */
  async #resetOver(): Promise<void> {
    const inReset = (): boolean =>
      [...this.device.regions.values()].some(
        (region) => this.device.accessible(region) === 'device is in reset',
      );
    const deadline = realNow() + (this.#options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
    while (inReset()) {
      if (realNow() > deadline) throw new VfioError('ETIMEDOUT', `${this.device.name} is still in reset`);
      await settle(
        () => 0,
        () => false,
      );
    }
  }
}
