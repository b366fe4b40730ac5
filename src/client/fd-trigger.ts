/*
 * An eventfd as a trigger of a device in this process: for programs that pass eventfds to `setIrqs` themselves.
 */
import type { IrqTrigger } from '../core/index.ts';
import type { SysLayer, Watcher } from '../sys/sys-layer.ts';

export class FdTrigger implements IrqTrigger {
  readonly #sys: SysLayer;
  readonly #fd: number;
  #watcher: Watcher | null = null;
  #closed = false;

  /** Duplicates `fd`. EINVAL if it is no eventfd. */
  constructor(sys: SysLayer, fd: number) {
    this.#sys = sys;
    this.#fd = sys.dup(fd);
    try {
      sys.adoptEventfd(this.#fd);
    } catch (error) {
      sys.close(this.#fd);
      throw error;
    }
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
  }
}
