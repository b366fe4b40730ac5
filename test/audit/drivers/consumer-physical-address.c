// SPDX-License-Identifier: MIT
/* A hypervisor that shifts vm_pgoff into a physical address for its second stage. */
#include <linux/mm.h>
#include "toy.h"

int consumer_physical_address_ioremap(u64 guest, phys_addr_t address, u64 size);

int consumer_physical_address_prepare_slot(unsigned long hva, unsigned long end, u64 guest)
{
	int ret = 0;

	do {
		struct vm_area_struct *vma = vma_lookup(current_mm, hva);
		phys_addr_t address;

		if (!vma)
			break;
		if (vma->vm_flags & VM_PFNMAP) {
			address = (phys_addr_t)vma->vm_pgoff << PAGE_SHIFT;
			address += hva - vma->vm_start;
			ret = consumer_physical_address_ioremap(guest, address, vma->vm_end - hva);
			if (ret)
				break;
		}
		guest += vma->vm_end - hva;
		hva = vma->vm_end;
	} while (hva < end);
	return ret;
}
