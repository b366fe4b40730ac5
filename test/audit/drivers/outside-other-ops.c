// SPDX-License-Identifier: MIT
/* Ops of another subsystem, with a member of the same name and arguments. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

struct outside_other_ops_video_ops {
	const char *name;
	int (*mmap)(struct vfio_device *core, struct vm_area_struct *vma);
};

static int outside_other_ops_video_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);

	vma->vm_pgoff = toy->regions[0].addr >> PAGE_SHIFT;
	return remap_pfn_range(vma, vma->vm_start, vma->vm_pgoff, vma->vm_end - vma->vm_start,
			       vma->vm_page_prot);
}

const struct outside_other_ops_video_ops outside_other_ops_video = {
	.name = "outside_other_ops",
	.mmap = outside_other_ops_video_mmap,
};
