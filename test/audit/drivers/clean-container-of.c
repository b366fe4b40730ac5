// SPDX-License-Identifier: MIT
/* container_of through a nested member, checks in braces, one label for every failure. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

struct clean_container_of_card {
	struct {
		struct vfio_pci_core_device core;
	} inner;
	struct toy_region window;
};

static int clean_container_of_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct clean_container_of_card *card =
		container_of(container_of(core, struct vfio_pci_core_device, vdev), struct clean_container_of_card, inner.core);
	const unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	u64 page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	u64 length = vma->vm_end - vma->vm_start;
	int ret = -EINVAL;

	if (index != VFIO_PCI_BAR2_REGION_INDEX)
		goto out;
	if ((vma->vm_flags & VM_SHARED) == 0)
		goto out;
	if (length > card->window.size || (page << PAGE_SHIFT) > card->window.size - length)
		goto out;
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	ret = remap_pfn_range(vma, vma->vm_start, (card->window.addr >> PAGE_SHIFT) + page, length,
			      vma->vm_page_prot);
out:
	return ret;
}

static const struct vfio_device_ops clean_container_of_ops = {
	.name = "clean_container_of",
	.mmap = clean_container_of_mmap,
};
