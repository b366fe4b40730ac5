// SPDX-License-Identifier: MIT
/* Not VFIO: a character device whose offsets are physical addresses by design. */
#include <linux/fs.h>
#include <linux/mm.h>
#include "toy.h"

static vm_fault_t outside_dev_mem_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long pfn = vma->vm_pgoff + ((vmf->address - vma->vm_start) >> PAGE_SHIFT);

	return vmf_insert_pfn(vma, vmf->address, pfn);
}

static const struct vm_operations_struct outside_dev_mem_vm_ops = {
	.fault = outside_dev_mem_fault,
};

static int outside_dev_mem_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (vma->vm_flags & VM_WRITE) {
		vma->vm_ops = &outside_dev_mem_vm_ops;
		return 0;
	}
	return remap_pfn_range(vma, vma->vm_start, vma->vm_pgoff, vma->vm_end - vma->vm_start,
			       vma->vm_page_prot);
}

static const struct file_operations outside_dev_mem_fops = {
	.mmap = outside_dev_mem_mmap,
};
