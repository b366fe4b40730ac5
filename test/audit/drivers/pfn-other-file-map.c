// SPDX-License-Identifier: MIT
/* The other half of pfn-other-file.c: it maps a region for it. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

int pfn_other_file_map(struct vm_area_struct *vma, struct toy_region *region, u64 page);

int pfn_other_file_map(struct vm_area_struct *vma, struct toy_region *region, u64 page)
{
	vma->vm_pgoff = (region->addr >> PAGE_SHIFT) + page;
	return remap_pfn_range(vma, vma->vm_start, vma->vm_pgoff, vma->vm_end - vma->vm_start,
			       vma->vm_page_prot);
}

EXPORT_SYMBOL_GPL(pfn_other_file_map);
