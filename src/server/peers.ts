/*
 * Which process attached which devices, so that a DMA_MAP without an fd can be recognised as another device's BAR.
 *
 * QEMU tells every vfio-user device where the mappable BARs of all others are in the guest's memory, without saying
 * what they are and without an fd. When the range is exactly a mappable area of a device that the same process attached
 * here, at the address that software wrote into its BAR, it is that memory: then peer-to-peer DMA needs no messages,
 * and it is cut off when the peer suspends (R6).
 *
 * With a virtual IOMMU an IOVA is no bus address, and a page that happens to lie where a 4 KiB BAR is would be taken for
 * the BAR. Give the server no registry then.
 */
import { VFIO_PCI_ROM_REGION_INDEX } from '../abi/index.ts';
import { PciDevice } from '../bus/pci/index.ts';
import type { Region, VfioDevice } from '../core/index.ts';

/** A place in a region. */
export interface PeerMemory {
  readonly region: Region;
  readonly offset: number;
}

/** Devices by the process that attached them. */
export class PeerRegistry {
  /** The one that all servers of this thread share unless told otherwise. */
  static readonly shared: PeerRegistry = new PeerRegistry();

  readonly #devices: Map<number, VfioDevice[]> = new Map();

  /** Process `pid` has attached `device`. Returns the end of it, which may be called twice. */
  add(pid: number, device: VfioDevice): () => void {
    this.#devices.set(pid, [...(this.#devices.get(pid) ?? []), device]);
    let attached = true;
    return () => {
      if (!attached) return;
      attached = false;
      const others = [...(this.#devices.get(pid) ?? [])];
      others.splice(others.indexOf(device), 1);
      if (others.length === 0) this.#devices.delete(pid);
      else this.#devices.set(pid, others);
    };
  }

  /** The devices that process `pid` has attached. */
  devicesOf(pid: number): readonly VfioDevice[] {
    return this.#devices.get(pid) ?? [];
  }

  /** What lies at exactly [iova, iova + size) for process `pid`: a mappable area or a whole mappable BAR, or null. */
  readonly find = (iova: number, size: number, pid: number): PeerMemory | null => {
    for (const device of this.devicesOf(pid)) {
      if (!(device instanceof PciDevice)) continue;
      for (const region of device.regions.values()) {
        if (!region.mappable || region.index >= VFIO_PCI_ROM_REGION_INDEX) continue;
        const address = device.barAddress(region.index);
        if (address === null) continue;
        const offset = iova - address;
        if (isWhole(region, offset, size)) return { region, offset };
      }
    }
    return null;
  };
}

function isWhole(region: Region, offset: number, size: number): boolean {
  if (offset === 0 && size === region.sizeBytes) return region.covers(0, size);
  for (const area of region.areas) if (area.offset === offset && area.size === size) return true;
  return false;
}
