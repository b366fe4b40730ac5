// SPDX-License-Identifier: MIT
/* The helper that stores a pfn works on a copy of the VMA. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static void clean_helper_on_copy_fill(struct vm_area_struct *area, struct toy_region *region, u64 page)
{
	area->vm_pgoff = (region->addr >> PAGE_SHIFT) + page;
}

static int clean_helper_on_copy_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);
	unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	u64 page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	u64 length = vma->vm_end - vma->vm_start;
	struct toy_region *region;
	struct vm_area_struct copy;

	if (!(vma->vm_flags & VM_SHARED) || index >= TOY_REGIONS)
		return -EINVAL;
	region = &toy->regions[index];
	if ((page << PAGE_SHIFT) + length > region->size)
		return -EINVAL;
	copy = *vma;
	clean_helper_on_copy_fill(&copy, region, page);
	return remap_pfn_range(vma, vma->vm_start, copy.vm_pgoff, length, vma->vm_page_prot);
}

static const struct vfio_device_ops clean_helper_on_copy_ops = {
	.name = "clean_helper_on_copy",
	.mmap = clean_helper_on_copy_mmap,
};
