// SPDX-License-Identifier: MIT
/* One window at a fixed offset, as a mediated device. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include <linux/mdev.h>
#include "toy.h"

#define own_fixed_offset_WINDOW (16 * PAGE_SIZE)

static int own_fixed_offset_mmap(struct mdev_device *mdev, struct vm_area_struct *vma)
{
	struct toy_device *toy = mdev_get_drvdata(mdev);
	u64 length = vma->vm_end - vma->vm_start;

	if (vma->vm_pgoff != own_fixed_offset_WINDOW >> PAGE_SHIFT)
		return -EINVAL;
	if (length > toy->regions[0].size)
		return -EINVAL;
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	return remap_pfn_range(vma, vma->vm_start, toy->regions[0].addr >> PAGE_SHIFT, length,
			       vma->vm_page_prot);
}

static const struct mdev_parent_ops own_fixed_offset_parent_ops = {
	.mmap = own_fixed_offset_mmap,
};
