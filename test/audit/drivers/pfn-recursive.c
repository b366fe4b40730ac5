// SPDX-License-Identifier: MIT
/* Two helpers call each other; one of them stores the pfn. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static int pfn_recursive_odd(struct vm_area_struct *vma, struct toy_region *region, u64 page, int depth);

static int pfn_recursive_even(struct vm_area_struct *vma, struct toy_region *region, u64 page, int depth)
{
	if (depth > 0)
		return pfn_recursive_odd(vma, region, page, depth - 1);
	vma->vm_pgoff = (region->addr >> PAGE_SHIFT) + page;
	return remap_pfn_range(vma, vma->vm_start, vma->vm_pgoff, vma->vm_end - vma->vm_start, vma->vm_page_prot);
}

static int pfn_recursive_odd(struct vm_area_struct *vma, struct toy_region *region, u64 page, int depth)
{
	return pfn_recursive_even(vma, region, page, depth - 1);
}

static int pfn_recursive_mmap(struct vfio_device *core, struct vm_area_struct *vma)
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
	return pfn_recursive_even(vma, region, page, region->flags);
}

static const struct vfio_device_ops pfn_recursive_ops = {
	.name = "pfn_recursive",
	.mmap = pfn_recursive_mmap,
};
