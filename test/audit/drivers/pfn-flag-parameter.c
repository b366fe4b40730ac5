// SPDX-License-Identifier: MIT
/* The helper stores the pfn when it is told to, and it is. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static int pfn_flag_parameter_map(struct vm_area_struct *vma, struct toy_region *region, u64 page, bool store)
{
	unsigned long pfn = (region->addr >> PAGE_SHIFT) + page;

	if (store)
		vma->vm_pgoff = pfn;
	return remap_pfn_range(vma, vma->vm_start, pfn, vma->vm_end - vma->vm_start, vma->vm_page_prot);
}

static int pfn_flag_parameter_mmap(struct vfio_device *core, struct vm_area_struct *vma)
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
	return pfn_flag_parameter_map(vma, region, page, region->flags & TOY_CACHEABLE);
}

static const struct vfio_device_ops pfn_flag_parameter_ops = {
	.name = "pfn_flag_parameter",
	.mmap = pfn_flag_parameter_mmap,
};
