/*
 * Interrupts of a device behind a socket: GET_IRQ_INFO, SET_IRQS, and eventfds that are watched on Node's loop.
 */
import {
  VFIO_IRQ_SET_ACTION_MASK,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_USER_DEVICE_GET_IRQ_INFO,
  VFIO_USER_DEVICE_SET_IRQS,
  vfio_irq_info,
  vfio_irq_set,
} from '../abi/index.ts';
import { type IrqAction, type IrqData, VECTOR_LIMIT, VfioError } from '../core/index.ts';
import type { SysLayer, Watcher } from '../sys/sys-layer.ts';
import type { Channel } from './channel.ts';
import type { InterruptListener, IrqInfo, SetIrqsRequest } from './device-handle.ts';
import { Interrupts } from './interrupts.ts';
import type { Agreement } from './negotiate.ts';
import { protocolError } from './reply-error.ts';

const DATA: Readonly<Record<IrqData, number>> = {
  none: VFIO_IRQ_SET_DATA_NONE,
  bool: VFIO_IRQ_SET_DATA_BOOL,
  eventfd: VFIO_IRQ_SET_DATA_EVENTFD,
};
const ACTION: Readonly<Record<IrqAction, number>> = {
  mask: VFIO_IRQ_SET_ACTION_MASK,
  unmask: VFIO_IRQ_SET_ACTION_UNMASK,
  trigger: VFIO_IRQ_SET_ACTION_TRIGGER,
};

/** An eventfd that the server signals. */
interface EventWire {
  readonly fd: number;
  readonly watcher: Watcher;
}

/** One message: vectors [start, start + count), all with an fd or all without. */
interface Run {
  readonly start: number;
  readonly count: number;
  readonly fds: readonly number[];
}

export class SocketIrqs {
  readonly #sys: SysLayer;
  readonly #channel: Channel;
  readonly #agreement: Agreement;
  readonly #irqCount: number;
  readonly #infos: Map<number, Promise<IrqInfo>> = new Map();
  readonly #interrupts: Interrupts<EventWire>;

  constructor(sys: SysLayer, channel: Channel, agreement: Agreement, irqCount: number) {
    this.#sys = sys;
    this.#channel = channel;
    this.#agreement = agreement;
    this.#irqCount = irqCount;
    this.#interrupts = new Interrupts({
      info: (index) => this.info(index),
      open: (signal) => this.#open(signal),
      wire: (index, start, wires) => {
        const eventfds = wires.map((wire) => wire?.fd ?? null);
        return this.set({ index, action: 'trigger', data: 'eventfd', start, eventfds });
      },
      disable: (index) => this.set({ index, action: 'trigger', data: 'none' }),
      close: ({ fd, watcher }) => {
        watcher.close();
        this.#sys.close(fd);
      },
    });
  }

  info(index: number): Promise<IrqInfo> {
    if (!(Number.isInteger(index) && index >= 0 && index < this.#irqCount)) {
      const message = `there is no interrupt index ${index}; the device has ${this.#irqCount}`;
      return Promise.reject(new VfioError('EINVAL', message));
    }
    let info = this.#infos.get(index);
    if (info === undefined) {
      info = this.#load(index);
      this.#infos.set(index, info);
      info.catch(() => this.#infos.delete(index));
    }
    return info;
  }

  on(index: number, vector: number, listener: InterruptListener): Promise<() => Promise<void>> {
    return this.#interrupts.on(index, vector, listener);
  }

  /** SET_IRQS, in as many messages as the server's max_msg_fds asks for. Not all of it is done if one of them fails. */
  async set(request: SetIrqsRequest): Promise<void> {
    const { index, action, data, start = 0, bools, eventfds } = request;
    if (data !== 'eventfd') {
      const count = request.count ?? bools?.length ?? 0;
      await this.#send(index, DATA[data] | ACTION[action], { start, count, fds: [] }, bools);
      return;
    }
    const count = request.count ?? eventfds?.length ?? 0;
    if (count > VECTOR_LIMIT) {
      throw new VfioError('EINVAL', `SET_IRQS: ${count} vectors; no index has more than ${VECTOR_LIMIT}`);
    }
    const wanted = eventfds ?? new Array<null>(count).fill(null);
    if (wanted.length !== count) {
      throw new VfioError(
        'EINVAL',
        `SET_IRQS: ${wanted.length} eventfds for ${count} vectors; pass one for each`,
      );
    }
    for (const run of this.#runs(start, wanted)) await this.#send(index, DATA.eventfd | ACTION[action], run);
  }

  /** Ends watching and closes the eventfds, without a word to the server. */
  close(): void {
    this.#interrupts.close();
  }

  #open(signal: InterruptListener): EventWire {
    const fd = this.#sys.eventfd();
    const watcher = this.#sys.watch(fd, () => {
      const count = this.#sys.eventfdRead(fd);
      if (count > 0) signal(count);
    });
    watcher.unref(); // the connection keeps the process alive, and without it no interrupt comes
    return { fd, watcher };
  }

  async #load(index: number): Promise<IrqInfo> {
    const payload = new Uint8Array(vfio_irq_info.size);
    vfio_irq_info.encode(new DataView(payload.buffer), 0, { argsz: payload.length, index });
    const about = `index ${index}`;
    const reply = await this.#channel.request(VFIO_USER_DEVICE_GET_IRQ_INFO, payload, { about });
    if (reply.payload.length < vfio_irq_info.size) {
      throw protocolError(`interrupt info of ${reply.payload.length} bytes`);
    }
    const info = vfio_irq_info.decode(reply.view, 0);
    if (info.index !== index)
      throw protocolError(`interrupt info for index ${info.index} instead of ${index}`);
    if (info.count > VECTOR_LIMIT) throw protocolError(`${info.count} vectors in index ${index}`);
    return { index, flags: info.flags, count: info.count };
  }

  /** Cuts a list of fds into messages: fds and gaps are never mixed, and no message has more fds than the server takes. */
  #runs(start: number, eventfds: readonly (number | null)[]): Run[] {
    const { maxMessageFds } = this.#agreement;
    if (maxMessageFds === 0 && eventfds.some((fd) => fd !== null)) {
      throw new VfioError('ENOTSUP', 'the server takes no fds, so it cannot signal interrupts');
    }
    const runs: Run[] = [];
    for (let at = 0; at < eventfds.length; ) {
      const wired = eventfds[at] !== null;
      let end = at + 1;
      while (
        end < eventfds.length &&
        (eventfds[end] !== null) === wired &&
        !(wired && end - at >= maxMessageFds)
      ) {
        end++;
      }
      const fds = wired ? (eventfds.slice(at, end) as number[]) : [];
      runs.push({ start: start + at, count: end - at, fds });
      at = end;
    }
    return runs;
  }

  async #send(index: number, flags: number, run: Run, bools?: Uint8Array): Promise<void> {
    const { start, count, fds } = run;
    const payload = new Uint8Array(vfio_irq_set.size + (bools?.length ?? 0));
    const argsz = payload.length;
    vfio_irq_set.encode(new DataView(payload.buffer), 0, { argsz, flags, index, start, count });
    if (bools !== undefined) payload.set(bools, vfio_irq_set.size);
    const about = `index ${index}, vectors ${start} to ${start + count - 1}`;
    await this.#channel.request(VFIO_USER_DEVICE_SET_IRQS, payload, { fds, about });
  }
}
