// SPDX-License-Identifier: MIT
/* Never compares the request with the size of the region. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static int bounds_no_size_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);
	unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	u64 page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	u64 length = vma->vm_end - vma->vm_start;
	struct toy_region *region;

	if (!(vma->vm_flags & VM_SHARED) || index >= TOY_REGIONS)
		return -EINVAL;
	region = &toy->regions[index];
	return remap_pfn_range(vma, vma->vm_start, (region->addr >> PAGE_SHIFT) + page, length,
			       vma->vm_page_prot);
}

static const struct vfio_device_ops bounds_no_size_ops = {
	.name = "bounds_no_size",
	.mmap = bounds_no_size_mmap,
};
