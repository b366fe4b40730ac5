// SPDX-License-Identifier: MIT
/* Finds the region by division: every region has a million pages. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

#define own_division_PAGES 1000000

static int own_division_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);
	unsigned long index = vma->vm_pgoff / own_division_PAGES;
	u64 page = vma->vm_pgoff % own_division_PAGES;
	u64 length = vma->vm_end - vma->vm_start;

	if (index >= TOY_REGIONS)
		return -EINVAL;
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if ((page << PAGE_SHIFT) + length > toy->regions[index].size)
		return -EINVAL;
	return remap_pfn_range(vma, vma->vm_start, (toy->regions[index].addr >> PAGE_SHIFT) + page, length,
			       vma->vm_page_prot);
}

static const struct vfio_device_ops own_division_ops = {
	.name = "own_division",
	.mmap = own_division_mmap,
};
