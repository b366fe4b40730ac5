// SPDX-License-Identifier: MIT
/* A VFIO device without an mmap; a function of that name is in the file for somebody else. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

int outside_no_mmap_mmap(struct vm_area_struct *vma, struct toy_region *region)
{
	vma->vm_pgoff = region->addr >> PAGE_SHIFT;
	return remap_pfn_range(vma, vma->vm_start, vma->vm_pgoff, vma->vm_end - vma->vm_start,
			       vma->vm_page_prot);
}

static void outside_no_mmap_request(struct vfio_device *core, unsigned int count)
{
	pr_debug("%p: asked to leave %u times\n", core, count);
}

static const struct vfio_device_ops outside_no_mmap_ops = {
	.name = "outside_no_mmap",
	.request = outside_no_mmap_request,
};
