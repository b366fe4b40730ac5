// SPDX-License-Identifier: MIT
/* A huge_fault beside the fault, both from the region that vm_pgoff names. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static vm_fault_t clean_huge_fault_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;
	struct toy_device *toy = vma->vm_private_data;
	unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	u64 page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	unsigned long address = ALIGN_DOWN(vmf->address, PAGE_SIZE << order);
	unsigned long pfn = (toy->regions[index].addr >> PAGE_SHIFT) + page;

	pfn += (address - vma->vm_start) >> PAGE_SHIFT;
	if (order == PMD_ORDER)
		return vmf_insert_pfn_pmd(vmf, pfn, false);
	return order ? VM_FAULT_FALLBACK : vmf_insert_pfn(vma, vmf->address, pfn);
}

static vm_fault_t clean_huge_fault_fault(struct vm_fault *vmf)
{
	return clean_huge_fault_huge_fault(vmf, 0);
}

static const struct vm_operations_struct clean_huge_fault_vm_ops = {
	.fault = clean_huge_fault_fault,
	.huge_fault = clean_huge_fault_huge_fault,
};

static int clean_huge_fault_mmap(struct vfio_device *core, struct vm_area_struct *vma)
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
	vma->vm_private_data = toy;
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &clean_huge_fault_vm_ops;
	return 0;
}

static const struct vfio_device_ops clean_huge_fault_ops = {
	.name = "clean_huge_fault",
	.mmap = clean_huge_fault_mmap,
};
