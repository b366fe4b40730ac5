/*
 * Interrupts of a device in this process: callbacks instead of eventfds, and called like those: later, and once for
 * all that was signalled meanwhile. A driver's listener never runs inside the device's code.
 */
import { type IrqTrigger, setIrqs, type VfioDevice, VfioError } from '../core/index.ts';
import { EventfdTrigger } from '../sys/index.ts';
import type { SysLayer } from '../sys/sys-layer.ts';
import type { InterruptListener, IrqInfo, SetIrqsRequest } from './device-handle.ts';
import { Interrupts } from './interrupts.ts';

class CallbackTrigger implements IrqTrigger {
  readonly #tell: () => void;
  #count = 0;
  #closed = false;

  constructor(signal: InterruptListener) {
    this.#tell = () => {
      const count = this.#count;
      this.#count = 0;
      if (!this.#closed) signal(count);
    };
  }

  signal(): void {
    if (this.#count++ === 0) queueMicrotask(this.#tell);
  }

  close(): void {
    this.#closed = true;
  }
}

export class InProcessIrqs {
  readonly #device: VfioDevice;
  readonly #sys: SysLayer;
  readonly #interrupts: Interrupts<CallbackTrigger>;

  constructor(device: VfioDevice, sys: SysLayer) {
    this.#device = device;
    this.#sys = sys;
    this.#interrupts = new Interrupts({
      info: async (index) => this.info(index),
      open: (signal) => new CallbackTrigger(signal),
      wire: async (index, start, triggers) => {
        setIrqs(device, {
          index,
          start,
          count: triggers.length,
          action: 'trigger',
          data: 'eventfd',
          triggers,
        });
      },
      disable: async (index) => {
        setIrqs(device, { index, start: 0, count: 0, action: 'trigger', data: 'none' });
      },
      close: (trigger) => trigger.close(),
    });
  }

  info(index: number): IrqInfo {
    const irq = this.#device.irqs[index];
    if (irq !== undefined) return { index, flags: irq.flags, count: irq.count };
    const count = this.#device.irqs.length;
    throw new VfioError('EINVAL', `there is no interrupt index ${index}; ${this.#device.name} has ${count}`);
  }

  on(index: number, vector: number, listener: InterruptListener): Promise<() => Promise<void>> {
    return this.#interrupts.on(index, vector, listener);
  }

  set(request: SetIrqsRequest): void {
    const { index, action, data, start = 0, bools, eventfds } = request;
    const count = request.count ?? bools?.length ?? eventfds?.length ?? 0;
    const base = { index, start, count, action, data, ...(bools === undefined ? {} : { bools }) };
    if (eventfds === undefined) setIrqs(this.#device, base);
    else setIrqs(this.#device, { ...base, triggers: this.#triggers(eventfds) });
  }

  /** Ends the listeners. The device's tables are for whoever ends the session. */
  close(): void {
    this.#interrupts.close();
  }

  #triggers(eventfds: readonly (number | null)[]): (IrqTrigger | null)[] {
    const made: (EventfdTrigger | null)[] = [];
    try {
      for (const fd of eventfds) made.push(fd === null ? null : this.#triggerOf(fd));
    } catch (error) {
      for (const trigger of made) trigger?.close();
      throw error;
    }
    return made;
  }

  /** The caller keeps its fd. */
  #triggerOf(fd: number): EventfdTrigger {
    const ours = this.#sys.dup(fd);
    try {
      return new EventfdTrigger(this.#sys, ours);
    } catch (error) {
      this.#sys.close(ours);
      throw error;
    }
  }
}
