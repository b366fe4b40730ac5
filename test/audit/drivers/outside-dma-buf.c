// SPDX-License-Identifier: MIT
/* A VFIO driver that also exports a dma-buf, whose offsets are its own. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include <linux/dma-buf.h>
#include "toy.h"

static int outside_dma_buf_buf_mmap(struct dma_buf *buf, struct vm_area_struct *vma)
{
	struct toy_region *region = buf->priv;

	vma->vm_pgoff = region->addr >> PAGE_SHIFT;
	return remap_pfn_range(vma, vma->vm_start, vma->vm_pgoff, vma->vm_end - vma->vm_start,
			       vma->vm_page_prot);
}

static const struct dma_buf_ops outside_dma_buf_buf_ops = {
	.mmap = outside_dma_buf_buf_mmap,
};

static int outside_dma_buf_mmap(struct vfio_device *core, struct vm_area_struct *vma)
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

static const struct vfio_device_ops outside_dma_buf_ops = {
	.name = "outside_dma_buf",
	.mmap = outside_dma_buf_mmap,
};
