// SPDX-License-Identifier: MIT
/* The write is behind a table of functions that the handler calls. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static int pfn_function_pointer_map(struct vm_area_struct *vma, struct toy_region *region, u64 page)
{
	vma->vm_pgoff = (region->addr >> PAGE_SHIFT) + page;
	return remap_pfn_range(vma, vma->vm_start, vma->vm_pgoff, vma->vm_end - vma->vm_start,
			       vma->vm_page_prot);
}

static const struct pfn_function_pointer_variant {
	int (*map)(struct vm_area_struct *vma, struct toy_region *region, u64 page);
} pfn_function_pointer_variants[] = {
	{ .map = pfn_function_pointer_map },
	{ .map = pfn_function_pointer_map },
};

static int pfn_function_pointer_mmap(struct vfio_device *core, struct vm_area_struct *vma)
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
	return pfn_function_pointer_variants[index & 1].map(vma, region, page);
}

static const struct vfio_device_ops pfn_function_pointer_ops = {
	.name = "pfn_function_pointer",
	.mmap = pfn_function_pointer_mmap,
};
