/*
 * An eventfd as the trigger of an interrupt: what VFIO_DEVICE_SET_IRQS wires, whoever serves it.
 */
import type { IrqTrigger } from '../core/irq.ts';
import type { SysLayer, Watcher } from './sys-layer.ts';

/** An eventfd: signalled when the interrupt fires, or listened to (resample, mask by eventfd). Owns the fd. */
export class EventfdTrigger implements IrqTrigger {
  readonly #sys: SysLayer;
  readonly #fd: number;
  readonly #onClose: () => void;
  #watcher: Watcher | null = null;
  #closed = false;

  /** Adopts `fd`, and calls `onClose` when it was closed. EINVAL if it is no eventfd; it is still the caller's then. */
  constructor(sys: SysLayer, fd: number, onClose: () => void = () => {}) {
    sys.adoptEventfd(fd);
    this.#onClose = onClose;
    this.#sys = sys;
    this.#fd = fd;
  }

  signal(): void {
    if (!this.#closed) this.#sys.eventfdSignal(this.#fd);
  }

  listen(listener: () => void): void {
    this.#watcher?.close();
    this.#watcher = this.#sys.watch(this.#fd, () => {
      if (this.#sys.eventfdRead(this.#fd) > 0) listener();
    });
    this.#watcher.unref();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watcher?.close();
    this.#sys.close(this.#fd);
    this.#onClose();
  }
}
