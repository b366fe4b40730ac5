/*
 * What platform, fsl-mc and mediated devices have in common: regions and interrupts that go by the names their author
 * gives them, without config space, decode bits or power states. All of their regions are device memory, so `suspend`
 * takes all of them away unless told otherwise, registers included; they keep R1 like every other kind.
 *
 * A class that overrides `onReset` declares that its device can be reset: then VFIO_DEVICE_FLAGS_RESET is set. A reset
 * gives register blocks their reset values and clears memory with `resetClears` before `onReset` has its turn.
 *
 * State between clients is kept. Linux's vfio-platform and vfio-fsl-mc reset a device when it is opened or closed; with
 * vfio-user a client may come back to what it left, and asks for a reset if it wants one.
 */
import {
  assert,
  type Consent,
  type DeviceOptions,
  type Irq,
  type MappableArea,
  type MaybePromise,
  PAGE_SIZE,
  type Region,
  type RegionHandler,
  type RegionSpec,
  type TakeOver,
  VfioDevice,
} from '../core/index.ts';
import { regionHandler } from './region-handler.ts';
import {
  RegisterBlock,
  type RegisterOptions,
  type Registers,
  type RegisterTable,
  registers,
} from './registers.ts';

/** A region of a device that is not PCI. */
export interface PlainRegionSpec {
  /** What the device's code calls it; clients go by the index. */
  readonly name: string;
  readonly sizeBytes: number;
  /** Clients may only read it: no VFIO_REGION_INFO_FLAG_WRITE. Default false. */
  readonly readOnly?: boolean;
  /**
   * Answers accesses by message. Absent: see `addRegisters`; without those either, accesses to a mappable region go to its
   * memory, and others read as ones.
   */
  readonly handler?: RegionHandler;
  /** Whether its memory may be a DMA target of other devices, where all of it is mappable. Default 'deny'. */
  readonly dma?: Consent;
  /** A reset writes zeros to the memory behind it. Default: contents survive. */
  readonly resetClears?: boolean;
}

/** A region with its place. */
export interface PlacedRegion extends PlainRegionSpec {
  readonly index: number;
  readonly mappable?: true | readonly MappableArea[];
  readonly type?: RegionSpec['type'];
}

/** An interrupt index with its place. */
export interface PlacedIrq {
  readonly name: string;
  readonly index: number;
  readonly count: number;
  /** VFIO_IRQ_INFO_*. */
  readonly flags: number;
}

/** What a kind of device makes of its spec. */
export interface PlainDeviceOptions extends Pick<DeviceOptions, 'name' | 'kind' | 'api'> {
  readonly regions: readonly PlacedRegion[];
  readonly irqs: readonly PlacedIrq[];
  /** It can be reset whatever its class says. */
  readonly alwaysResettable?: boolean;
}

/** Base class of the kinds of device that are not PCI; extend PlatformDevice, FslMcDevice or MdevDevice. */
export abstract class PlainDevice extends VfioDevice {
  readonly #regions: ReadonlyMap<string, PlacedRegion>;
  readonly #irqs: ReadonlyMap<string, PlacedIrq>;
  readonly #handlers: Map<string, RegionHandler> = new Map();

  constructor(options: PlainDeviceOptions) {
    const { name, kind, api, regions, irqs } = options;
    const overridden = new.target.prototype.onReset !== PlainDevice.prototype.onReset;
    super({
      name,
      kind,
      ...(api === undefined ? {} : { api }),
      regions: regions.map((region) => regionSpecOf(name, region)),
      irqs,
      resettable: overridden || (options.alwaysResettable ?? false),
    });
    this.#regions = byName(name, 'region', regions);
    this.#irqs = byName(name, 'interrupt', irqs);
    for (const spec of regions) this.#wire(spec);
  }

