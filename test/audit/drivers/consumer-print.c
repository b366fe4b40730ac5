// SPDX-License-Identifier: MIT
/* Looks a VMA up and prints its vm_pgoff, no more. */
#include <linux/mm.h>
#include "toy.h"

void consumer_print_dump(unsigned long address)
{
	struct vm_area_struct *vma;

	mmap_read_lock(current_mm);
	vma = vma_lookup(current_mm, address);
	if (vma && (vma->vm_flags & VM_PFNMAP))
		pr_debug("area %lx-%lx at page %lx of its file\n", vma->vm_start, vma->vm_end, vma->vm_pgoff);
	mmap_read_unlock(current_mm);
}
