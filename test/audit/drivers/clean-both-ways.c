// SPDX-License-Identifier: MIT
/* Maps region 0 at once and the others by faults. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static unsigned long clean_both_ways_pfn(const struct vm_fault *vmf)
{
	const struct vm_area_struct *vma = vmf->vma;
	struct toy_device *toy = vma->vm_private_data;
	unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	u64 page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);

	page += (vmf->address - vma->vm_start) >> PAGE_SHIFT;
	return (toy->regions[index].addr >> PAGE_SHIFT) + page;
}

static vm_fault_t clean_both_ways_fault(struct vm_fault *vmf)
{
	return vmf_insert_pfn(vmf->vma, vmf->address, clean_both_ways_pfn(vmf));
}

static const struct vm_operations_struct clean_both_ways_vm_ops = {
	.fault = clean_both_ways_fault,
};

static int clean_both_ways_mmap(struct vfio_device *core, struct vm_area_struct *vma)
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
	if (index == 0)
		return remap_pfn_range(vma, vma->vm_start, (region->addr >> PAGE_SHIFT) + page, length,
				       vma->vm_page_prot);
	vma->vm_private_data = toy;
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &clean_both_ways_vm_ops;
	return 0;
}

static const struct vfio_device_ops clean_both_ways_ops = {
	.name = "clean_both_ways",
	.mmap = clean_both_ways_mmap,
};
