// SPDX-License-Identifier: MIT
/* Scoped locks and automatic frees, as macros without a semicolon. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static int clean_guards_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);
	unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	u64 page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	u64 length = vma->vm_end - vma->vm_start;
	struct toy_vma *entry __free(kfree) = kzalloc_one(sizeof(*entry));

	if (!entry)
		return -ENOMEM;
	if (!(vma->vm_flags & VM_SHARED) || index >= TOY_REGIONS)
		return -EINVAL;
	guard(mutex)(&toy->lock);
	if ((page << PAGE_SHIFT) + length > toy->regions[index].size)
		return -EINVAL;
	scoped_guard(mutex, &toy->lock) {
		entry->vma = vma;
		list_add(&no_free_ptr(entry)->entry, &toy->vmas);
	}
	return remap_pfn_range(vma, vma->vm_start, (toy->regions[index].addr >> PAGE_SHIFT) + page, length,
			       vma->vm_page_prot);
}

static const struct vfio_device_ops clean_guards_ops = {
	.name = "clean_guards",
	.mmap = clean_guards_mmap,
};
