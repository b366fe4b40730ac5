// SPDX-License-Identifier: MIT
/* A structure of its own has a field vm_pgoff, which gets the pfn. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

struct clean_other_struct_window {
	unsigned long vm_pgoff;
	u64 length;
};

static int clean_other_struct_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);
	unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	u64 page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	u64 length = vma->vm_end - vma->vm_start;
	struct toy_region *region;
	struct clean_other_struct_window window;

	if (!(vma->vm_flags & VM_SHARED) || index >= TOY_REGIONS)
		return -EINVAL;
	region = &toy->regions[index];
	if ((page << PAGE_SHIFT) + length > region->size)
		return -EINVAL;
	window.vm_pgoff = (region->addr >> PAGE_SHIFT) + page;
	window.length = length;
	return remap_pfn_range(vma, vma->vm_start, window.vm_pgoff, window.length, vma->vm_page_prot);
}

static const struct vfio_device_ops clean_other_struct_ops = {
	.name = "clean_other_struct",
	.mmap = clean_other_struct_mmap,
};
