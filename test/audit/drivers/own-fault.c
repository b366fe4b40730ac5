// SPDX-License-Identifier: MIT
/* The fault handler goes by the distance from vm_start to a base that mmap left in vm_private_data. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static vm_fault_t own_fault_fault(struct vm_fault *vmf)
{
	struct toy_region *region = vmf->vma->vm_private_data;
	unsigned long pfn = region->addr >> PAGE_SHIFT;

	pfn += (vmf->address - vmf->vma->vm_start) >> PAGE_SHIFT;
	return vmf_insert_pfn(vmf->vma, vmf->address, pfn);
}

static const struct vm_operations_struct own_fault_vm_ops = {
	.fault = own_fault_fault,
};

static int own_fault_mmap(struct vfio_device *core, struct vm_area_struct *vma)
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
	if (page)
		return -EINVAL;
	vma->vm_private_data = region;
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &own_fault_vm_ops;
	return 0;
}

static const struct vfio_device_ops own_fault_ops = {
	.name = "own_fault",
	.mmap = own_fault_mmap,
};
