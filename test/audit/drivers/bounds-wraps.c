// SPDX-License-Identifier: MIT
/* Adds start and length in 32 bits, where they wrap. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static int bounds_wraps_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);
	unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	u64 page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	u32 length = vma->vm_end - vma->vm_start;
	struct toy_region *region;

	if (!(vma->vm_flags & VM_SHARED) || index >= TOY_REGIONS)
		return -EINVAL;
	region = &toy->regions[index];
	if ((u32)(page << PAGE_SHIFT) + length > region->size)
		return -EINVAL;
	return remap_pfn_range(vma, vma->vm_start, (region->addr >> PAGE_SHIFT) + page, length,
			       vma->vm_page_prot);
}

static const struct vfio_device_ops bounds_wraps_ops = {
	.name = "bounds_wraps",
	.mmap = bounds_wraps_mmap,
};
