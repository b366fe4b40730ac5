/*
 * A PCI function: what PciDeviceSpec declares, wired to the core. Config space drives everything: whenever COMMAND or
 * the power state may have changed, `#applyConfig` derives anew which BARs can be reached (R4, R5), whether DMA may
 * pass and whether INTx shows.
 *
 * State between clients follows vfio-pci: `opened` turns decode on and messages off, `closed` stops bus mastering.
 * So do resets, whether asked for by VFIO_DEVICE_RESET, by FLR in config space or by leaving D3hot without
 * No_Soft_Reset: the header and the interrupt and link controls stay, as the kernel saves and restores them around all
 * three. Clients count on it: QEMU maps BARs by what it saw written, and answers reads of them itself. A guest that
 * restores what its reset changed finds the BARs in place and does not write them.
 */
import {
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_IO,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_ROM_REGION_INDEX,
} from '../../abi/index.ts';
import {
  assert,
  type DmaPort,
  indexToOffset,
  type MaybePromise,
  REGION_SPAN,
  type Reason,
  type RegionHandler,
  type TakeOver,
  VfioDevice,
} from '../../core/index.ts';
import { regionHandler } from '../region-handler.ts';
import {
  RegisterBlock,
  type RegisterOptions,
  type Registers,
  type RegisterTable,
  registers,
} from '../registers.ts';
import { addressOf, type Bar, barsOf } from './bars.ts';
import { BusMasterPort } from './bus-master.ts';
import { type CapabilityOffsets, placeCapabilities } from './capabilities.ts';
import { ConfigSpace } from './config-space.ts';
import { watchExpress } from './express.ts';
import { COMMAND_MASK, decodeBits, headerImage } from './header.ts';
import { irqSpecsOf, PciInterrupts } from './interrupts.ts';
import { configDifferences } from './layout.ts';
import { Msi } from './msi.ts';
import { Msix } from './msix.ts';
import { PowerManagement } from './power-management.ts';
import { configSize, regionSpecsOf, romHandler } from './regions.ts';
import type { BarIndex, PciDeviceSpec } from './spec.ts';

/** Which reset: VFIO_DEVICE_RESET, function level reset, or leaving D3hot without No_Soft_Reset. */
export type PciReset = 'device' | 'function' | 'power';

/** Base class of PCI devices. */
export class PciDevice extends VfioDevice {
  readonly spec: PciDeviceSpec;
  /** The config space as it is, for the device's own side and for inspection. Clients reach it through region 7. */
  readonly config: ConfigSpace;
  /** Where each declared capability lies in config space. */
  readonly capabilityOffsets: CapabilityOffsets;
  readonly #bars: readonly Bar[];
  readonly #handlers: Map<number, RegionHandler> = new Map();
  readonly #power: PowerManagement | null;
  readonly #interrupts: PciInterrupts;
  readonly #port: BusMasterPort;
  /** Reasons that config space gives for not reaching the BARs. */
  readonly #held: Set<Reason> = new Set();
  /** The next `opened` is for a client that was there before this instance: config space is as it wants it. */
  #clientStays = false;
  #resetKind: PciReset = 'device';
  #inReset = false;

  constructor(spec: PciDeviceSpec) {
    const bars = barsOf(spec);
    super({
      name: spec.name,
      kind: 'pci',
      regions: regionSpecsOf(spec, bars),
      irqs: irqSpecsOf(spec),
      resettable: isResettable(spec),
    });
    this.spec = spec;
    this.#bars = bars;
    this.config = new ConfigSpace(configSize(spec));
    this.config.define(0, headerImage(spec, bars), true);
    this.capabilityOffsets = placeCapabilities(this.config, spec);
    this.region(VFIO_PCI_CONFIG_REGION_INDEX).handler = this.config;
    this.#power = this.#makePower();
    this.#interrupts = this.#makeInterrupts();
    this.#watchConfig();
    this.#port = new BusMasterPort(this.dma);
    this.#guardDma();
    if (spec.rom !== undefined)
      this.region(VFIO_PCI_ROM_REGION_INDEX).handler = romHandler(spec.rom, this.config);
    for (const bar of bars) this.#wireBar(bar);
    const open = spec.commandAtOpen ?? 0;
    assert((open & ~COMMAND_MASK) === 0, `${spec.name}: commandAtOpen sets bits that are not implemented`);
    this.#applyConfig();
  }

