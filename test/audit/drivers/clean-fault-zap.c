// SPDX-License-Identifier: MIT
/* Keeps the region coding, decodes it again in the fault handler and zaps the BARs by it. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static vm_fault_t clean_fault_zap_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct toy_device *toy = vma->vm_private_data;
	unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	u64 page = vma->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);

	page += (vmf->address - vma->vm_start) >> PAGE_SHIFT;
	return vmf_insert_pfn(vma, vmf->address, (toy->regions[index].addr >> PAGE_SHIFT) + page);
}

static const struct vm_operations_struct clean_fault_zap_vm_ops = {
	.fault = clean_fault_zap_fault,
};

static void clean_fault_zap_zap(struct toy_device *toy)
{
	unmap_mapping_range(toy->vdev.inode->i_mapping, VFIO_PCI_INDEX_TO_OFFSET(VFIO_PCI_BAR0_REGION_INDEX),
			    VFIO_PCI_INDEX_TO_OFFSET(VFIO_PCI_ROM_REGION_INDEX) -
				    VFIO_PCI_INDEX_TO_OFFSET(VFIO_PCI_BAR0_REGION_INDEX), true);
}

static int clean_fault_zap_mmap(struct vfio_device *core, struct vm_area_struct *vma)
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
	vma->vm_ops = &clean_fault_zap_vm_ops;
	return 0;
}

static void clean_fault_zap_request(struct vfio_device *core, unsigned int count)
{
	clean_fault_zap_zap(container_of(core, struct toy_device, vdev));
}

static const struct vfio_device_ops clean_fault_zap_ops = {
	.mmap = clean_fault_zap_mmap,
	.request = clean_fault_zap_request,
};
