/*
 * Interrupts: one table per index (INTx, MSI, MSI-X, ERR, REQ), each with its own vectors, so that disabling
 * one index never touches another's triggers.
 *
 * Two kinds of index, told apart by VFIO_IRQ_INFO_AUTOMASKED:
 * - level (INTx): `raise` asserts the line. A wired, unmasked line signals once and masks itself; `unmask`
 *   signals again if the line is still asserted, so no level is lost and none storms.
 * - edge (everything else): `raise` signals. What cannot be signalled because the vector is masked or not
 *   wired yet stays pending and is delivered once when that changes, as the pending bits of MSI-X are.
 *   Disabling keeps it pending too: a client that grows its vectors disables and wires again, and must not
 *   lose an edge on the way.
 */
import { VFIO_IRQ_INFO_AUTOMASKED } from '../abi/vfio.ts';
import { assert, VfioError } from './error.ts';

/**
 * Where an interrupt goes, or comes from: an eventfd in the live world, a callback in process. Whoever hands
 * one to an Irq gives it away: it is closed exactly once, when no vector uses it any more.
 */
export interface IrqTrigger {
  signal(): void;
  close(): void;
  /**
   * Calls `listener` whenever the other side signals, until closed. Needed to mask or unmask by eventfd
   * (resample).
   */
  listen?(listener: () => void): void;
}

/** How a device declares an interrupt index; flags are VFIO_IRQ_INFO_*. */
export interface IrqSpec {
  readonly index: number;
  readonly count: number;
  readonly flags: number;
}

/** Vectors per index: the most that an MSI-X table can have. */
export const VECTOR_LIMIT: number = 2048;

/** One interrupt index of one device. */
export class Irq {
  readonly index: number;
  /** Vectors; 0 when the device does not implement the index. */
  readonly count: number;
  /** VFIO_IRQ_INFO_*. */
  readonly flags: number;

  readonly #level: boolean;
  readonly #triggers: (IrqTrigger | null)[];
  readonly #masked: Uint8Array;
  /** Edge: an undelivered interrupt. Level: the line is asserted. */
  readonly #pending: Uint8Array;
  /** How many places use a trigger: it may serve several vectors and is closed with the last. */
  readonly #uses: Map<IrqTrigger, number> = new Map();
  #wiredCount = 0;
  #maskSource: IrqTrigger | null = null;
  #unmaskSource: IrqTrigger | null = null;
  /** Whom the mask sources talk to: they outlast this instance of the interrupt when another takes over. */
  #listener: { irq: Irq } = { irq: this };

  constructor(spec: IrqSpec) {
    const { index, count, flags } = spec;
    assert(Number.isInteger(count) && count >= 0 && count <= VECTOR_LIMIT, `irq ${index}: ${count} vectors`);
    this.index = index;
    this.count = count;
    this.flags = flags;
    this.#level = (flags & VFIO_IRQ_INFO_AUTOMASKED) !== 0;
    assert(!this.#level || count <= 1, `irq ${index}: an index with a level line has one vector`);
    this.#triggers = new Array<IrqTrigger | null>(count).fill(null);
    this.#masked = new Uint8Array(count);
    this.#pending = new Uint8Array(count);
  }

  /** Whether the index is a level line that masks itself (VFIO_IRQ_INFO_AUTOMASKED). */
  get level(): boolean {
    return this.#level;
  }

  /** Whether any vector is wired. */
  get enabled(): boolean {
    return this.#wiredCount > 0;
  }

  /**
   * Wires `triggers[i]` to vector `start + i`; null unwires. What was pending is delivered at once if it can
   * be.
   */
  wire(start: number, triggers: readonly (IrqTrigger | null)[]): void {
    this.#checkRange(start, triggers.length);
    for (const trigger of triggers) this.#retain(trigger);
    for (const [i, trigger] of triggers.entries()) {
      const replaced = this.#triggers[start + i]!;
      this.#triggers[start + i] = trigger;
      this.#wiredCount += Number(trigger !== null) - Number(replaced !== null);
      this.#drop(replaced);
    }
    for (let vector = start; vector < start + triggers.length; vector++) this.#deliver(vector);
  }

  /** Turns the index off: nothing wired, nothing masked, no mask sources. Every trigger is closed. */
  disable(): void {
    this.wire(0, new Array<null>(this.count).fill(null));
    this.setResample(null);
    this.setMaskSource(null);
    this.#masked.fill(0);
  }

  /** Masks vectors [start, start + count). */
  mask(start: number, count: number): void {
    this.#checkRange(start, count);
    this.#masked.fill(1, start, start + count);
  }

  /** Unmasks vectors [start, start + count) and delivers what waited; a level still asserted fires again. */
  unmask(start: number, count: number): void {
    this.#checkRange(start, count);
    for (let vector = start; vector < start + count; vector++) {
      this.#masked[vector] = 0;
      this.#deliver(vector);
    }
  }

  /**
   * Unmasks whenever `source` fires: the resample eventfd of a level line. EINVAL if it cannot be listened
   * to.
   */
  setResample(source: IrqTrigger | null): void {
    this.#listen(source, (irq) => {
      if (irq.#unmaskSource === source) irq.unmask(0, irq.count);
    });
    const replaced = this.#unmaskSource;
    this.#unmaskSource = source;
    this.#drop(replaced);
  }

