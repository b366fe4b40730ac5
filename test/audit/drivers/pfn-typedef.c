// SPDX-License-Identifier: MIT
/* The helper knows the VMA by a type name of its own. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

typedef struct vm_area_struct pfn_typedef_area;

static int pfn_typedef_map(pfn_typedef_area *area, struct toy_region *region, u64 page)
{
	unsigned long size = area->vm_end - area->vm_start;

	area->vm_pgoff = (region->addr >> PAGE_SHIFT) + page;
	return remap_pfn_range(area, area->vm_start, area->vm_pgoff, size, area->vm_page_prot);
}

static int pfn_typedef_mmap(struct vfio_device *core, struct vm_area_struct *vma)
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
	return pfn_typedef_map(vma, region, page);
}

static const struct vfio_device_ops pfn_typedef_ops = {
	.name = "pfn_typedef",
	.mmap = pfn_typedef_mmap,
};
