// SPDX-License-Identifier: MIT
/* Failures break out of a loop that runs once, to a write and an error. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static int clean_do_while_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);
	unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	u64 page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	u64 length = vma->vm_end - vma->vm_start;

	do {
		if (index >= TOY_REGIONS || !(vma->vm_flags & VM_SHARED))
			break;
		if ((page << PAGE_SHIFT) + length > toy->regions[index].size)
			break;
		return remap_pfn_range(vma, vma->vm_start, (toy->regions[index].addr >> PAGE_SHIFT) + page,
				       length, vma->vm_page_prot);
	} while (0);
	vma->vm_pgoff = toy->regions[0].addr >> PAGE_SHIFT;
	return -EINVAL;
}

static const struct vfio_device_ops clean_do_while_ops = {
	.name = "clean_do_while",
	.mmap = clean_do_while_mmap,
};
