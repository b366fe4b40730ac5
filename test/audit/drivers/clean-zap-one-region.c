// SPDX-License-Identifier: MIT
/* Keeps the region coding and zaps one region at its own offset. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static void clean_zap_one_region_zap(struct toy_device *toy, unsigned int index)
{
	unmap_mapping_range(toy->vdev.inode->i_mapping, VFIO_PCI_INDEX_TO_OFFSET(index),
			    toy->regions[index].size, true);
}

static long clean_zap_one_region_ioctl(struct vfio_device *core, unsigned int cmd, unsigned long arg)
{
	clean_zap_one_region_zap(container_of(core, struct toy_device, vdev), cmd % TOY_REGIONS);
	return 0;
}

static int clean_zap_one_region_mmap(struct vfio_device *core, struct vm_area_struct *vma)
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
	return remap_pfn_range(vma, vma->vm_start, (region->addr >> PAGE_SHIFT) + page, length,
			       vma->vm_page_prot);
}

static const struct vfio_device_ops clean_zap_one_region_ops = {
	.name = "clean_zap_one_region",
	.ioctl = clean_zap_one_region_ioctl,
	.mmap = clean_zap_one_region_mmap,
};
