// SPDX-License-Identifier: MIT
/* Adds start and length with check_add_overflow, in plain unsigned long. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static int clean_checked_add_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);
	unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	unsigned long page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	unsigned long length = vma->vm_end - vma->vm_start;
	unsigned long end;

	if (!(vma->vm_flags & VM_SHARED) || index >= TOY_REGIONS)
		return -EINVAL;
	if (check_add_overflow(page << PAGE_SHIFT, length, &end))
		return -EOVERFLOW;
	if (end > toy->regions[index].size)
		return -EINVAL;
	return remap_pfn_range(vma, vma->vm_start, (toy->regions[index].addr >> PAGE_SHIFT) + page, length,
			       vma->vm_page_prot);
}

static const struct vfio_device_ops clean_checked_add_ops = {
	.name = "clean_checked_add",
	.mmap = clean_checked_add_mmap,
};
