// SPDX-License-Identifier: MIT
/* Turns vm_pgoff into an offset in the file of the VMA, which is right under any coding. */
#include <linux/mm.h>
#include "toy.h"

int consumer_file_offset_share(struct file *file, u64 offset, u64 size);

int consumer_file_offset_export(unsigned long address, u64 size)
{
	struct vm_area_struct *vma = vma_lookup(current_mm, address);
	u64 offset;

	if (!vma || !vma->vm_file || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_flags & (VM_IO | VM_PFNMAP))
		return -EINVAL;
	offset = ((u64)vma->vm_pgoff << PAGE_SHIFT) + address - vma->vm_start;
	return consumer_file_offset_share(vma->vm_file, offset, size);
}
