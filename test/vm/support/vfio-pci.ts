/*
 * vfio-pci in the guest, for programs there that drive devices from user space. It needs an IOMMU in the guest: Debian's
 * kernels have VFIO without one switched off.
 */
import type { Guest, GuestOptions } from './guest.ts';

/** What a guest needs for vfio-pci. 6.1 has vfio_virqfd apart; elsewhere that name is no module. */
export const WITH_VFIO_PCI: Pick<GuestOptions, 'modules' | 'before' | 'append'> = {
  modules: ['vfio_virqfd', 'vfio_iommu_type1', 'vfio-pci'],
  before: ['-device', 'intel-iommu,intremap=on,caching-mode=on'],
  append: 'intel_iommu=on',
};

/** Gives a device to vfio-pci. */
export async function bindVfioPci(guest: Guest, address: string): Promise<void> {
  await guest.run(`
    echo vfio-pci > /sys/bus/pci/devices/${address}/driver_override
    echo ${address} > /sys/bus/pci/drivers_probe
    test -e /sys/bus/pci/drivers/vfio-pci/${address}`);
}

/** Takes it back. */
export async function unbindVfioPci(guest: Guest, address: string): Promise<void> {
  await guest.run(`echo ${address} > /sys/bus/pci/drivers/vfio-pci/unbind`);
}
