/*
 * Memory of another device under test as a DMA target: peer-to-peer.
 */
import type { BarIndex } from '../bus/pci/index.ts';
import type { DeviceHandle } from '../client/index.ts';
import { VfioError } from '../core/index.ts';
import type { GuestMemories } from './guest-memory.ts';

export interface PeerOptions {
  /** BAR of the peer. */
  readonly bar: BarIndex;
  /** Place in it, a multiple of 4096. Default 0. */
  readonly offset?: number;
  /** Default: up to the end of the BAR. */
  readonly sizeBytes?: number;
  /** Where this device sees it. Default: a free place. */
  readonly iova?: number;
  readonly read?: boolean;
  readonly write?: boolean;
  /** Transfers go through the client as region accesses, as QEMU does them. Default false: by the peer's memory itself. */
  readonly byMessages?: boolean;
}

/** A peer's memory as this device sees it. */
export interface MappedPeer {
  readonly iova: number;
  readonly sizeBytes: number;
  unmap(): Promise<void>;
}

/** EINVAL if the peer's driver did not consent. */
export async function mapPeer(
  handle: DeviceHandle,
  memories: GuestMemories,
  peer: DeviceHandle,
  options: PeerOptions,
): Promise<MappedPeer> {
  const { bar, iova: wanted, offset = 0, ...rest } = options;
  const region = await peer.regionInfo(bar);
  const sizeBytes = options.sizeBytes ?? region.sizeBytes - offset;
  if (!(sizeBytes > 0)) {
    throw new VfioError(
      'EINVAL',
      `BAR${bar} of the peer has ${region.sizeBytes} bytes; there is nothing at ${offset}`,
    );
  }
  const iova = memories.reserve(sizeBytes, wanted);
  await handle.mapPeer(peer, { ...rest, index: bar, offset, sizeBytes, iova });
  return {
    iova,
    sizeBytes,
    unmap: async () => {
      await handle.dmaUnmap(iova, sizeBytes);
    },
  };
}
