// SPDX-License-Identifier: MIT
/* A device-specific region of vfio-pci that keeps the coding. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static int regops_kept_mmap(struct vfio_pci_core_device *core, struct vfio_pci_region *region,
		  struct vm_area_struct *vma)
{
	u64 page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	u64 length = vma->vm_end - vma->vm_start;
	struct toy_region *memory = region->data;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if ((page << PAGE_SHIFT) + length > region->size)
		return -EINVAL;
	return remap_pfn_range(vma, vma->vm_start, (memory->addr >> PAGE_SHIFT) + page, length,
			       vma->vm_page_prot);
}

static const struct vfio_pci_regops regops_kept_regops = {
	.mmap = regops_kept_mmap,
};