  /** The region of that name, for its memory and its consent. */
  regionNamed(name: string): Region {
    return this.region(find(this, 'region', this.#regions, name).index);
  }

  /** The interrupt index of that name. */
  irqNamed(name: string): Irq {
    return this.irqs[find(this, 'interrupt', this.#irqs, name).index]!;
  }

  /** The register block behind a region, for tests and inspection; null where other handlers answer, or none. */
  registerBlock(name: string): RegisterBlock | null {
    return this.#registersOf(find(this, 'region', this.#regions, name));
  }

  /**
   * Interrupts the client: signals an edge, or asserts a level. What is masked or not wired yet waits. True if the client
   * was signalled now.
   */
  raiseInterrupt(name: string, vector: number = 0): boolean {
    return this.irqNamed(name).raise(vector);
  }

  /** Takes a level back when its cause is gone. Does nothing for edges. */
  lowerInterrupt(name: string): void {
    const irq = this.irqNamed(name);
    if (irq.level) irq.lower();
  }

  /** The registers go by their names, before `restoreState` has its say. */
  protected override carryRegisters(old: VfioDevice): void {
    if (!(old instanceof PlainDevice)) return;
    for (const spec of this.#regions.values()) {
      const before = old.#regions.get(spec.name);
      const registers = before === undefined ? null : old.#registersOf(before);
      if (registers !== null) this.#registersOf(spec)?.copyValues(registers);
    }
  }

  /**
   * The device's part of a reset, after registers and memory that a reset clears are back to their initial values. While
   * a returned promise is pending nothing of the device can be reached. It must not wait for DMA: the client may be
   * waiting for the reset.
   */
  protected onReset(): MaybePromise<void> {}

  /**
   * Puts a register block behind a region: handlers may use `this`, which a spec cannot. Resets give the block its reset
   * values.
   */
  protected addRegisters<const T extends RegisterTable>(
    region: string,
    table: T,
    handlers: NonNullable<RegisterOptions<NoInfer<T>>['handlers']> = {},
    options: Omit<RegisterOptions<NoInfer<T>>, 'handlers'> = {},
  ): Registers<T> {
    const block = registers(table, { ...options, handlers } as RegisterOptions<T>);
    this.setRegionHandler(region, block);
    return block;
  }

  /** Puts a handler behind a region, instead of the one before. Mappable areas go on answering for themselves. */
  protected setRegionHandler(region: string, handler: RegionHandler): void {
    const spec = find(this, 'region', this.#regions, region);
    this.#handlers.set(region, handler);
    this.#wire(spec);
  }

  protected override resetState(): MaybePromise<void> {
    for (const spec of this.#regions.values()) this.#registersOf(spec)?.reset();
    this.#clearMemory();
    return this.onReset();
  }

  /** A new instance that takes over without its state is as after a reset. */
  protected override inherit(_old: VfioDevice, { carried }: TakeOver): void {
    if (!carried) this.#clearMemory();
  }

  #clearMemory(): void {
    for (const { index, sizeBytes, resetClears } of this.#regions.values()) {
      if (resetClears) this.region(index).memory?.clear(0, sizeBytes);
    }
  }

  #handlerOf({ name, handler }: PlacedRegion): RegionHandler | null {
    return this.#handlers.get(name) ?? handler ?? null;
  }

  #registersOf(spec: PlacedRegion): RegisterBlock | null {
    const handler = this.#handlerOf(spec);
    return handler instanceof RegisterBlock ? handler : null;
  }

  #wire(spec: PlacedRegion): void {
    const region = this.region(spec.index);
    region.handler = regionHandler(region, this.#handlerOf(spec));
  }
}

function regionSpecOf(device: string, spec: PlacedRegion): RegionSpec {
  const { index, name, sizeBytes, mappable, dma, type } = spec;
  const what = `${device}, ${name}`;
  const readOnly = spec.readOnly ?? false;
  // Who holds the fd could write it: a file that one process may write cannot be kept from another's writing.
  assert(
    !readOnly || mappable === undefined,
    `${what}: a read-only region is not mappable; answer reads of it`,
  );
  assert(
    dma === undefined || mappable === true,
    `${what}: 'dma' goes with 'mappable: true'; areas say it each for itself`,
  );
  assert(
    mappable !== true || sizeBytes % PAGE_SIZE === 0,
    `${what}: ${sizeBytes} bytes; only whole pages of ${PAGE_SIZE} bytes are mappable`,
  );
  const whole = { offset: 0, size: sizeBytes, dma: dma ?? 'deny' };
  const areas = mappable === true ? [whole] : (mappable ?? []);
  return { index, name, sizeBytes, write: !readOnly, areas, ...(type === undefined ? {} : { type }) };
}

function byName<T extends { readonly name: string }>(
  device: string,
  what: string,
  specs: readonly T[],
): ReadonlyMap<string, T> {
  const found = new Map(specs.map((spec) => [spec.name, spec]));
  assert(found.size === specs.length, `${device}: two ${what}s have the same name`);
  return found;
}

function find<T>({ name }: VfioDevice, what: string, specs: ReadonlyMap<string, T>, wanted: string): T {
  const spec = specs.get(wanted);
  // Not by `assert`: a good call builds no message.
  if (spec !== undefined) return spec;
  throw new Error(
    `vfio: ${name} has no ${what} '${wanted}'; it has ${[...specs.keys()].join(', ') || 'none'}`,
  );
}
