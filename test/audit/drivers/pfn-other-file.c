// SPDX-License-Identifier: MIT
/* A helper in another file stores the pfn. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

int pfn_other_file_map(struct vm_area_struct *vma, struct toy_region *region, u64 page);

static int pfn_other_file_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);
	unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	u64 page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	u64 length = vma->vm_end - vma->vm_start;
	struct toy_region *region;

	if (!(vma->vm_flags & VM_SHARED) || index >= TOY_REGIONS)
		return -EINVAL;
	region = &toy->regions[index];
	if ((page << PAGE_SHIFT) + length > region->size)
		return -EINVAL;
	return pfn_other_file_map(vma, region, page);
}

static const struct vfio_device_ops pfn_other_file_ops = {
	.name = "pfn_other_file",
	.mmap = pfn_other_file_mmap,
};
