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

/**
 * Sees the function's DMA, what does not pass included: for tests and tools. A window counts when it is asked for; what
 * goes through it later is not seen. It may not throw.
 */
export type DmaObserver = (
  operation: 'read' | 'write' | 'window',
  iova: number,
  sizeBytes: number,
  result: MaybePromise<DmaFault | null>,
) => void;

/** Guards a port: `blocked` says why nothing passes, or null. */
export class BusMasterPort implements DmaPort {
  inner: DmaPort;
  blocked: DmaFaultReason | null = null;
  observer: DmaObserver | null = null;

  constructor(inner: DmaPort) {
    this.inner = inner;
  }

  get attached(): boolean {
    return this.inner.attached;
  }

  read(iova: number, target: Uint8Array, at?: number, length?: number): MaybePromise<DmaFault | null> {
    const { blocked, inner } = this;
    const result = blocked !== null ? this.#fault(iova, blocked) : inner.read(iova, target, at, length);
    this.observer?.('read', iova, length ?? target.length - (at ?? 0), result);
    return result;
  }

  write(iova: number, source: Uint8Array, at?: number, length?: number): MaybePromise<DmaFault | null> {
    const { blocked, inner } = this;
    const result = blocked !== null ? this.#fault(iova, blocked) : inner.write(iova, source, at, length);
    this.observer?.('write', iova, length ?? source.length - (at ?? 0), result);
    return result;
  }

  check(iova: number, size: number, write: boolean): DmaFault | null {
    return this.blocked !== null ? this.#fault(iova, this.blocked) : this.inner.check(iova, size, write);
  }

  window(iova: number, size: number, write: boolean): DmaWindow | DmaFault {
    const { blocked, inner } = this;
    const result = blocked !== null ? this.#fault(iova, blocked) : inner.window(iova, size, write);
    const fault = isDmaFault(result) ? result : null;
    this.observer?.('window', iova, size, fault);
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
