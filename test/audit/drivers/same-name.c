// SPDX-License-Identifier: MIT
/* Its static helper keeps the coding; a file beside it has one of the same name that does not. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static int toy_same_name_map(struct vm_area_struct *vma, struct toy_region *region, u64 page, u64 length)
{
	return remap_pfn_range(vma, vma->vm_start, (region->addr >> PAGE_SHIFT) + page, length,
			       vma->vm_page_prot);
}

static int same_name_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);
	unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	u64 page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	u64 length = vma->vm_end - vma->vm_start;
	struct toy_region *region;

	if (!(vma->vm_flags & VM_SHARED) || index >= TOY_REGIONS)
		return -EINVAL;
	region = &toy->regions[index];
	if ((page << PAGE_SHIFT) + length > region->size)
		return -EINVAL;
	return toy_same_name_map(vma, region, page, length);
}

static const struct vfio_device_ops same_name_ops = {
	.name = "same_name",
	.mmap = same_name_mmap,
};
