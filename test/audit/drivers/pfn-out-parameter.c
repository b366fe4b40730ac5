// SPDX-License-Identifier: MIT
/* Gives the address of the field to a helper that fills it. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static void pfn_out_parameter_base(const struct toy_region *region, u64 page, unsigned long *out)
{
	*out = (region->addr >> PAGE_SHIFT) + page;
}

static int pfn_out_parameter_mmap(struct vfio_device *core, struct vm_area_struct *vma)
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
	pfn_out_parameter_base(region, page, &vma->vm_pgoff);
	return remap_pfn_range(vma, vma->vm_start, vma->vm_pgoff, length, vma->vm_page_prot);
}

static const struct vfio_device_ops pfn_out_parameter_ops = {
	.name = "pfn_out_parameter",
	.mmap = pfn_out_parameter_mmap,
};
