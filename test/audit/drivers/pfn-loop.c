// SPDX-License-Identifier: MIT
/* Looks for the region in a loop, and stores the pfn in the turn that finds it. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static int pfn_loop_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);
	const unsigned long index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	u64 start = (u64)(vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1)) << PAGE_SHIFT;
	u64 length = vma->vm_end - vma->vm_start;
	unsigned long i;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	for (i = 0; i < TOY_REGIONS; i++) {
		if (i != index)
			continue;
		if (start + length > toy->regions[i].size)
			break;
		vma->vm_pgoff = PHYS_PFN(toy->regions[i].addr + start);
		return remap_pfn_range(vma, vma->vm_start, vma->vm_pgoff, length, vma->vm_page_prot);
	}
	return -EINVAL;
}

static const struct vfio_device_ops pfn_loop_ops = {
	.name = "pfn_loop",
	.mmap = pfn_loop_mmap,
};
