// SPDX-License-Identifier: MIT
/* A mediated device that stores the pfn. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include <linux/mdev.h>
#include "toy.h"

static int mdev_pfn_mmap(struct mdev_device *mdev, struct vm_area_struct *vma)
{
	struct toy_device *toy = mdev_get_drvdata(mdev);
	unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	u64 page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	u64 length = vma->vm_end - vma->vm_start;
	struct toy_region *region;

	if (!(vma->vm_flags & VM_SHARED) || index >= TOY_REGIONS)
		return -EINVAL;
	region = &toy->regions[index];
	if ((page << PAGE_SHIFT) + length > region->size)
		return -EINVAL;
	vma->vm_pgoff = (region->addr >> PAGE_SHIFT) + page;
	return remap_pfn_range(vma, vma->vm_start, vma->vm_pgoff, length, vma->vm_page_prot);
}

static const struct mdev_parent_ops mdev_pfn_parent_ops = {
	.mmap = mdev_pfn_mmap,
};
