// SPDX-License-Identifier: MIT
/* The VMA travels to the helper inside a structure. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

struct pfn_context_request {
	struct vm_area_struct *vma;
	struct toy_region *region;
	u64 page;
};

static int pfn_context_serve(const struct pfn_context_request *request)
{
	request->vma->vm_pgoff = (request->region->addr >> PAGE_SHIFT) + request->page;
	return remap_pfn_range(request->vma, request->vma->vm_start, request->vma->vm_pgoff,
			       request->vma->vm_end - request->vma->vm_start, request->vma->vm_page_prot);
}

static int pfn_context_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);
	unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	u64 page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	u64 length = vma->vm_end - vma->vm_start;
	struct toy_region *region;
	struct pfn_context_request request;

	if (!(vma->vm_flags & VM_SHARED) || index >= TOY_REGIONS)
		return -EINVAL;
	region = &toy->regions[index];
	if ((page << PAGE_SHIFT) + length > region->size)
		return -EINVAL;
	request = (struct pfn_context_request){ .vma = vma, .region = region, .page = page };
	return pfn_context_serve(&request);
}

static const struct vfio_device_ops pfn_context_ops = {
	.name = "pfn_context",
	.mmap = pfn_context_mmap,
};
