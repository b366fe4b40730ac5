// SPDX-License-Identifier: MIT
/* Holds start and end inside a window of the region, by a helper that answers yes or no. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static bool clean_window_inside(const struct toy_region *region, u64 start, u64 end)
{
	return start < region->size && end <= region->size && start < end;
}

static int clean_window_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);
	unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	u64 start = (u64)(vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1)) << PAGE_SHIFT;
	u64 end = start + (vma->vm_end - vma->vm_start);

	if (index >= TOY_REGIONS || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (!clean_window_inside(&toy->regions[index], start, end))
		return -EINVAL;
	return remap_pfn_range(vma, vma->vm_start, PHYS_PFN(toy->regions[index].addr + start), end - start,
			       vma->vm_page_prot);
}

static const struct vfio_device_ops clean_window_ops = {
	.name = "clean_window",
	.mmap = clean_window_mmap,
};
