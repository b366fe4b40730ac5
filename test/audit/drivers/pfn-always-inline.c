// SPDX-License-Identifier: MIT
/* The helper is always inlined, its attributes stand behind the storage class and the parameters. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static __always_inline int pfn_always_inline_map(struct vm_area_struct *vma, struct toy_region *region, u64 page)
	__attribute__((nonnull(1, 2)));

static __always_inline __must_check int pfn_always_inline_map(struct vm_area_struct *vma, struct toy_region *region, u64 page)
{
	vma->vm_pgoff = (region->addr >> PAGE_SHIFT) + page;
	return remap_pfn_range(vma, vma->vm_start, vma->vm_pgoff, vma->vm_end - vma->vm_start,
			       vma->vm_page_prot);
}

static int pfn_always_inline_mmap(struct vfio_device *core, struct vm_area_struct *vma)
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
	return pfn_always_inline_map(vma, region, page);
}

static const struct vfio_device_ops pfn_always_inline_ops = {
	.name = "pfn_always_inline",
	.mmap = pfn_always_inline_mmap,
};
