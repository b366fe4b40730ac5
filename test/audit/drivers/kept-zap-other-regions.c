// SPDX-License-Identifier: MIT
/* Zaps from ROM upwards, where none of its mappings are. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static void kept_zap_other_regions_zap(struct toy_device *toy)
{
	loff_t start = VFIO_PCI_INDEX_TO_OFFSET(VFIO_PCI_ROM_REGION_INDEX);

	unmap_mapping_range(toy->vdev.inode->i_mapping, start, VFIO_PCI_INDEX_TO_OFFSET(1), true);
}

static int kept_zap_other_regions_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);
	unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	u64 page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	u64 length = vma->vm_end - vma->vm_start;
	struct toy_region *region;

	if (!(vma->vm_flags & VM_SHARED) || index >= VFIO_PCI_ROM_REGION_INDEX)
		return -EINVAL;
	region = &toy->regions[index];
	if ((page << PAGE_SHIFT) + length > region->size)
		return -EINVAL;
	return remap_pfn_range(vma, vma->vm_start, (region->addr >> PAGE_SHIFT) + page, length,
			       vma->vm_page_prot);
}

static void kept_zap_other_regions_request(struct vfio_device *core, unsigned int count)
{
	kept_zap_other_regions_zap(container_of(core, struct toy_device, vdev));
}

static const struct vfio_device_ops kept_zap_other_regions_ops = {
	.name = "kept_zap_other_regions",
	.mmap = kept_zap_other_regions_mmap,
	.request = kept_zap_other_regions_request,
};
