// SPDX-License-Identifier: MIT
/* An mmap handler that refuses every request. */
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "toy.h"

static int clean_no_mapping_mmap(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct toy_device *toy = container_of(core, struct toy_device, vdev);

	pr_debug("%p: no region of this device can be mapped\n", toy);
	return -EINVAL;
}

static const struct vfio_device_ops clean_no_mapping_ops = {
	.name = "clean_no_mapping",
	.mmap = clean_no_mapping_mmap,
};
