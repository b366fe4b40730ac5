// SPDX-License-Identifier: MIT
/* A character device, not VFIO: what it does to vm_pgoff is its own business. */
#include <linux/fs.h>
#include <linux/mm.h>
#include "toy.h"

static int outside_chardev_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct toy_region *region = file->private_data;
	u64 length = vma->vm_end - vma->vm_start;

	if (length > region->size)
		return -EINVAL;
	vma->vm_pgoff += region->addr >> PAGE_SHIFT;
	vma->vm_pgoff = region->addr >> PAGE_SHIFT;
	return remap_pfn_range(vma, vma->vm_start, vma->vm_pgoff, length, vma->vm_page_prot);
}

static const struct file_operations outside_chardev_fops = {
	.mmap = outside_chardev_mmap,
};
