/*
 * Windows over the addon. That a window was lost is read from a table that the SIGBUS handler writes: no call.
 */
import type { NativeBinding } from './native.ts';
import { checked, sysError } from './sys-error.ts';
import type { MapAccess, Mapping } from './sys-layer.ts';

/** How long after an `unmap` the addresses are looked at again; the addon keeps them for 5 s. */
const SWEEP_AFTER_MS = 6000;

const sweeping = new WeakSet<NativeBinding>();

/** Gives kept addresses back later, without keeping the process alive for it. */
function sweepLater(native: NativeBinding): void {
  if (sweeping.has(native)) return;
  sweeping.add(native);
  setTimeout(() => {
    sweeping.delete(native);
    if (native.sweep() > 0) sweepLater(native);
  }, SWEEP_AFTER_MS).unref();
}

export class NativeMapping implements Mapping {
  readonly buffer: ArrayBuffer;
  readonly bytes: Uint8Array;
  readonly sizeBytes: number;
  private readonly native: NativeBinding;
  private readonly lostTable: Int32Array;
  private readonly slot: number;
  private ended: 'no' | 'good' | 'lost' = 'no';

  constructor(native: NativeBinding, fd: number, offset: number, sizeBytes: number, access: MapAccess) {
    const buffer = native.map(fd, offset, sizeBytes, access === 'rw' ? 1 : 0);
    if (typeof buffer === 'number')
      throw sysError(-buffer, `mapping ${sizeBytes} bytes at ${offset} of fd ${fd}`);
    this.native = native;
    this.lostTable = native.lostTable;
    this.slot = native.results[0]!;
    this.buffer = buffer;
    this.bytes = new Uint8Array(buffer);
    this.sizeBytes = sizeBytes;
  }

  get lost(): boolean {
    // after unmap the slot may be another window's
    return this.ended === 'no' ? this.lostTable[this.slot] !== 0 : this.ended === 'lost';
  }

  replace(fd: number, offset: number): void {
    this.assertOpen();
    checked(this.native.replace(this.slot, fd, offset), `mapping fd ${fd} at ${offset} over a window`);
  }

  revoke(): void {
    this.assertOpen();
    checked(this.native.revoke(this.slot), 'revoking a window');
  }

  unmap(): void {
    if (this.ended !== 'no') return;
    this.ended = this.lost ? 'lost' : 'good';
    checked(this.native.unmap(this.slot, this.buffer), 'unmapping a window');
    sweepLater(this.native);
  }

  private assertOpen(): void {
    if (this.ended !== 'no') throw new Error('vfio: the window was unmapped');
  }
}
