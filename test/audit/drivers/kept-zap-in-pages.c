// SPDX-License-Identifier: MIT
/* Zaps in pages where unmap_mapping_range counts in bytes: the range ends before the second BAR. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static void kept_zap_in_pages_zap(struct toy_device *toy)
{
	unsigned int shift = VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT;
	loff_t start = (loff_t)VFIO_PCI_BAR1_REGION_INDEX << shift;
	loff_t end = (loff_t)VFIO_PCI_ROM_REGION_INDEX << shift;

	unmap_mapping_range(toy->vdev.inode->i_mapping, start, end - start, true);
}

static int kept_zap_in_pages_mmap(struct vfio_device *core, struct vm_area_struct *vma)
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
	if (index == VFIO_PCI_BAR0_REGION_INDEX)
		return -EINVAL;
	return remap_pfn_range(vma, vma->vm_start, (region->addr >> PAGE_SHIFT) + page, length,
			       vma->vm_page_prot);
}

static void kept_zap_in_pages_request(struct vfio_device *core, unsigned int count)
{
	kept_zap_in_pages_zap(container_of(core, struct toy_device, vdev));
}

static const struct vfio_device_ops kept_zap_in_pages_ops = {
	.name = "kept_zap_in_pages",
	.mmap = kept_zap_in_pages_mmap,
	.request = kept_zap_in_pages_request,
};
