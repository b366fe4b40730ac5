// SPDX-License-Identifier: MIT
/* The handler is the body behind a macro that makes its head. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

#define pfn_function_macro_HANDLER(name) \
	static int name##_mmap(struct vfio_device *core, struct vm_area_struct *vma)

pfn_function_macro_HANDLER(pfn_function_macro)
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
	vma->vm_pgoff = (region->addr >> PAGE_SHIFT) + page;
	return remap_pfn_range(vma, vma->vm_start, vma->vm_pgoff, length, vma->vm_page_prot);
}

static const struct vfio_device_ops pfn_function_macro_ops = {
	.name = "pfn_function_macro",
	.mmap = pfn_function_macro_mmap,
};
