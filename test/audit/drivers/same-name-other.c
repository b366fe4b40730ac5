// SPDX-License-Identifier: MIT
/* The file beside same-name.c: the same name, another body. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static int toy_same_name_map(struct vm_area_struct *vma, struct toy_region *region, u64 page, u64 length)
{
	vma->vm_pgoff = (region->addr >> PAGE_SHIFT) + page;
	return remap_pfn_range(vma, vma->vm_start, vma->vm_pgoff, length, vma->vm_page_prot);
}

int same_name_other_entry(struct vm_area_struct *vma, struct toy_region *region, u64 page, u64 length)
{
	return toy_same_name_map(vma, region, page, length);
}
