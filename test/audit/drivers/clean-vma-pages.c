// SPDX-License-Identifier: MIT
/* Counts the request and the region in pages. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static int clean_vma_pages_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);
	const unsigned long index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	const unsigned long page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	const struct toy_region *region;

	if ((vma->vm_flags & VM_SHARED) != VM_SHARED)
		return -EINVAL;
	if (index >= TOY_REGIONS)
		return -EINVAL;
	region = &toy->regions[index];
	if (page + vma_pages(vma) > region->size >> PAGE_SHIFT)
		return -EINVAL;
	return remap_pfn_range(vma, vma->vm_start, (region->addr >> PAGE_SHIFT) + page, vma->vm_end - vma->vm_start,
			       vma->vm_page_prot);
}

static const struct vfio_device_ops clean_vma_pages_ops = {
	.name = "clean_vma_pages",
	.mmap = clean_vma_pages_mmap,
};