  /** Masks whenever `source` fires. EINVAL if it cannot be listened to. */
  setMaskSource(source: IrqTrigger | null): void {
    this.#listen(source, (irq) => {
      if (irq.#maskSource === source) irq.mask(0, irq.count);
    });
    const replaced = this.#maskSource;
    this.#maskSource = source;
    this.#drop(replaced);
  }

  /** The device interrupts. True if a trigger was signalled now; false if it has to wait. */
  raise(vector: number): boolean {
    if (!(vector >= 0 && vector < this.count)) this.#refuse(vector);
    this.#pending[vector] = 1;
    return this.#deliver(vector);
  }

  /** The device takes its level line back. What was signalled already stays signalled. */
  lower(): void {
    assert(this.#level, `irq ${this.index} has no level line to lower`);
    this.#pending.fill(0);
  }

  /**
   * Loopback test (TRIGGER with NONE or BOOL): signals a wired vector as if the device had. A masked edge
   * waits, a masked level is not signalled, and no line is asserted. True if a trigger was signalled.
   */
  loopback(vector: number): boolean {
    const trigger = this.#triggers[vector];
    if (trigger === null || trigger === undefined) return false;
    if (!this.#level) return this.raise(vector);
    if (this.#masked[vector] !== 0) return false;
    trigger.signal();
    return true;
  }

  /** Whether an edge waits to be delivered, or the level line is asserted. */
  pending(vector: number): boolean {
    return this.#pending[vector] === 1;
  }

  masked(vector: number): boolean {
    return this.#masked[vector] === 1;
  }

  wired(vector: number): boolean {
    return (this.#triggers[vector] ?? null) !== null;
  }

  /** A device reset: nothing is pending, no line is asserted. Wiring and masks are the client's and stay. */
  reset(): void {
    this.#pending.fill(0);
  }

  /**
   * @internal The device's: takes what the client wired and masked of `old`, which has as many vectors; and what waits
   * there, if `withPending`. `old` interrupts nobody any more.
   */
  takeOver(old: Irq, withPending: boolean): void {
    assert(this.#uses.size === 0, `irq ${this.index}: it is wired already`);
    for (let vector = 0; vector < this.count; vector++) {
      this.#triggers[vector] = old.#triggers[vector]!;
      this.#masked[vector] = old.#masked[vector]!;
      if (withPending && old.#pending[vector] === 1) this.#pending[vector] = 1;
    }
    for (const [trigger, uses] of old.#uses) this.#uses.set(trigger, uses);
    this.#wiredCount = old.#wiredCount;
    this.#maskSource = old.#maskSource;
    this.#unmaskSource = old.#unmaskSource;
    this.#listener = old.#listener;
    this.#listener.irq = this;
    old.#forget();
    for (let vector = 0; vector < this.count; vector++) this.#deliver(vector);
  }

  /** Nothing is wired, and nothing was closed. */
  #forget(): void {
    this.#triggers.fill(null);
    this.#masked.fill(0);
    this.#pending.fill(0);
    this.#uses.clear();
    this.#wiredCount = 0;
    this.#maskSource = null;
    this.#unmaskSource = null;
    this.#listener = { irq: this };
  }

  #deliver(vector: number): boolean {
    const trigger = this.#triggers[vector]!;
    if (this.#pending[vector] === 0 || this.#masked[vector] !== 0 || trigger === null) return false;
    if (this.#level) this.#masked[vector] = 1;
    else this.#pending[vector] = 0;
    trigger.signal();
    return true;
  }

  #listen(source: IrqTrigger | null, heard: (irq: Irq) => void): void {
    if (source === null) return;
    if (source.listen === undefined) {
      throw new VfioError('EINVAL', `irq ${this.index}: this trigger cannot be listened to; pass an eventfd`);
    }
    this.#retain(source);
    const listener = this.#listener;
    try {
      source.listen(() => heard(listener.irq));
    } catch (error) {
      this.#drop(source);
      throw error;
    }
  }

  #retain(trigger: IrqTrigger | null): void {
    if (trigger !== null) this.#uses.set(trigger, (this.#uses.get(trigger) ?? 0) + 1);
  }

  #drop(trigger: IrqTrigger | null): void {
    if (trigger === null) return;
    const uses = this.#uses.get(trigger)! - 1;
    if (uses > 0) {
      this.#uses.set(trigger, uses);
      return;
    }
    this.#uses.delete(trigger);
    trigger.close();
  }

  /** Apart from `raise`, so that a good call builds no message. */
  #refuse(vector: number): never {
    throw new Error(`vfio: irq ${this.index} has ${this.count} vectors; there is no ${vector}`);
  }

  #checkRange(start: number, count: number): void {
    if (start >= 0 && count >= 0 && start + count <= this.count) return;
    throw new VfioError('EINVAL', `irq ${this.index}: vectors ${start}..${start + count} of ${this.count}`);
  }
}
