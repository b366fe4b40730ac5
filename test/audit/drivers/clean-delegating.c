// SPDX-License-Identifier: MIT
/* Refuses one BAR and leaves the rest to vfio_pci_core_mmap. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static int clean_delegating_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	u64 offset = (u64)vma->vm_pgoff << PAGE_SHIFT;

	if (VFIO_PCI_OFFSET_TO_INDEX(offset) == VFIO_PCI_BAR2_REGION_INDEX)
		return -EINVAL;
	return vfio_pci_core_mmap(core, vma);
}

static const struct vfio_device_ops clean_delegating_ops = {
	.name = "clean_delegating",
	.mmap = clean_delegating_mmap,
};
