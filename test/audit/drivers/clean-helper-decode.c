// SPDX-License-Identifier: MIT
/* Decodes the byte offset with the macros of vfio-pci. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static int clean_helper_decode_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);
	u64 offset = (u64)vma->vm_pgoff << PAGE_SHIFT;
	u64 length = vma->vm_end - vma->vm_start;
	unsigned int index = VFIO_PCI_OFFSET_TO_INDEX(offset);
	u64 start = offset & VFIO_PCI_OFFSET_MASK;

	if (index >= TOY_REGIONS || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (start + length > toy->regions[index].size)
		return -EINVAL;
	return io_remap_pfn_range(vma, vma->vm_start, PHYS_PFN(toy->regions[index].addr + start), length,
				  vma->vm_page_prot);
}

static const struct vfio_device_ops clean_helper_decode_ops = {
	.name = "clean_helper_decode",
	.mmap = clean_helper_decode_mmap,
};
