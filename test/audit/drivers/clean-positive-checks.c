// SPDX-License-Identifier: MIT
/* Asks what must hold instead of refusing what must not; the mapping is three levels deep. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static int clean_positive_checks_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);
	unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	u64 page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	u64 length = vma->vm_end - vma->vm_start;

	if (vma->vm_flags & VM_SHARED) {
		if (index < TOY_REGIONS) {
			struct toy_region *region = &toy->regions[index];

			if ((page << PAGE_SHIFT) + length <= region->size)
				return io_remap_pfn_range(vma, vma->vm_start, (region->addr >> PAGE_SHIFT) + page,
							  length, vma->vm_page_prot);
		}
	}
	return -EINVAL;
}

static const struct vfio_device_ops clean_positive_checks_ops = {
	.name = "clean_positive_checks",
	.mmap = clean_positive_checks_mmap,
};
