// SPDX-License-Identifier: MIT
/* Refuses one region and leaves the rest to the handler of another driver, which stores the pfn. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

int pfn_delegating_base_mmap(struct vfio_device *core, struct vm_area_struct *vma);

static int pfn_delegating_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	if (vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT) == VFIO_PCI_BAR1_REGION_INDEX)
		return -EPERM;
	return pfn_delegating_base_mmap(core, vma);
}

static const struct vfio_device_ops pfn_delegating_ops = {
	.name = "pfn_delegating",
	.mmap = pfn_delegating_mmap,
};