  /** The BAR's bus address as software assigned it; null while it is not decoded or has none. */
  barAddress(index: number): number | null {
    const bar = this.#bars.find((candidate) => candidate.index === index);
    assert(bar !== undefined, `${this.name} has no BAR${index}`);
    const decode = bar.spec.type === 'io' ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
    if ((this.config.get16(PCI_COMMAND) & decode) === 0 || this.#power?.inD3hot) return null;
    const address = addressOf(this.config, bar);
    return address === 0 ? null : address;
  }

  /** The register block behind a BAR, for tests and inspection; null where other handlers answer, or none. */
  registerBlock(index: number): RegisterBlock | null {
    const bar = this.#bars.find((candidate) => candidate.index === index);
    const handler = bar === undefined ? null : this.#handlerOf(bar);
    return handler instanceof RegisterBlock ? handler : null;
  }

  /**
   * Interrupts the client: by MSI-X or MSI if the vector is wired or the mechanism enabled, else by asserting INTx.
   * A message that is masked or not wired yet stays pending. True if the client was signalled now. A message is sent
   * whatever COMMAND.MASTER says: it goes to an eventfd, not to memory.
   */
  raiseInterrupt(vector: number = 0): boolean {
    return this.#interrupts.raise(vector);
  }

  /** Takes INTx back when its cause is gone. Does nothing for messages. */
  lowerInterrupt(): void {
    this.#interrupts.lower();
  }

  /** As after vfio-pci's open: awake, decode on, bus mastering and messages off. */
  override opened(): void {
    const stays = this.#clientStays;
    this.#clientStays = false;
    if (stays) return;
    this.#power?.wake();
    this.#interrupts.disableMessages();
    const kept = this.config.get16(PCI_COMMAND) & ~(PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
    this.config.set16(PCI_COMMAND, this.spec.commandAtOpen ?? kept | decodeBits(this.spec, this.#bars));
    this.#applyConfig();
  }

  /** State is kept, but a device without a client masters no bus. */
  override closed(): void {
    this.config.set16(PCI_COMMAND, this.config.get16(PCI_COMMAND) & ~PCI_COMMAND_MASTER);
    this.#applyConfig();
  }

  /** @internal */
  override differences(next: VfioDevice): string[] {
    if (!(next instanceof PciDevice)) return [...super.differences(next), 'it is no PciDevice any more'];
    return [...super.differences(next), ...configDifferences(this.config, next.config)];
  }

  /** The registers behind BARs go by their names, before `restoreState` has its say. */
  protected override carryRegisters(old: VfioDevice): void {
    if (!(old instanceof PciDevice)) return;
    for (const bar of this.#bars) {
      const before = old.#bars.find(({ index }) => index === bar.index);
      const registers = before === undefined ? null : old.#registersOf(before);
      if (registers !== null) this.#registersOf(bar)?.copyValues(registers);
    }
  }

  /**
   * The device's part of a reset, after config space, registers and memory that a reset clears are back to their
   * initial values. While a returned promise is pending the BARs cannot be reached. It must not wait for DMA: the
   * client may be waiting for the reset.
   */
  protected onReset(_kind: PciReset): MaybePromise<void> {}

  /**
   * Puts a register block behind a BAR: handlers may use `this`, which a spec cannot. Resets give the block its
   * reset values.
   */
  protected addRegisters<const T extends RegisterTable>(
    bar: BarIndex,
    table: T,
    handlers: NonNullable<RegisterOptions<NoInfer<T>>['handlers']> = {},
    options: Omit<RegisterOptions<NoInfer<T>>, 'handlers'> = {},
  ): Registers<T> {
    const block = registers(table, { ...options, handlers } as RegisterOptions<T>);
    this.setBarHandler(bar, block);
    return block;
  }

  /** Puts a handler behind a BAR, instead of the one before. Mappable areas and MSI-X go on answering for themselves. */
  protected setBarHandler(bar: BarIndex, handler: RegionHandler): void {
    const declared = this.#bars.find((candidate) => candidate.index === bar);
    assert(declared !== undefined, `${this.name} has no BAR${bar}; declare it in the spec`);
    this.#handlers.set(bar, handler);
    this.#wireBar(declared);
  }

  protected override resetState(): MaybePromise<void> {
    const kind = this.#resetKind;
    this.#resetKind = 'device';
    this.#resetConfig();
    for (const bar of this.#bars) this.#registersOf(bar)?.reset();
    this.#clearMemory();
    this.#inReset = true;
    let result: MaybePromise<void>;
    try {
      result = this.onReset(kind);
    } catch (error) {
      this.#inReset = false;
      throw error;
    }
    if (result instanceof Promise) {
      return result.finally(() => {
        this.#inReset = false;
      });
    }
    this.#inReset = false;
  }

  /** What a reset keeps comes from `old`: the header and the interrupt and link controls. */
  protected override inherit(old: PciDevice, { carried, attached }: TakeOver): void {
    this.#clientStays = attached;
    this.config.takeOver(old.config);
    this.#interrupts.takeOver(old.#interrupts);
    if (carried) {
      this.#power?.follow();
      this.#applyConfig();
    } else {
      this.#resetConfig();
      this.#clearMemory();
    }
  }

  /** The write that causes it is answered at once: the specification gives software 100 ms to wait by itself. */
  #functionReset(kind: PciReset): void {
    if (this.#inReset) {
      this.#resetConfig();
      return;
    }
    this.#resetKind = kind;
    void this.reset();
  }

  #clearMemory(): void {
    for (const { index, spec } of this.#bars) {
      if (spec.resetClears) this.region(index).memory?.clear(0, spec.sizeBytes);
    }
  }

  #resetConfig(): void {
    this.config.reset();
    this.#power?.reset();
    this.#interrupts.reset();
    this.#applyConfig();
  }

  /** Brings everything that depends on COMMAND and the power state in line with them. */
  #applyConfig(): void {
    const command = this.config.get16(PCI_COMMAND);
    const asleep = this.#power?.inD3hot ?? false;
    const master = (command & PCI_COMMAND_MASTER) !== 0;
    this.#port.blocked = asleep ? 'device is in D3hot' : master ? null : 'bus master is off';
    const memory = (command & PCI_COMMAND_MEMORY) !== 0;
    const io = (command & PCI_COMMAND_IO) !== 0;
    // What goes away goes first.
    if (!memory) this.#hold('memory decode is off', this.#rangesOf(false));
    if (!io) this.#hold('I/O decode is off', this.#rangesOf(true));
    if (asleep) this.#hold('device is in D3hot', [this.memoryRange]);
    if (memory) this.#letGo('memory decode is off');
    if (io) this.#letGo('I/O decode is off');
    if (!asleep) this.#letGo('device is in D3hot');
    this.#interrupts.commandChanged();
  }

  #hold(reason: Reason, ranges: readonly { start: number; length: number }[]): void {
    if (this.#held.has(reason)) return;
    this.#held.add(reason);
    for (const { start, length } of ranges) this.suspend(reason, start, length);
  }

  #letGo(reason: Reason): void {
    if (this.#held.delete(reason)) this.resume(reason);
  }

  /** What a decode bit switches: BARs of that kind. All BARs at once (R5) where there is only one kind. */
  #rangesOf(io: boolean): readonly { start: number; length: number }[] {
    const matching = this.#bars.filter((bar) => (bar.spec.type === 'io') === io);
    if (matching.length === this.#bars.length && matching.length > 0) return [this.memoryRange];
    return matching.map((bar) => ({ start: indexToOffset(bar.index), length: REGION_SPAN }));
  }

  #watchConfig(): void {
    this.config.onWrite(PCI_COMMAND, 2, () => this.#applyConfig());
    for (const [capability, at] of this.capabilityOffsets) {
      if (capability.type === 'express') watchExpress(this.config, at, () => this.#functionReset('function'));
    }
  }

  #makePower(): PowerManagement | null {
    for (const [capability, at] of this.capabilityOffsets) {
      if (capability.type !== 'power-management') continue;
      return new PowerManagement(this.config, at, (softReset) => {
        if (softReset) this.#functionReset('power');
        else this.#applyConfig();
      });
    }
    return null;
  }

  #makeInterrupts(): PciInterrupts {
    let msi: Msi | null = null;
    let msix: Msix | null = null;
    for (const [capability, at] of this.capabilityOffsets) {
      if (capability.type === 'msi')
        msi = new Msi(this.config, at, capability, this.irqs[VFIO_PCI_MSI_IRQ_INDEX]!);
      if (capability.type === 'msix') {
        msix = new Msix(this.config, at, capability, this.irqs[VFIO_PCI_MSIX_IRQ_INDEX]!);
      }
    }
    return new PciInterrupts(this.config, this.irqs[VFIO_PCI_INTX_IRQ_INDEX]!, msi, msix);
  }

