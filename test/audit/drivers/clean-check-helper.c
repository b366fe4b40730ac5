// SPDX-License-Identifier: MIT
/* VM_SHARED and the range are checked in a helper that answers with the region. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static struct toy_region *clean_check_helper_find(struct toy_device *toy, const struct vm_area_struct *vma, u64 page)
{
	unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);

	if (index >= TOY_REGIONS)
		return NULL;
	if (!(vma->vm_flags & VM_SHARED))
		return NULL;
	if ((page << PAGE_SHIFT) + (vma->vm_end - vma->vm_start) > toy->regions[index].size)
		return NULL;
	return &toy->regions[index];
}

static int clean_check_helper_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);
	u64 page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	struct toy_region *region = clean_check_helper_find(toy, vma, page);

	if (!region)
		return -EINVAL;
	return remap_pfn_range(vma, vma->vm_start, (region->addr >> PAGE_SHIFT) + page, vma->vm_end - vma->vm_start,
			       vma->vm_page_prot);
}

static const struct vfio_device_ops clean_check_helper_ops = {
	.name = "clean_check_helper",
	.mmap = clean_check_helper_mmap,
};
