// SPDX-License-Identifier: MIT
/* The lookup is in one function and the reading as a pfn in another. */
#include <linux/mm.h>
#include "toy.h"

int consumer_helper_map_guest(u64 gfn, unsigned long pfn);

static unsigned long consumer_helper_pfn(const struct vm_area_struct *area, unsigned long address)
{
	return area->vm_pgoff + ((address - area->vm_start) >> PAGE_SHIFT);
}

long consumer_helper_fault_in(unsigned long address, u64 gfn)
{
	struct vm_area_struct *vma;
	long ret = -EFAULT;

	mmap_read_lock(current_mm);
	vma = vma_lookup(current_mm, address);
	if (vma && vma->vm_flags & VM_PFNMAP)
		ret = consumer_helper_map_guest(gfn, consumer_helper_pfn(vma, address));
	mmap_read_unlock(current_mm);
	return ret;
}