  /** `dma` gives the guard; what is assigned to it goes behind the guard. */
  #guardDma(): void {
    Object.defineProperty(this, 'dma', {
      enumerable: true,
      configurable: true,
      get: (): DmaPort => this.#port,
      set: (port: DmaPort): void => {
        this.#port.inner = port;
      },
    });
  }

  #handlerOf(bar: Bar): RegionHandler | null {
    return this.#handlers.get(bar.index) ?? bar.spec.handler ?? null;
  }

  #registersOf(bar: Bar): RegisterBlock | null {
    const handler = this.#handlerOf(bar);
    return handler instanceof RegisterBlock ? handler : null;
  }

  #wireBar(bar: Bar): void {
    const region = this.region(bar.index);
    const overlays = this.#interrupts.msix?.partsOf(bar.index) ?? [];
    region.handler = regionHandler(region, this.#handlerOf(bar), overlays);
  }
}

/** A function that resets itself has a reset for clients, too: vfio-pci would use it. */
function isResettable(spec: PciDeviceSpec): boolean {
  const resettable = spec.resettable ?? true;
  const resetsItself = (spec.capabilities ?? []).some(
    (capability) =>
      (capability.type === 'express' && (capability.functionLevelReset ?? true)) ||
      (capability.type === 'power-management' && !(capability.noSoftReset ?? true)),
  );
  assert(
    resettable || !resetsItself,
    `${spec.name}: not resettable, but FLR or leaving D3hot resets it; turn those off as well`,
  );
  return resettable;
}
