// SPDX-License-Identifier: MIT
/* Writes vm_pgoff only on the way to an error, after which nobody sees the VMA. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static int clean_error_path_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);
	unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	u64 page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	u64 length = vma->vm_end - vma->vm_start;
	struct toy_region *region;
	int ret;

	if (!(vma->vm_flags & VM_SHARED) || index >= TOY_REGIONS)
		return -EINVAL;
	region = &toy->regions[index];
	if ((page << PAGE_SHIFT) + length > region->size)
		return -EINVAL;
	ret = remap_pfn_range(vma, vma->vm_start, (region->addr >> PAGE_SHIFT) + page, length,
			      vma->vm_page_prot);
	if (ret)
		goto fail;
	return 0;

fail:
	vma->vm_pgoff = region->addr >> PAGE_SHIFT;
	return ret;
}

static const struct vfio_device_ops clean_error_path_ops = {
	.name = "clean_error_path",
	.mmap = clean_error_path_mmap,
};
