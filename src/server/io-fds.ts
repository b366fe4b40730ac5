/*
 * DEVICE_GET_REGION_IO_FDS: eventfds that stand for a write to a doorbell. A client (in practice KVM behind it) that
 * signals the eventfd spares itself the message. Entries have the protocol's 40 bytes.
 */
import {
  ERRNO,
  KVM_IOEVENTFD_FLAG_DATAMATCH,
  VFIO_USER_IO_FD_TYPE_IOEVENTFD,
  vfio_user_region_io_fds,
  vfio_user_sub_region_ioeventfd,
} from '../abi/index.ts';
import type { VfioDevice } from '../core/index.ts';
import type { SysLayer, Watcher } from '../sys/sys-layer.ts';
import { type Message, NO_FDS } from './message.ts';

/** A doorbell of a device. Entries with the same `onSignal` share one eventfd. */
export interface IoEventfd {
  readonly regionIndex: number;
  readonly offset: number;
  /** Width of the write that rings it: 1, 2, 4 or 8; 0 for any. */
  readonly sizeBytes: number;
  /** Only this value rings it; below 2^53. Absent: any value. */
  readonly datamatch?: number;
  /** Called when it rang, once for any number of times since the last call. */
  readonly onSignal: () => void;
}

/** What a device class adds to offer doorbells. */
export interface IoEventfdDevice {
  readonly ioEventfds: readonly IoEventfd[];
}

interface Doorbell {
  readonly fd: number;
  readonly watcher: Watcher;
  /** Changes when the device is replaced. */
  onSignal: () => void;
}

/** What a client of `old` would find different in the doorbells of `next`, one phrase each. */
export function doorbellDifferences(old: VfioDevice, next: VfioDevice): string[] {
  const [before, now] = [placesOf(old), placesOf(next)];
  return before === now ? [] : [`doorbells: ${before || 'none'} before, ${now || 'none'} now`];
}

/** Where the doorbells are and which of them share an eventfd, in their order. */
function placesOf(device: VfioDevice): string {
  const bells = bellsOf(device);
  const targets = [...new Set(bells.map(({ onSignal }) => onSignal))];
  return bells
    .map(({ regionIndex, offset, sizeBytes, datamatch, onSignal }) => {
      const place = `${regionIndex}:0x${offset.toString(16)}+${sizeBytes}`;
      return `${place}${datamatch === undefined ? '' : `=${datamatch}`}#${targets.indexOf(onSignal)}`;
    })
    .join(' ');
}

function bellsOf(device: VfioDevice & Partial<IoEventfdDevice>): readonly IoEventfd[] {
  return device.ioEventfds ?? [];
}

/** Eventfds of one session: made when the client asks for them, closed with it. */
export class IoEventfds {
  #device: VfioDevice & Partial<IoEventfdDevice>;
  readonly #sys: SysLayer;
  /** Fds that the client takes in one message. */
  readonly #clientMessageFds: number;
  readonly #onError: (error: unknown) => void;
  readonly #doorbells: Map<() => void, Doorbell> = new Map();

  /** `onError` is told what a doorbell's `onSignal` throws. */
  constructor(
    device: VfioDevice,
    sys: SysLayer,
    clientMessageFds: number,
    onError: (error: unknown) => void,
  ) {
    this.#device = device;
    this.#sys = sys;
    this.#clientMessageFds = clientMessageFds;
    this.#onError = onError;
  }

  /**
   * Answers DEVICE_GET_REGION_IO_FDS. Doorbells whose fds are more than the client takes in one message are left out:
   * writes to them come as messages. When argsz has no room for the entries, the reply is the fixed part and no fds.
   */
  get(message: Message): number {
    const { size } = vfio_user_region_io_fds;
    if (message.bodyBytes < size) return ERRNO.EINVAL;
    const { argsz, flags, index, count } = vfio_user_region_io_fds.decode(message.view, message.body);
    if (argsz < size || flags !== 0 || count !== 0 || index >= this.#device.regionCount) return ERRNO.EINVAL;
    const bells = this.#offered(index);
    const neededBytes = size + bells.length * vfio_user_sub_region_ioeventfd.size;
    const fits = neededBytes <= argsz;
    const body = new Uint8Array(fits ? neededBytes : size);
    const view = new DataView(body.buffer);
    vfio_user_region_io_fds.encode(view, 0, { argsz: neededBytes, index, count: bells.length });
    message.replyWithFds(body, fits ? this.#encode(view, size, bells) : NO_FDS);
    return 0;
  }

  /** The client's eventfds ring the doorbells of `next`, which are at the same places, from now on. */
  replaceDevice(next: VfioDevice): void {
    const now = bellsOf(next);
    const known = new Map(this.#doorbells);
    for (const [i, { onSignal }] of bellsOf(this.#device).entries()) {
      const doorbell = known.get(onSignal);
      if (doorbell === undefined) continue;
      this.#doorbells.delete(onSignal);
      doorbell.onSignal = now[i]!.onSignal;
      this.#doorbells.set(doorbell.onSignal, doorbell);
    }
    this.#device = next;
  }

  /** The client left. */
  close(): void {
    for (const { fd, watcher } of this.#doorbells.values()) {
      watcher.close();
      this.#sys.close(fd);
    }
    this.#doorbells.clear();
  }

  #offered(index: number): IoEventfd[] {
    const targets = new Set<() => void>();
    return bellsOf(this.#device).filter((bell) => {
      if (bell.regionIndex !== index) return false;
      if (!targets.has(bell.onSignal) && targets.size >= this.#clientMessageFds) return false;
      targets.add(bell.onSignal);
      return true;
    });
  }

  /** Writes the entries and returns the fds that they count in. */
  #encode(view: DataView, from: number, bells: readonly IoEventfd[]): number[] {
    const fds: number[] = [];
    let at = from;
    for (const bell of bells) {
      const fd = this.#fdOf(bell.onSignal);
      if (!fds.includes(fd)) fds.push(fd);
      vfio_user_sub_region_ioeventfd.encode(view, at, {
        offset: bell.offset,
        size: bell.sizeBytes,
        fd_index: fds.indexOf(fd),
        type: VFIO_USER_IO_FD_TYPE_IOEVENTFD,
        flags: bell.datamatch === undefined ? 0 : KVM_IOEVENTFD_FLAG_DATAMATCH,
        datamatch: bell.datamatch ?? 0,
      });
      at += vfio_user_sub_region_ioeventfd.size;
    }
    return fds;
  }

  #fdOf(onSignal: () => void): number {
    const known = this.#doorbells.get(onSignal);
    if (known !== undefined) return known.fd;
    const fd = this.#sys.eventfd();
    const watcher = this.#sys.watch(fd, () => this.#ring(doorbell));
    const doorbell: Doorbell = { fd, watcher, onSignal };
    this.#doorbells.set(onSignal, doorbell);
    return fd;
  }

  #ring(doorbell: Doorbell): void {
    if (this.#sys.eventfdRead(doorbell.fd) === 0) return;
    try {
      doorbell.onSignal();
    } catch (error) {
      this.#onError(error);
    }
  }
}
