/*
 * The function's way to memory: whatever port the session sets, behind the bus master bit and the power state. A
 * function that may not master the bus reaches nothing, and windows that it holds are empty meanwhile.
 */
import { ERRNO } from '../../abi/index.ts';
import {
  type DmaFault,
  type DmaFaultReason,
  type DmaPort,
  type DmaWindow,
  isDmaFault,
  type MaybePromise,
} from '../../core/index.ts';

const NO_BYTES = new Uint8Array(0);

/** Guards a port: `blocked` says why nothing passes, or null. */
export class BusMasterPort implements DmaPort {
  inner: DmaPort;
  blocked: DmaFaultReason | null = null;

  constructor(inner: DmaPort) {
    this.inner = inner;
  }

  get attached(): boolean {
    return this.inner.attached;
  }

  read(iova: number, target: Uint8Array, at?: number, length?: number): MaybePromise<DmaFault | null> {
    if (this.blocked !== null) return this.#fault(iova, this.blocked);
    return this.inner.read(iova, target, at, length);
  }

  write(iova: number, source: Uint8Array, at?: number, length?: number): MaybePromise<DmaFault | null> {
    if (this.blocked !== null) return this.#fault(iova, this.blocked);
    return this.inner.write(iova, source, at, length);
  }

  check(iova: number, size: number, write: boolean): DmaFault | null {
    return this.blocked !== null ? this.#fault(iova, this.blocked) : this.inner.check(iova, size, write);
  }

  window(iova: number, size: number, write: boolean): DmaWindow | DmaFault {
    if (this.blocked !== null) return this.#fault(iova, this.blocked);
    const result = this.inner.window(iova, size, write);
    return isDmaFault(result) ? result : new BusMasterWindow(this, result);
  }

  #fault(iova: number, reason: DmaFaultReason): DmaFault {
    return { iova, reason, errno: ERRNO.EIO };
  }
}

class BusMasterWindow implements DmaWindow {
  readonly #port: BusMasterPort;
  readonly #inner: DmaWindow;

  constructor(port: BusMasterPort, inner: DmaWindow) {
    this.#port = port;
    this.#inner = inner;
  }

  get bytes(): Uint8Array {
    return this.#port.blocked === null ? this.#inner.bytes : NO_BYTES;
  }

  get dead(): DmaFaultReason | null {
    return this.#inner.dead ?? this.#port.blocked;
  }

  close(): void {
    this.#inner.close();
  }
}
