// SPDX-License-Identifier: MIT
/* Formatted by nobody: braces, blanks and line ends wherever they fell. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static
int
pfn_odd_format_mmap ( struct vfio_device*core ,
struct vm_area_struct
	*vma )
{	struct toy_device*toy=container_of(core,struct toy_device,vdev);unsigned int index;
	u64 page,length ;
struct toy_region*region;
	index=vma->vm_pgoff>>(VFIO_PCI_OFFSET_SHIFT-PAGE_SHIFT);page=vma->vm_pgoff&((1UL<<(VFIO_PCI_OFFSET_SHIFT-PAGE_SHIFT))-1);
	length=vma->vm_end-vma->vm_start;
	if(!(vma->vm_flags&VM_SHARED))return-EINVAL;if(index>=TOY_REGIONS)
	return-EINVAL;
	region=toy->regions+index;
	if((page<<PAGE_SHIFT)+length>region->size){return-EINVAL;}
	vma	->
		vm_pgoff
	=(region->addr>>PAGE_SHIFT)+page;return remap_pfn_range(vma,vma->vm_start,
	vma->vm_pgoff,length,vma->vm_page_prot);}

static const struct vfio_device_ops pfn_odd_format_ops = {	.name = "pfn_odd_format",
	.mmap =pfn_odd_format_mmap};
