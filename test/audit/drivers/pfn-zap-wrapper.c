// SPDX-License-Identifier: MIT
/* The zap goes through a wrapper that takes the range from its caller. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static void pfn_zap_wrapper_unmap(struct vfio_device *vdev, loff_t start, loff_t length)
{
	unmap_mapping_range(vdev->inode->i_mapping, start, length, true);
}

static void pfn_zap_wrapper_zap(struct toy_device *toy)
{
	pfn_zap_wrapper_unmap(&toy->vdev, VFIO_PCI_INDEX_TO_OFFSET(VFIO_PCI_BAR0_REGION_INDEX),
		VFIO_PCI_INDEX_TO_OFFSET(VFIO_PCI_ROM_REGION_INDEX) -
			VFIO_PCI_INDEX_TO_OFFSET(VFIO_PCI_BAR0_REGION_INDEX));
}

static int pfn_zap_wrapper_mmap(struct vfio_device *core, struct vm_area_struct *vma)
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

static void pfn_zap_wrapper_request(struct vfio_device *core, unsigned int count)
{
	pfn_zap_wrapper_zap(container_of(core, struct toy_device, vdev));
}

static const struct vfio_device_ops pfn_zap_wrapper_ops = {
	.name = "pfn_zap_wrapper",
	.mmap = pfn_zap_wrapper_mmap,
	.request = pfn_zap_wrapper_request,
};
