// SPDX-License-Identifier: MIT
/* A hypervisor driver that takes vm_pgoff of any PFNMAP area for its first pfn. */
#include <linux/mm.h>
#include "toy.h"

int consumer_pfn_map_guest(u64 gfn, unsigned long pfn, u64 pages);

long consumer_pfn_set_memory(unsigned long address, u64 gfn, u64 pages)
{
	struct vm_area_struct *vma;
	unsigned long pfn = 0;

	mmap_read_lock(current_mm);
	vma = vma_lookup(current_mm, address);
	if (vma && (vma->vm_flags & (VM_IO | VM_PFNMAP)))
		pfn = vma->vm_pgoff + ((address - vma->vm_start) >> PAGE_SHIFT);
	mmap_read_unlock(current_mm);
	if (!pfn)
		return -EFAULT;
	return consumer_pfn_map_guest(gfn, pfn, pages);
}
