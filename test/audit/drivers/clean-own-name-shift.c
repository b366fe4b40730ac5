// SPDX-License-Identifier: MIT
/* The shift of the subsystem under a name of its own, as each bus of VFIO has one. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

#define clean_own_name_shift_OFFSET_SHIFT 40
#define clean_own_name_shift_OFFSET_MASK (((u64)1 << clean_own_name_shift_OFFSET_SHIFT) - 1)

static int clean_own_name_shift_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);
	unsigned int index = vma->vm_pgoff >> (clean_own_name_shift_OFFSET_SHIFT - PAGE_SHIFT);
	u64 page = vma->vm_pgoff & ((1UL << (clean_own_name_shift_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	u64 length = vma->vm_end - vma->vm_start;
	struct toy_region *region;

	if (!(vma->vm_flags & VM_SHARED) || index >= TOY_REGIONS)
		return -EINVAL;
	region = &toy->regions[index];
	if ((page << PAGE_SHIFT) + length > region->size)
		return -EINVAL;
	return remap_pfn_range(vma, vma->vm_start, (region->addr >> PAGE_SHIFT) + page, length,
			       vma->vm_page_prot);
}

static const struct vfio_device_ops clean_own_name_shift_ops = {
	.name = "clean_own_name_shift",
	.mmap = clean_own_name_shift_mmap,
};
